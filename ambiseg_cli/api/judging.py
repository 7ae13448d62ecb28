"""Judging a model in Python: how close its masks are to the readers', and whether its probabilities can be believed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ambiseg.models.bundle.calibrated_copy import calibration_place, write_calibrated_copy
from ambiseg.models.bundle.find import find_model
from ambiseg.models.calibration import calibrate_run
from ambiseg.models.calibration.calibrate_run import Check, Fit, check_split
from ambiseg.models.calibration.check_document import FOLDER, CalibrationCheck
from ambiseg.models.evaluation import evaluate_run
from ambiseg.models.evaluation.evaluate_run import By
from ambiseg.models.evaluation.evaluation import Evaluation
from ambiseg.models.evaluation.folds import check_alone, evaluate_folds, open_folds, runs_in
from ambiseg.models.report.calibration_folder import write_check
from ambiseg.models.runs.hardware import resolve_device
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.files import only_writer
from ambiseg.preprocessing.work.engine import Engine

from .steps import Data, Model, OnProgress, data_of, loaded, unwatched


def evaluate(
    model: Model = None,
    data: Data = None,
    split: str = "test",
    *,
    samples: int = 100,
    seed: int = 0,
    limit: int | None = None,
    whole: bool = False,
    by: By = "auto",
    stability: int = 0,
    reader: str | None = None,
    fold_runs: Path | str | None = None,
    device: str = "auto",
    workers: int | Engine | None = 1,
    on_progress: OnProgress = unwatched,
) -> Evaluation:
    """Compare a model's masks with the readers' masks: GED, HM-IoU, hypotheses, empty masks, calibration.

    Args:
        model: what `load_model` returned, or its `model` argument.
        data: a store or its folder; None: the one that the model was trained on.
        split: "train", "val", "test" or "all".
        samples: the number of masks drawn per image, at least 16; GED50 and GED100 need as many.
        seed: the seed of the draws.
        limit: evaluate only so many cases, spread over the split.
        whole: evaluate whole stored images instead of their centre of the training crop's size.
        by: "slice": every crop is a case; "lesion": also evaluate whole lesions as volumes; "auto": also evaluate whole lesions
            where the data have them.
        stability: on how many lesions and slices to measure how far the answer moves when the image is shifted, mirrored,
            resampled or noisier; 0: none. 60 give a fair picture and take a few minutes on a CPU.
        reader: compare the hypotheses for this reader with this reader's masks; None: all readers.
        fold_runs: the folder of a cross-validation's runs, of the settings of `model`, which was trained on all patients. Each
            run is evaluated on its test split, and the figures are of all of them together. `data`, `split`, `whole`,
            `stability` and `reader` do not go with it.
        device: where to load the model, if it is not loaded yet.
        workers: processes, or the engine that has them; None: as many as save time. The figures are the same.
        on_progress: called with the number of cases done and their total, which begin anew with each fold.

    Returns:
        The figures of the split (`figures`, by name, each with mean and 95 % interval by patient) and of each case (`cases`).
        `lesions` holds the same of whole lesions, where they were evaluated. `Evaluation.write(folder)` writes
        `summary.json`, `cases.csv` and `lesions.csv`.

    Raises:
        UsageError: for too few samples.
        InputError: if there is no such model or data, or the split is empty.
        DataError: if the model cannot read the data, there are no whole lesions to evaluate, or files are damaged.

    Example:
        >>> from tempfile import mkdtemp
        >>> from ambiseg import train
        >>> from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
        >>> folder = Path(mkdtemp())
        >>> store = write_known_truth(folder / "store", crops=30, size=24)
        >>> short = {"data.crop": 16, "validation.every": 2, "validation.limit": 2}
        >>> run = train(store, "probunet", output=folder / "run", preset="demo", settings=short, steps=2, device="cpu")
        >>> found = evaluate(run.path, split="val", samples=16, limit=3, device="cpu")
        >>> len(found.cases), 0 <= found.figures["ged16_v"].mean <= 2
        (3, True)
    """
    trained = loaded(model, device)
    if fold_runs is not None:
        check_alone(data=data, split=split, whole=whole, stability=stability, reader=reader)
        return evaluate_folds(
            trained,
            open_folds(runs_in(Path(fold_runs)), trained, resolve_device(device)),
            samples=samples,
            seed=seed,
            limit=limit,
            by=by,
            workers=workers,
            on_progress=on_progress,
        )
    store = data_of(trained, data)
    if reader is not None:
        trained, store = trained.as_reader(reader), store.read_by(reader)
    return evaluate_run.evaluate(
        trained,
        store,
        split,
        samples=samples,
        seed=seed,
        limit=limit,
        whole=whole,
        by=by,
        stability=stability,
        workers=workers,
        on_progress=on_progress,
    )


@dataclass(frozen=True)
class Calibrated:
    """What `calibrate` found.

    Attributes:
        fit: the fitted `calibration`, and how patients left out were predicted without it and with it.
        check: how the model's own probabilities and the calibrated ones do on another split, by slice and by lesion.
        content: the content of the model's `calibration/check.json`, which was written unless a copy was refused.
        place: the folder of the model, or of its calibrated copy.
    """

    fit: Fit
    check: Check
    content: CalibrationCheck
    place: Path

    @property
    def used(self) -> bool:
        """Whether the model, or its copy, uses the calibration from now on."""
        return self.content.used


def calibrate(
    model: Path | str | None = None,
    data: Data = None,
    *,
    check: str = "test",
    samples: int = 256,
    seed: int = 0,
    limit: int | None = None,
    output: Path | str | None = None,
    fold_runs: Path | str | None = None,
    even_if_worse: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    on_fit: OnProgress = unwatched,
    on_check: OnProgress = unwatched,
) -> Calibrated:
    """Fit the calibration of a model to its validation readers, check it on other cases, and store both.

    Where the check got worse (a figure rose by more than `calibrate_run.WORSE` allows), the model does not use the fit: only
    its check is stored, and no copy is made.

    Args:
        model: as for `load_model`.
        data: a store or its folder; None: the one that the run was trained on.
        check: the split on which before and after are compared. The fit is always on "val".
        samples: the number of masks drawn per image; best as many as `predict` draws.
        seed: the seed of the draws.
        limit: use only so many cases of each split, spread over it.
        output: a name under which a calibrated copy is installed, or the copy's folder, as a `Path`; None: the run itself.
            Installed and shipped models need one.
        fold_runs: the folder of a cross-validation's runs, of the settings of `model`, which was trained on all patients. The
            fit is on the test splits of these runs, and the check on each of them with a fit on the others. `data` and
            `check` do not go with it.
        even_if_worse: use the fit even where the check got worse.
        overwrite: whether a copy may replace what is there.
        device: "auto", "cpu", "cuda" or "cuda:N".
        on_fit: called with the number of cases done and their total, while fitting; they begin anew with each fold.
        on_check: the same while checking.

    Returns:
        The fit and its check. If it is `used`, `predict` and `evaluate` use it from now on.

    Raises:
        UsageError: for a check on "val" or "all", which would show nothing; for a model that must stay as it is, without
            `output`; or if there is a copy already.
        InputError: if there is no such model or data, or a split is empty.
        DataError: if there are fewer than two validation patients, or files are damaged.

    Example:
        >>> from tempfile import mkdtemp
        >>> from ambiseg import load_model, train
        >>> from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
        >>> folder = Path(mkdtemp())
        >>> store = write_known_truth(folder / "store", crops=60, size=24)
        >>> short = {"data.crop": 16, "validation.every": 2, "validation.limit": 2}
        >>> run = train(store, "probunet", output=folder / "run", preset="demo", settings=short, steps=2, device="cpu")
        >>> found = calibrate(run.path, samples=16, even_if_worse=True, device="cpu")
        >>> found.check.split, load_model(run.path).calibration == found.fit.calibration
        ('test', True)
    """
    if fold_runs is not None:
        check_alone(data=data, check=check)
    path = find_model(model)
    place = calibration_place(path, output, overwrite=overwrite)
    with only_writer(place / FOLDER if place == path else place):
        trained = load_trained(path, resolve_device(device), calibrated=False)
        how: Any = {"samples": samples, "seed": seed, "limit": limit}
        if fold_runs is not None:
            parts = open_folds(runs_in(Path(fold_runs)), trained, resolve_device(device))
            fit, found = calibrate_run.calibrate_folds(trained, parts, **how, on_fit=on_fit, on_check=on_check)
            store = parts[0].store
        else:
            store = data_of(trained, data)
            check_split(store, check)
            fit = calibrate_run.calibrate(trained, store, **how, on_progress=on_fit)
            calibrated = replace(trained, calibration=fit.calibration)
            found = calibrate_run.check(calibrated, store, check, **how, on_progress=on_check)
        use = even_if_worse or not found.worse()
        if place == path:
            content = write_check(path, trained, store, fit, found, use=use)
        elif use:
            content = write_calibrated_copy(place, path, trained, store, fit, found)
        else:
            content = CalibrationCheck.of(trained, store, fit, found, used=False)
        return Calibrated(fit, found, content, place)
