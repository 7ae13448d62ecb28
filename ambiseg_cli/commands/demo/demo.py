"""`ambiseg demo`: all steps on simulated data, with a picture and the commands for your own data at the end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import Interrupted, UsageError

from ...terminal.console import Meter, console, out, progress
from ..train import watched

if TYPE_CHECKING:
    from ambiseg.models.metrics.summary import Figure
    from ambiseg.models.prediction.inference import LesionHypotheses
    from ambiseg.models.runs.run_folder import Run
    from ambiseg.models.runs.trained import Trained
    from ambiseg.preprocessing.store.store import Store

    from .demo_target import Target

OWN_DATA = """\
The same with your own data:
  ambiseg preprocess lidc /path/to/LIDC-IDRI     # DICOM -> data/lidc (or `ambiseg preprocess nifti` for other data)
  ambiseg train --method generalized             # -> runs/generalized-001
  ambiseg evaluate                               # -> report.html: how close its masks are to the readers'
  ambiseg calibrate                              # fits its probabilities to the validation readers
  ambiseg predict scan.nii --top 8               # ranked hypotheses; --at X,Y,Z gives the lesion's place in a whole scan"""


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of all files of the demo.")] = Path(
        "ambiseg-demo"
    ),
    patients: Annotated[
        int,
        typer.Option(
            help="Number of simulated patients. With more, the model gets better and the demo takes longer.", min=8
        ),
    ] = 24,
    seed: Annotated[int, typer.Option(help="Seed of patients, pixels and training.", min=0)] = 0,
) -> None:
    """Simulate a cohort, preprocess, train, evaluate and predict: no data, no network, no GPU, about two minutes."""
    if output.exists() and not (output / "LIDC-IDRI" / "phantom.json").is_file():
        raise UsageError(f"{output} exists and is not an earlier demo: choose another `output`, or remove it.")
    try:
        _demo(output, patients, seed)
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(f"Stopped; `ambiseg demo -o {output}` continues from there.") from None


def _demo(folder: Path, patients: int, seed: int) -> None:
    from .demo_picture import draw_demo
    from .demo_target import choose_target

    with _step(
        "1/5", f"Simulating CT scans of {counted(patients, 'patient')} (real outlines of LIDC-IDRI, invented pixels)"
    ):
        _simulate(folder, patients, seed)
    with _step("2/5", "Cropping the lesions with the masks of their four readers"):
        store = _preprocess(folder, seed)
    with _step("3/5", "Training the Generalized Probabilistic U-Net"):
        run, trained = _train(folder, store, seed)
    with _step("4/5", "Evaluating on patients that the model has not seen"):
        figures, report = _evaluate(run, trained, store, seed)
    with _step("5/5", "Predicting a lesion that the model has not seen"):
        target = choose_target(folder, store, run.record.crop)
        result = _predict(folder, trained, target, seed)
        draw_demo(folder / "demo.png", store, target, result)
    ged, unbiased, matched = (figures[name].mean for name in ("ged16_v", "ged16_u", "hm_iou16"))
    out(f"GED16 {ged:.3f} (unbiased {unbiased:.3f}), HM-IoU16 {matched:.3f}")
    out(f"Report of the evaluation: {report}")
    out(f"Picture: {folder / 'demo.png'}")
    out(f"Hypotheses on the scan's grid: {folder / 'scan-hypotheses'}/ (open its report.html), made by")
    out(f"  cd {folder} && ambiseg predict scan.nii --top 8")
    out(*OWN_DATA.splitlines())


@contextmanager
def _step(number: str, what: str) -> Iterator[None]:
    begun = monotonic()
    console.print(f"{number} {what}")
    yield
    console.print(f"    {monotonic() - begun:.0f} s")


def _simulate(folder: Path, patients: int, seed: int) -> None:
    from ambiseg.preprocessing.phantom import write_phantom

    with progress() as display:
        meter = Meter(display, "Simulating", "slices")
        write_phantom(folder / "LIDC-IDRI", patients, seed=seed, slices="nodules", on_progress=meter)


def _preprocess(folder: Path, seed: int) -> "Store":
    from ambiseg.preprocessing.lidc.lidc_store import preprocess_lidc
    from ambiseg.preprocessing.store.store import Store

    with progress() as display:
        meter = Meter(display, "Cropping", "scans")
        report = preprocess_lidc(folder / "LIDC-IDRI", folder / "data" / "lidc", seed=seed, on_progress=meter)
    return Store.open(report.store)


def _train(folder: Path, store: "Store", seed: int) -> "tuple[Run, Trained]":
    """Train, or continue an earlier demo's run; its folder names the data as the commands shown do, which run in `folder`."""
    from ambiseg.models.runs.config import make_config
    from ambiseg.models.runs.hardware import resolve_device
    from ambiseg.models.runs.run_folder import Run
    from ambiseg.models.runs.run_record import RunRecord
    from ambiseg.models.runs.trained import load_trained

    from ...api.training_start import Training

    path = folder / "runs" / "generalized-001"
    if path.exists():
        run = Run.open(path)
    else:
        record = RunRecord.of(make_config("generalized", "demo", flags={"seed": seed}), store, "cpu")
        data = record.data.model_copy(update={"path": "data/lidc"})
        run = Run.create(path, record.model_copy(update={"data": data}))
    cpu = resolve_device("cpu")
    watched(Training(run, store, cpu))
    return run, load_trained(path, cpu, keep_memory=True)


def _evaluate(run: "Run", trained: "Trained", store: "Store", seed: int) -> "tuple[Mapping[str, Figure], Path]":
    """The figures, and the page that shows them."""
    from ambiseg.models.report.evaluation_folder import write_report

    from ...api import evaluate

    with progress() as display:
        evaluation = evaluate(trained, store, seed=seed, on_progress=Meter(display, "Evaluating", "cases"))
        drawing = Meter(display, "Drawing", "pictures")
        report = write_report(run.path / "evaluation-test", evaluation, trained, store, on_progress=drawing)
    return evaluation.figures, report


def _predict(folder: Path, trained: "Trained", target: "Target", seed: int) -> "LesionHypotheses":
    from ambiseg.preprocessing.scans.formats.nifti_volume import write_volume

    from ...api import predict

    write_volume(folder / "scan.nii", target.volume)
    found = predict(folder / "scan.nii", trained, seed=seed)
    found.save(folder / "scan-hypotheses", overwrite=True)
    return found.lesions[0]
