"""What `ambiseg calibrate` writes into a run's folder: the calibration, its check on other cases, and the diagrams.

calibration.json           the calibration that predict and evaluate use
calibration/check.json     the data of the fit and the check, and the figures before and after
calibration/reliability.png, calibration/reliability-lesions.png
"""

from pathlib import Path

from ambiseg.preprocessing.files import whole_folder
from ambiseg.preprocessing.store.store import Store

from ..calibration.calibrate_run import Check, Fit, Pair
from ..calibration.check_document import FOLDER, CalibrationCheck
from ..figures.reliability_diagram import draw_reliability
from ..figures.style import png
from ..runs.trained import Trained

PICTURES = {"slices": "reliability.png", "lesions": "reliability-lesions.png"}


def write_check(
    run: Path, trained: Trained, store: Store, fit: Fit, check: Check, *, use: bool = True
) -> CalibrationCheck:
    """Write a fit and its check on a split of `store` into the run's folder, and return the content of check.json.

    Args:
        run: The run's folder.
        trained: The run's model.
        store: The data set on which it was fitted and checked.
        fit: What was fitted on the validation split.
        check: How the hypotheses of another split do with the model's own probabilities and with calibrated ones.
        use: Whether `predict` and `evaluate` use the fit from now on; else an earlier calibration stays as it is.
    """
    content = CalibrationCheck.of(trained, store, fit, check, used=use)
    with whole_folder(run / FOLDER) as aside:
        content.write(aside)
        for name, pair in (("slices", check.slices), ("lesions", check.lesions)):
            if pair is not None:
                title = f"{trained.name} ({trained.method.name}): hypotheses of {name} before and after calibration"
                words = f"{store.manifest.name}, {check.split}; fitted on {fit.calibration.split}"
                (aside / PICTURES[name]).write_bytes(_picture(pair, title, words))
    if use:
        fit.calibration.write(run)
    return content


def _picture(pair: Pair, title: str, words: str) -> bytes:
    before, after = pair.before.bins, pair.after.bins
    return png(
        draw_reliability(
            {
                "before": before["hypotheses"],
                "after": after["hypotheses"],
                "top hypothesis, before": before["top"],
                "top hypothesis, after": after["top"],
            },
            title,
            words,
            events="hypotheses",
        )
    )
