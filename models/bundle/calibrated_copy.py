"""A calibrated copy: a calibration of a model that stays as it is, kept where the model's name finds it."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.files import check_place, whole_folder
from ambiseg.preprocessing.store.store import Store

from ..calibration.calibrate_run import Check, Fit
from ..calibration.check_document import CalibrationCheck
from ..report.calibration_folder import write_check
from ..runs.run_folder import Run
from ..runs.trained import Trained
from .export_run import write_model
from .installed import models_folder
from .licence import read_licence
from .model_files import CARD, FILES, SUMS, check_name, is_name, write_sums
from .run_facts import Said, gather


def calibration_place(model: Path, output: Path | str | None, *, overwrite: bool = False) -> Path:
    """Where a calibration of a model is to be kept, checked before the work.

    Args:
        model: The model's folder.
        output: A name, under which a calibrated copy is installed; the folder of the copy; or None: the model's own folder.
        overwrite: Whether a copy may replace what is there.

    Returns:
        The folder: that of the model itself, or that of the copy.

    Raises:
        UsageError: The model must stay as it is, or the place is taken.
        ResourceError: The place cannot be written.
    """
    if output is None:
        if (model / SUMS).is_file():
            raise UsageError(
                f"{model.name} is an installed model and stays as it is: give `output`, a name for a calibrated copy."
            )
        check_place(model)
        return model
    target = models_folder() / output if isinstance(output, str) and is_name(output) else Path(output)
    check_name(target.name)
    if target.resolve() == model.resolve() and not (model / SUMS).is_file():
        raise UsageError(f"{output} is the run itself: leave out `output`, or choose another name.")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists already: choose another `output`, or give `overwrite` to replace it.")
    check_place(target)
    return target


def write_calibrated_copy(
    target: Path, model: Path, trained: Trained, store: Store, fit: Fit, check: Check
) -> CalibrationCheck:
    """Write a copy of a model with a new calibration and its check, whole or not at all.

    Args:
        target: The folder of the copy, as `calibration_place` gives it.
        model: The model's folder.
        trained: The model, without a calibration.
        store: The data set of the fit and the check.
        fit: What was fitted.
        check: The check on another split.

    Returns:
        The content of the copy's calibration/check.json.
    """
    with whole_folder(target) as aside:
        if (model / SUMS).is_file():
            _copy(model, aside, store)
        else:
            about = CalibrationCheck.of(trained, store, fit, check)
            _model_of_run(target.name, model, trained, fit, about, aside)
        content = write_check(aside, trained, store, fit, check)
        write_sums(aside)
    return content


def _copy(model: Path, folder: Path, store: Store) -> None:
    """Copy an exported model's files; its card says that the calibration is a new one."""
    for name in FILES:
        if (model / name).is_file():
            shutil.copyfile(model / name, folder / name)
    with (folder / CARD).open("a", encoding="utf-8", newline="\n") as card:
        card.write(
            f"\n## Calibrated again\n\nOn {store.manifest.name} (data {store.content_hash[:12]}), with calibration/check.json. "
            "Figures and calibration above are those of the model before.\n"
        )


def _model_of_run(name: str, run: Path, trained: Trained, fit: Fit, check: CalibrationCheck, folder: Path) -> None:
    """Write a run as a model that others' tools find by its name."""
    content = Run.open(run).weights.read_bytes()
    calibrated = replace(trained, calibration=fit.calibration)
    said = Said(name, "1.0.0", "", "", read_licence(None))
    facts, _ = gather(run, calibrated, said, hashlib.sha256(content).hexdigest(), half=False, rounded=False)
    write_model(folder, replace(facts, check=check), content)
