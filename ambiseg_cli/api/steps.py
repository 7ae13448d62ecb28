"""ambiseg in Python: each function does what the command of its name does, with values instead of files and text."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from ambiseg.models.bundle.find import find_model
from ambiseg.models.evaluation.rows import data_for
from ambiseg.models.metrics.size_forecast import DIAMETERS_MM, VOLUMES_MM3
from ambiseg.models.prediction.inference import Ranking
from ambiseg.models.prediction.places import Places
from ambiseg.models.prediction.predict_scan import Request, predict_scan
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.hardware import resolve_device
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.models.training.loop import Observer
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.scans.channels import joined
from ambiseg.preprocessing.scans.point_files import Point
from ambiseg.preprocessing.scans.scan import Scan, open_scan
from ambiseg.preprocessing.scans.scan_in_memory import scan_of_array, scan_of_image
from ambiseg.preprocessing.store.store import Store, default_store

from .metric_logs import Log, also_logged, check_log
from .scan_hypotheses import ScanHypotheses
from .training_start import DEFAULT_METHOD, default_preset, new_training, resumed_training, starting_settings

if TYPE_CHECKING:
    import nibabel as nib
    import SimpleITK as sitk

Image = Union[Path, str, "nib.spatialimages.SpatialImage", "sitk.Image", NDArray[Any]]
Model = Trained | Path | str | None
Data = Store | Path | str | None
OnProgress = Callable[[int, int], None]


def unwatched(done: int, total: int) -> None:
    """A progress callback that does nothing."""


def load_model(model: Path | str | None = None, device: str = "auto", *, calibrated: bool = True) -> Trained:
    """Load a trained model, to use it many times.

    Args:
        model: a run folder, the name of an installed model or of one that comes with ambiseg, or None: the newest run in
            `runs/`, else the only installed model, else one that comes with ambiseg.
        device: "auto", "cpu", "cuda" or "cuda:N".
        calibrated: use the run's calibration, if it has one.

    Returns:
        The model in evaluation mode, with its record and its calibration.

    Raises:
        InputError: if there is no such model.
        DataError: if its files are damaged.
        ResourceError: if there is no such device.

    Example:
        >>> load_model("lidc-gated", device="cpu").record.method
        'gated'
    """
    return load_trained(find_model(model), resolve_device(device), calibrated=calibrated)


def open_store(path: Path | str | None = None) -> Store:
    """Open a dataset store, as `ambiseg preprocess` makes it.

    Args:
        path: its folder; None: `data/lidc`, else the only store in `data/`.

    Returns:
        The store. `len(store)` is the number of crops, `store.images(rows)` [B, C, H, W] and `store.masks(rows)`
        [B, R, H, W] read some of them.

    Raises:
        InputError: if there is no store.
        DataError: if it is damaged.

    Example:
        >>> from tempfile import mkdtemp
        >>> from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
        >>> path = write_known_truth(Path(mkdtemp()) / "store", crops=10, size=24).path
        >>> open_store(path).masks(np.array([0, 1])).shape
        (2, 4, 24, 24)
    """
    return Store.open(path if path is not None else default_store())


def predict(
    image: Image | Sequence[Image] | Mapping[str, Image],
    model: Model = None,
    *,
    spacing_mm: tuple[float, float, float] | None = None,
    at: Sequence[Point] = (),
    points: Path | str | None = None,
    roi: Path | str | None = None,
    structures: Sequence[str] = (),
    voxel: bool = False,
    lung_mask: Path | str | None = None,
    candidates: int = 5,
    min_score: float | None = None,
    series: str | None = None,
    reader: str | None = None,
    probabilities: Path | str | None = None,
    top: int = 8,
    draws: int = 256,
    depth_mm: float | None = None,
    seed: int = 0,
    fast: bool = False,
    diameters_mm: Sequence[float] = DIAMETERS_MM,
    volumes_mm3: Sequence[float] = VOLUMES_MM3,
    device: str = "auto",
) -> ScanHypotheses:
    """The most probable masks of each lesion in a scan, each with its probability.

    If no place is given, a small scan is taken for one lesion's crop, and a chest CT is searched (experimental). Nothing is
    printed or written; `ScanHypotheses.save` writes the command's folder.

    Args:
        image: the scan, 2D or 3D: a path (.nii, .nii.gz, .nrrd, .mha, a DICOM folder, a picture .png, .jpg or .tif, or a
            .zip of one of these), a nibabel image, a SimpleITK image, or an array as it is displayed: [Y, X] or [Z, Y, X],
            with several channels [C, Y, X], [Y, X, C] or [C, Z, Y, X]. Channels may also be given one by one, as a list in
            the model's order, or as a mapping from their names.
        model: what `load_model` returned, or its `model` argument.
        spacing_mm: size of an array's voxels (z, y, x) in mm; None: pixels without a size, which count as 1 mm.
        at: the lesions' places (x, y, z) in mm (RAS).
        points: a file of places: CSV with columns x,y,z (and name, scan) or LUNA16's; points of 3D Slicer (.mrk.json,
            .fcsv); or MONAI's detections (.json).
        roi: a mask on the scan's grid, a DICOM SEG or RTSTRUCT; each connected piece is a lesion.
        structures: which labels of the mask, or which structures: numbers, or names with wildcards. Empty: all labels, or the
            only structure.
        voxel: `at` and `points` are voxel indices (i, j, k) of the file, from 0, instead of mm.
        lung_mask: a mask file on the scan's grid to search in; None: the lungs are found.
        candidates: the largest number of lesions of a search.
        min_score: leave out what the search or MONAI scores lower, 0 to 1; None: .1 for the search, nothing of MONAI's.
        series: which series of a DICOM folder: its number in the list, or its UID.
        reader: whose hypotheses, for a model that knows readers by name; None: those of all readers.
        probabilities: a file with another segmenter's class probabilities of the scan, for a model that refines them.
        top: the number of hypotheses to keep.
        draws: the number of masks to draw from the model.
        depth_mm: look at the slices within this distance of the lesion's centre, in mm; None: as far as the lesion reaches.
        seed: the same seed gives the same hypotheses.
        fast: look only once, around the place as given; large lesions may be cut off.
        diameters_mm: the probability that the mean diameter is at least each of these is stated.
        volumes_mm3: and that the volume is at least each of these.
        device: where to load the model, if it is not loaded yet.

    Returns:
        The hypotheses of each lesion, on the scan's own grid.

    Raises:
        UsageError: for a value out of range, or arguments that do not go together.
        InputError: if a file is missing, or a place lies outside the scan.
        NothingFound: if a search finds nothing.
        DataError: if a file is damaged.
        ResourceError: if memory is too small.

    Example:
        A ball of soft tissue in a small piece of lung, of which the default settings would draw 256 masks:

        >>> import nibabel as nib
        >>> place = np.indices((40, 40, 8)).T - [20, 20, 4]
        >>> ball = np.where(np.linalg.norm(place * [1, 1, 2], axis=-1) < 6, 40, -850).T.astype(np.int16)
        >>> scan = nib.Nifti1Image(ball, np.diag([0.7, 0.7, 1.4, 1]))
        >>> found = predict(scan, "lidc-gated", draws=8, top=2, device="cpu")
        >>> lesion, = found.lesions
        >>> lesion.hypotheses.masks.shape[1:] == found.scan.volume.array.shape
        True
        >>> found.mask(rank=1).shape
        (40, 40, 8)
    """
    if any(np.ndim(point) != 1 or len(point) != 3 for point in at):
        raise UsageError(f"at = {at!r}: expected a list of points (x, y, z) in mm, as in at=[(-42.5, 18, 120)].")
    if candidates < 1:
        raise UsageError(f"candidates = {candidates}: expected at least 1.")
    trained = loaded(model, device)
    trained = trained.as_reader(reader) if reader is not None else trained
    named = [(float(x), float(y), float(z)) for x, y, z in at]
    if min_score is not None and not 0 <= min_score <= 1:
        raise UsageError(f"min_score = {min_score}: expected a number from 0 to 1.")
    places = Places(named, _path(points), _path(roi), tuple(structures), voxel, _path(lung_mask), candidates, min_score)
    request = Request(
        places,
        Ranking(top, draws, depth_mm, seed, fast, tuple(diameters_mm), tuple(volumes_mm3)),
        _path(probabilities),
        series,
    )
    with ExitStack() as held:
        scan = _scan_of(image, trained.record.data.channels, spacing_mm, series, held)
        return ScanHypotheses(scan, trained, predict_scan(trained, scan, request))


def _scan_of(
    image: Image | Sequence[Image] | Mapping[str, Image],
    channels: int,
    spacing_mm: tuple[float, float, float] | None,
    series: str | None,
    held: ExitStack,
) -> Scan:
    """The scan of an image, or of one image for each channel; its files exist until `held` is left."""
    if isinstance(image, Mapping):
        return joined([_scan_of(each, 1, spacing_mm, series, held) for each in image.values()], list(image))
    if isinstance(image, list | tuple):
        return joined([_scan_of(each, 1, spacing_mm, series, held) for each in image])
    if isinstance(image, str | Path):
        return held.enter_context(open_scan(Path(image), series=series))
    if isinstance(image, np.ndarray):
        return scan_of_array(image, channels, spacing_mm)
    return scan_of_image(image)


def train(
    data: Data = None,
    method: str | None = None,
    *,
    output: Path | str | None = None,
    preset: str | None = None,
    config: Path | str | None = None,
    settings: Mapping[str, object] | None = None,
    steps: int | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    teacher: Path | str | None = None,
    teacher_draws: int | None = None,
    start: Path | str | None = None,
    frozen: Sequence[str] = (),
    log: Log | None = None,
    seed: int | None = None,
    device: str = "auto",
    resume: Path | str | None = None,
    observe: Observer = lambda progress: None,
) -> Run:
    """Train a model on a dataset store, or continue a run.

    Args:
        data: the store or its folder; None: `data/lidc`, else the only store in `data/`.
        method: the method's name (`ambiseg methods` lists them); None: "generalized".
        output: the run folder to create; None: `runs/<method>-<number>`.
        preset: the settings to start from; None: "paper" on CUDA, "small" on a CPU.
        config: a TOML file of settings, which replace the preset's.
        settings: settings by their names, as in `{"data.crop": 64, "options.family": "full"}`, which replace those of the
            preset and the file.
        steps: the number of training steps.
        batch: the number of images per step.
        learning_rate: Adam's learning rate.
        teacher: a run folder or the name of a model whose draws are learned from in the place of the readers' masks.
        teacher_draws: the number of masks that the teacher draws for each training crop, once; None: 16.
        start: a run folder or the name of a model whose weights are the first ones, where their shapes fit; method, options and
            crop are its own if they are not given.
        frozen: names of its parts that stay as they are, as in `method.named_parameters()`; `*` stands for anything.
        log: also write all figures as "csv", "tensorboard" or "mlflow", into the run's folder.
        seed: the seed of weights, batches and draws. The same seed gives the same weights on the same device.
        device: "auto", "cpu", "cuda" or "cuda:N".
        resume: a run folder to continue. Only `data`, `steps`, `log`, `device` and `observe` may be given with it; more
            `steps` than before let it go on longer.
        observe: called with a `Progress` every few steps and after each validation.

    Returns:
        The run. `load_model(run.path)` loads its best weights.

    Raises:
        UsageError: for an unknown method, setting or value, or settings that do not suit the data or the device.
        InputError: if there is no such data, file or run, or the loss is not finite.
        KeyboardInterrupt: if a signal asks to stop; the state is saved, and `resume` continues from it.

    Example:
        >>> from tempfile import mkdtemp
        >>> from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
        >>> folder = Path(mkdtemp())
        >>> store = write_known_truth(folder / "store", crops=30, size=24)
        >>> short = {"data.crop": 16, "validation.every": 2, "validation.limit": 2}
        >>> run = train(store, "probunet", output=folder / "run", preset="demo", settings=short, steps=2, device="cpu")
        >>> load_model(run.path).record.method
        'probunet'
    """
    check_log(log)
    where = resolve_device(device)
    if resume is not None:
        given: dict[str, object] = {"method": method, "output": output, "preset": preset, "config": config}
        given["settings"] = settings
        given |= {"teacher": teacher, "teacher_draws": teacher_draws}
        given |= {"start": start, "frozen": frozen, "batch": batch, "learning_rate": learning_rate, "seed": seed}
        training = resumed_training(Path(resume), None if data is None else _opened(data), where, given, steps)
    else:
        named: dict[str, object] = {
            "steps": steps,
            "batch": batch,
            "optimiser.learning_rate": learning_rate,
            "seed": seed,
        }
        named |= {"teacher.model": None if teacher is None else str(teacher), "teacher.draws": teacher_draws}
        named |= {"start.model": None if start is None else str(start), "start.frozen": tuple(frozen) or None}
        own, base = starting_settings(None if start is None else str(start))
        made = make_config(
            method or own or DEFAULT_METHOD,
            preset or default_preset(where),
            _path(config),
            flags={**(settings or {}), **named},
            base=base if method in (None, own) else {},
        )
        training = new_training(made, _opened(data), where, _path(output))
    with also_logged(training.run, log, observe) as watch:
        training.go(watch)
    return training.run


def loaded(model: Model, device: str) -> Trained:
    """The model that a `model` argument names."""
    return model if isinstance(model, Trained) else load_model(model, device)


def _opened(data: Data) -> Store:
    return data if isinstance(data, Store) else open_store(data)


def data_of(trained: Trained, data: Data) -> Store:
    """The store that a `data` argument names; None: the one that the model was trained on."""
    return data if isinstance(data, Store) else data_for(trained.record, _path(data))


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)
