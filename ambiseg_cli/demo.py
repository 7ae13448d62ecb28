"""`ambiseg demo`: the whole way on made data, ending in a picture and in the commands for one's own data."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ambiseg.preprocessing.errors import Interrupted, UsageError

from .console import Meter, console, out, progress

if TYPE_CHECKING:
    from ambiseg.models.run import Run, Trained
    from ambiseg.preprocessing.store import Store
    from ambiseg.preprocessing.volume import Volume

CUT_MM = 16.0  # half the side of the piece of scan that is predicted
OWN_DATA = """\
The same with your own data:
  ambiseg preprocess lidc /path/to/LIDC-IDRI     # DICOM -> data/lidc (or `ambiseg preprocess nifti` for other data)
  ambiseg train --method generalized             # -> runs/generalized-001
  ambiseg evaluate                               # how close its masks come to the readers'
  ambiseg predict scan.nii --top 8               # ranked hypotheses; --at X,Y,Z says where the lesion is in a whole scan"""


@dataclass(frozen=True)
class Target:
    """The lesion that the demo predicts: its row in the store, the piece of scan around it, its centre (z, y, x) therein."""

    row: int
    volume: "Volume"
    voxel: tuple[int, float, float]


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for everything that the demo makes.")] = Path(
        "ambiseg-demo"
    ),
    patients: Annotated[int, typer.Option(help="Simulated patients; more learn better and take longer.", min=8)] = 24,
    seed: Annotated[int, typer.Option(help="Seed of patients, pixels and training.", min=0)] = 0,
) -> None:
    """Simulate a cohort, preprocess, train, evaluate and predict: no data, no network, no GPU, about two minutes."""
    if output.exists() and not (output / "LIDC-IDRI" / "phantom.json").is_file():
        raise UsageError(f"{output} exists and is no earlier demo: choose another folder with -o, or remove it.")
    try:
        _demo(output, patients, seed)
    except KeyboardInterrupt:
        raise Interrupted(f"Stopped; `ambiseg demo -o {output}` goes on from there.") from None


def _demo(folder: Path, patients: int, seed: int) -> None:
    from ambiseg.models.run import load_trained

    from .demo_picture import draw_demo

    with _step("1/5", f"Simulating CT scans of {patients} patients (real outlines of LIDC-IDRI, invented pixels)"):
        _simulate(folder, patients, seed)
    with _step("2/5", "Cutting out the lesions with their four readers' masks"):
        store = _preprocess(folder, seed)
    with _step("3/5", f"Training the Generalized Probabilistic U-Net on {len(store.rows('train'))} crops"):
        run = _train(folder, store, seed)
    trained = load_trained(run.path, _cpu())
    with _step("4/5", "Evaluating on patients that it has not seen"):
        scores = _evaluate(run, trained, store, seed)
    with _step("5/5", "Predicting a lesion that it has not seen"):
        target = choose_target(folder, store, run.record.crop)
        result = _predict(folder, trained, target, seed)
        draw_demo(folder / "demo.png", store, target, result)
    out(
        f"GED16 {scores['ged16_v'].mean:.3f} (unbiased {scores['ged16_u'].mean:.3f}), HM-IoU16 {scores['hm_iou16'].mean:.3f}"
    )
    out(f"Picture: {folder / 'demo.png'}")
    out(f"Hypotheses on the scan's grid: {folder / 'scan-hypotheses'}/, made by")
    out(f"  cd {folder} && ambiseg predict scan.nii --top 8")
    out(OWN_DATA)


@contextmanager
def _step(number: str, what: str) -> Iterator[None]:
    begun = monotonic()
    console.print(f"[bold]{number}[/] {what}")
    yield
    console.print(f"    {monotonic() - begun:.0f} s")


def _cpu() -> Any:
    from ambiseg.models.device import resolve_device

    return resolve_device("cpu")


def _simulate(folder: Path, patients: int, seed: int) -> None:
    from ambiseg.preprocessing.phantom import write_phantom

    with progress() as display:
        write_phantom(
            folder / "LIDC-IDRI",
            patients,
            seed=seed,
            slices="nodules",
            on_progress=Meter(display, "Simulating", "slices"),
        )


def _preprocess(folder: Path, seed: int) -> "Store":
    from ambiseg.preprocessing.sources.lidc import preprocess_lidc
    from ambiseg.preprocessing.store import Store

    with progress() as display:
        report = preprocess_lidc(
            folder / "LIDC-IDRI",
            folder / "data" / "lidc",
            seed=seed,
            workers=1,  # done sooner than other processes have started
            on_progress=Meter(display, "Cropping", "scans"),
        )
    return Store.open(report.store)


def _train(folder: Path, store: "Store", seed: int) -> "Run":
    from ambiseg.models.config import make_config
    from ambiseg.models.run import Run, RunRecord
    from ambiseg.models.training import train

    from .train_display import TrainDisplay

    path = folder / "runs" / "generalized-001"
    if path.exists():
        run = Run.open(path)
    else:
        config = make_config("generalized", "demo", flags={"seed": seed})
        record = RunRecord.of(config, store, "cpu")
        data = record.data.model_copy(update={"path": "data/lidc"})  # the commands shown run in the folder
        run = Run.create(path, record.model_copy(update={"data": data}))
    with TrainDisplay(run) as display:
        train(run, store, _cpu(), display.observe)
    return run


def _evaluate(run: "Run", trained: "Trained", store: "Store", seed: int) -> Any:
    from ambiseg.models.evaluation.evaluate import evaluate

    with progress() as display:
        evaluation = evaluate(trained, store, "test", seed=seed, on_progress=Meter(display, "Evaluating", "cases"))
    evaluation.write(run.path / "evaluation-test")
    return evaluation.figures


def choose_target(folder: Path, store: "Store", crop: int) -> Target:
    """The test lesion about which its readers disagree most, with the piece of its scan around it."""
    from ambiseg.preprocessing.series import read_series

    row = _most_disputed(store, crop)
    facts = store.index[row]
    (series,) = (folder / "LIDC-IDRI" / facts["patient"]).glob(f"*/{facts['series_uid']}")
    scan = read_series(_slices_about(series, float(facts["z_mm"])))
    z = scan.voxel((0.0, 0.0, float(facts["z_mm"])))[0]
    centre = (round(z), float(facts["centre_y_px"]), float(facts["centre_x_px"]))
    volume, start = _cut_out(scan, centre)
    return Target(row, volume, (centre[0] - start[0], centre[1] - start[1], centre[2] - start[2]))


def _cut_out(scan: "Volume", centre: tuple[int, float, float]) -> tuple["Volume", tuple[int, int, int]]:
    """The part of a scan about a voxel, small enough to need no further word of where its lesion is; and its first voxel."""
    from ambiseg.preprocessing.volume import Volume

    z, y, x = (
        slice(max(round(middle - CUT_MM / step), 0), round(middle + CUT_MM / step) + 1)
        for middle, step in zip(centre, scan.spacing_mm, strict=True)
    )
    start, affine = (z.start, y.start, x.start), scan.affine.copy()
    affine[:3, 3] = scan.world(start)
    return Volume(scan.array[z, y, x], affine), start


def _slices_about(series: Path, z_mm: float) -> list[Path]:
    """The files of the equally spaced slices around a height: the cohort has slices about its lesions only."""
    import numpy as np

    from ambiseg.preprocessing.dicom import read_slices

    slices = read_slices(series.glob("*.dcm"))
    heights = np.array([one.height_mm for one in slices])
    steps = np.diff(heights)
    run = np.concatenate(([0], np.cumsum(steps > 1.5 * steps.min())))
    here = run == run[np.abs(heights - z_mm).argmin()]
    return [one.path for one, near in zip(slices, here, strict=True) if near]


def _most_disputed(store: "Store", crop: int) -> int:
    """The largest slice (row) of the test lesion whose readers' volumes are farthest apart on average.

    Lesions that do not fit a crop of `crop` pixels come last.
    """
    import numpy as np

    from ambiseg.models.metrics.overlap import pairwise_iou

    rows = store.rows("test")
    names = np.array([f"{store.index[row]['case']}/{store.index[row]['lesion']}" for row in rows])
    found = []
    for name in np.unique(names):
        own = rows[names == name]
        masks = store.masks(own)  # [slices, R, H, W]
        y, x = np.nonzero(masks.any((0, 1)))
        large = bool(max(np.ptp(y), np.ptp(x)) > 0.75 * crop)
        agreement = pairwise_iou(masks.transpose(1, 0, 2, 3)).mean()
        found.append((large, agreement, int(own[masks.sum((1, 2, 3)).argmax()])))
    return min(found)[2]


def _predict(folder: Path, trained: "Trained", target: Target, seed: int) -> Any:
    from ambiseg.models.predict import Ranking, predict_scan
    from ambiseg.preprocessing.nifti import write_volume

    write_volume(folder / "scan.nii", target.volume)
    ranking = Ranking(seed=seed)
    return predict_scan(trained, folder / "scan.nii", folder / "scan-hypotheses", ranking=ranking).lesions[0]
