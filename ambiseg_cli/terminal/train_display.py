"""The live table of a training run: progress with the time left, the losses, and the last validations."""

import math
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.table import Table

from ambiseg.models.runs.run_folder import Run
from ambiseg.models.training.diagnosis import kept
from ambiseg.models.training.loop import Progress
from ambiseg.preprocessing.counted import counted

from .console import Meter, console, progress

SHOWN = 6  # validations
COLUMNS = ("loss", "kl", "ged", "ged_u", "hm_iou", "diversity")


class TrainDisplay:
    """Shows a run while it trains. Use it as a context manager. `best` holds the scores of the weights that are kept."""

    def __init__(self, run: Run):
        self.run, self.monitor = run, run.record.config.validation.monitor
        self.bar = progress()
        self.meter = Meter(self.bar, run.record.method, "step")
        self.validations = [entry for entry in run.read_log() if entry["kind"] == "validation"]
        self.live = Live(self._table(), console=console, refresh_per_second=4, transient=not console.is_terminal)
        self.estimated = False

    def __enter__(self) -> "TrainDisplay":
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the table as it is on the screen."""
        self.live.stop()

    @property
    def best(self) -> dict[str, float]:
        """Step, GED and matched IoU at the weights that are kept so far; {} without a validation."""
        best = kept(self.validations, self.monitor)
        return {} if best is None else {name: best.get(name, math.nan) for name in ("step", "ged", "ged_u", "hm_iou")}

    def observe(self, seen: Progress) -> None:
        """Show what the loop reports."""
        if seen.scores:
            self.validations.append({"step": seen.step, **seen.scores})
            if not console.is_terminal:
                console.print(
                    f"step {seen.step}: " + ", ".join(f"{n} {seen.scores[n]:.3f}" for n in COLUMNS if n in seen.scores)
                )
        elif not self.estimated and seen.step < seen.steps:
            self.estimated = True
            seconds = (seen.steps - seen.step) / seen.speed
            time = f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
            console.print(
                f"{seen.speed:.1f} steps/s: about {time} for the remaining {counted(seen.steps - seen.step, 'step')}."
            )
        self.meter(seen.step, seen.steps)
        self.live.update(self._table())

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for name in ("step", *COLUMNS):
            table.add_column(name, justify="right")
        for entry in self.validations[-SHOWN:]:
            table.add_row(str(entry["step"]), *(f"{entry[name]:.3f}" if name in entry else "" for name in COLUMNS))
        return Group(table, self.bar) if self.validations else Group(self.bar)
