"""A run's figures in other programs' formats, beside its own metrics.jsonl: CSV, TensorBoard, MLflow; nothing is sent away.

RUN/metrics.csv      one row per figure: step, kind, name, value
RUN/tensorboard/     event files of TensorBoard's
RUN/mlflow.db        a database of MLflow's, `sqlite:///runs/NAME/mlflow.db`
"""

import csv
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, get_args

from ambiseg.models.runs.run_folder import Run
from ambiseg.models.training.loop import Observer, Progress
from ambiseg.preprocessing.errors import UsageError

Log = Literal["csv", "tensorboard", "mlflow"]
LOGS: tuple[Log, ...] = get_args(Log)
DATABASE = "mlflow.db"
Write = Callable[[int, str, Mapping[str, float]], None]  # of a step and "train" or "validation"


@contextmanager
def also_logged(run: Run, kind: Log | None, observe: Observer) -> Iterator[Observer]:
    """An observer that also writes what it is given in another program's format, for the block.

    Args:
        run: the run.
        kind: the format; None: no other.
        observe: the observer proper.

    Raises:
        UsageError: there is no such format, or the package that writes it is missing.
    """
    if kind is None:
        yield observe
        return
    check_log(kind)
    opened = {"csv": _csv, "tensorboard": _tensorboard, "mlflow": _mlflow}[kind]
    with opened(run) as write:

        def both(progress: Progress) -> None:
            figures = {**progress.terms, **progress.scores}
            if progress.speed:
                figures["steps_per_second"] = progress.speed
            known = {name: float(value) for name, value in figures.items() if math.isfinite(value)}
            write(progress.step, "validation" if progress.scores else "train", known)
            observe(progress)

        yield both


def check_log(kind: str | None) -> None:
    """Raise a UsageError for an unknown format, or one whose package is missing, before a run is made."""
    if kind is None:
        return
    if kind not in LOGS:
        raise UsageError(f"No `log` {kind!r}: expected {', '.join(LOGS)}.")
    try:
        if kind == "tensorboard":
            import torch.utils.tensorboard  # noqa: F401
        elif kind == "mlflow":
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    except ImportError as error:
        raise UsageError(f'This `log` needs {kind}: run pip install "ambiseg[{kind}]", or choose csv.') from error


@contextmanager
def _csv(run: Run) -> Iterator[Write]:
    path = run.path / "metrics.csv"
    begun = path.is_file() and path.stat().st_size
    with path.open("a", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        if not begun:
            rows.writerow(("step", "kind", "name", "value"))

        def write(step: int, kind: str, figures: Mapping[str, float]) -> None:
            rows.writerows((step, kind, name, f"{value:.9g}") for name, value in figures.items())
            file.flush()

        yield write


@contextmanager
def _tensorboard(run: Run) -> Iterator[Write]:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run.path / "tensorboard")) as writer:

        def write(step: int, kind: str, figures: Mapping[str, float]) -> None:
            for name, value in figures.items():
                writer.add_scalar(f"{kind}/{name}", value, step)

        yield write


@contextmanager
def _mlflow(run: Run) -> Iterator[Write]:
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    place = run.path.resolve()
    client = MlflowClient(tracking_uri=f"sqlite:///{place / DATABASE}")
    name = place.name
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment else client.create_experiment(name, (place / "mlflow").as_uri())
    before = client.search_runs([number], max_results=1)
    logged = before[0] if before else client.create_run(number, run_name=name)
    if not before:
        config = run.record.config
        facts = {"method": config.method, "steps": config.steps, "batch": config.batch, "seed": config.seed}
        client.log_batch(logged.info.run_id, params=[Param(key, str(value)) for key, value in facts.items()])

    def write(step: int, kind: str, figures: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        metrics = [Metric(f"{kind}/{name}", value, now, step) for name, value in figures.items()]
        client.log_batch(logged.info.run_id, metrics=metrics)

    try:
        yield write
    finally:
        client.set_terminated(logged.info.run_id)
