"""ambiseg: ranked, plausible segmentation masks, each with a probability.

    import ambiseg
    found = ambiseg.predict("scan.nii.gz", at=[(-52.5, 31.0, -140.2)])

The names below are imported when they are first used, so that `import ambiseg` and the command line start quickly.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    from ambiseg.models.core.calibration import Calibration
    from ambiseg.models.core.hypotheses import Hypotheses
    from ambiseg.models.evaluation.evaluation import Evaluation
    from ambiseg.models.prediction.document import Document
    from ambiseg.models.prediction.inference import LesionHypotheses
    from ambiseg.models.results.result_documents import read_hypotheses
    from ambiseg.models.runs.run_folder import Run
    from ambiseg.models.runs.trained import Trained
    from ambiseg.models.scoring.agreement import readers_agreement
    from ambiseg.models.scoring.consensus import consensus, write_consensus
    from ambiseg.models.scoring.mask_scores import score
    from ambiseg.preprocessing.errors import (
        AmbisegError,
        DataError,
        InputError,
        Interrupted,
        NothingFound,
        PartialError,
        ResourceError,
        UsageError,
    )
    from ambiseg.preprocessing.store.store import Store

    from .api import Calibrated, calibrate, evaluate, load_model, open_store, predict, train
    from .api.scan_hypotheses import ScanHypotheses

__all__ = [
    "AmbisegError",
    "Calibrated",
    "Calibration",
    "DataError",
    "Document",
    "Evaluation",
    "Hypotheses",
    "InputError",
    "Interrupted",
    "LesionHypotheses",
    "NothingFound",
    "PartialError",
    "ResourceError",
    "Run",
    "ScanHypotheses",
    "Store",
    "Trained",
    "UsageError",
    "__version__",
    "calibrate",
    "consensus",
    "evaluate",
    "load_model",
    "open_store",
    "predict",
    "read_hypotheses",
    "readers_agreement",
    "score",
    "train",
    "write_consensus",
]

_HOMES = {  # the module of each name
    "ambiseg.api": ("Calibrated", "calibrate", "evaluate", "load_model", "open_store", "predict", "train"),
    "ambiseg.models.core.calibration": ("Calibration",),
    "ambiseg.models.core.hypotheses": ("Hypotheses",),
    "ambiseg.models.evaluation.evaluation": ("Evaluation",),
    "ambiseg.models.prediction.document": ("Document",),
    "ambiseg.models.prediction.inference": ("LesionHypotheses",),
    "ambiseg.models.results.result_documents": ("read_hypotheses",),
    "ambiseg.models.runs.run_folder": ("Run",),
    "ambiseg.models.runs.trained": ("Trained",),
    "ambiseg.models.scoring.agreement": ("readers_agreement",),
    "ambiseg.models.scoring.consensus": ("consensus", "write_consensus"),
    "ambiseg.models.scoring.mask_scores": ("score",),
    "ambiseg.preprocessing.errors": (
        *("AmbisegError", "DataError", "InputError", "Interrupted"),
        *("NothingFound", "PartialError", "ResourceError", "UsageError"),
    ),
    "ambiseg.preprocessing.store.store": ("Store",),
    "ambiseg.api.scan_hypotheses": ("ScanHypotheses",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
