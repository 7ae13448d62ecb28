"""What `ambiseg calibrate` leaves in a run's folder: the calibration, its check on other cases, and the diagrams.

calibration.json           what predict and evaluate use
calibration/check.json     what was fitted and checked on what, figures before and after
calibration/reliability.png
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from ambiseg.preprocessing.documents import json_text
from ambiseg.preprocessing.files import whole_folder
from ambiseg.preprocessing.store.store import Store

from ..evaluation.calibrate_run import Fit
from ..evaluation.judgement import Judgement
from ..figures.reliability_diagram import draw_reliability
from ..figures.style import png
from ..runs.trained import Trained

FOLDER = "calibration"


def write_check(
    run: Path, trained: Trained, store: Store, split: str, fit: Fit, before: Judgement, after: Judgement
) -> dict[str, Any]:
    """Store a fit and its check on a split of `store` in the run's folder, and return the content of check.json."""
    content = {
        "ambiseg": version("ambiseg"),
        "run": trained.name,
        "method": trained.method.name,
        "data": store.manifest["name"],
        "fitted": {
            **fit.calibration.model_dump(),
            "what": fit.chosen,
            "held_out_nll": fit.held_out,
            "cases": fit.cases,
            "patients": fit.patients,
        },
        "checked_on": split,
        "before": before.summary(),
        "after": after.summary(),
    }
    figure = draw_reliability(
        {
            "before": before.bins["hypotheses"],
            "after": after.bins["hypotheses"],
            "top hypothesis, before": before.bins["top"],
            "top hypothesis, after": after.bins["top"],
        },
        f"{trained.name} ({trained.method.name}): hypotheses before and after calibration",
        f"{store.manifest['name']}, {split}; fitted on {fit.calibration.split}",
        events="hypotheses",
    )
    with whole_folder(run / FOLDER) as aside:
        (aside / "check.json").write_text(json_text(content), encoding="utf-8")
        (aside / "reliability.png").write_bytes(png(figure))
    fit.calibration.write(run)
    return content
