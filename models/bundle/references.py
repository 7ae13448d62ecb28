"""The papers behind the methods, as a model card names them."""

_KOHL = "Kohl et al., A Probabilistic U-Net for Segmentation of Ambiguous Images, NeurIPS 2018"
_BHAT = "Bhat et al., Generalized Probabilistic U-Net for medical image segmentation, UNSURE at MICCAI 2022"

REFERENCES: dict[str, tuple[str, ...]] = {
    "dropout": (_KOHL, "Kendall et al., Bayesian SegNet, 2015"),
    "ensemble": (
        _KOHL,
        "Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, NeurIPS 2017",
    ),
    "gated": (_BHAT, _KOHL),
    "generalized": (_BHAT, _KOHL),
    "image2image-vae": (_KOHL, "Zhu et al., Toward Multimodal Image-to-Image Translation, NeurIPS 2017"),
    "mheads": (_KOHL, "Rupprecht et al., Learning in an Uncertain World, ICCV 2017"),
    "modal": ("Qiu and Lui, Modal Uncertainty Estimation via Discrete Latent Representation, 2020",),
    "probunet": (_KOHL,),
    "refine": (
        "Kassapis et al., Calibrated Adversarial Refinement for Stochastic Semantic Segmentation, ICCV workshops 2021",
    ),
}
