"""What `ambiseg calibrate` writes into a run's folder: the calibration, its check on other cases, and the diagrams.

calibration.json           the calibration that predict and evaluate use
calibration/check.json     the data of the fit and the check, and the figures before and after
calibration/reliability.png
"""

from pathlib import Path

from ambiseg.preprocessing.files import whole_folder
from ambiseg.preprocessing.store.store import Store

from ..evaluation.calibrate_run import Fit
from ..evaluation.check_document import FOLDER, CalibrationCheck
from ..evaluation.judgement import Judgement
from ..figures.reliability_diagram import draw_reliability
from ..figures.style import png
from ..runs.trained import Trained


def write_check(
    run: Path, trained: Trained, store: Store, split: str, fit: Fit, before: Judgement, after: Judgement
) -> CalibrationCheck:
    """Write a fit and its check on a split of `store` into the run's folder, and return the content of check.json.

    Args:
        run: The run's folder.
        trained: The run's model.
        store: The data set on which it was fitted and checked.
        split: The split on which it was checked.
        fit: What was fitted on the validation split.
        before: The judgement of the probabilities that the model states itself.
        after: The judgement of the calibrated probabilities.
    """
    content = CalibrationCheck.of(trained, store, split, fit, before, after)
    figure = draw_reliability(
        {
            "before": before.bins["hypotheses"],
            "after": after.bins["hypotheses"],
            "top hypothesis, before": before.bins["top"],
            "top hypothesis, after": after.bins["top"],
        },
        f"{trained.name} ({trained.method.name}): hypotheses before and after calibration",
        f"{store.manifest.name}, {split}; fitted on {fit.calibration.split}",
        events="hypotheses",
    )
    with whole_folder(run / FOLDER) as aside:
        content.write(aside)
        (aside / "reliability.png").write_bytes(png(figure))
    fit.calibration.write(run)
    return content
