"""The progress of a benchmark that trains: a line of all trials, and one of what runs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...terminal.console import Meter

if TYPE_CHECKING:
    from rich.progress import Progress as Display

    from ambiseg.models.benchmarks.trials.trials import Trial
    from ambiseg.models.training.loop import Observer


class Watch:
    """Shows how many of `trials` are done and what is being done, on a `progress()` display."""

    def __init__(self, display: "Display", trials: int):
        self.display, self.trials, self.count = display, trials, 0
        self.meter = Meter(display, "All", "trial")
        self.meter(0, trials)
        self.running: Meter | None = None

    def part(self, what: str, unit: str) -> Callable[[int, int], None]:
        """The line of what runs now, in the place of the one before."""
        self._hide()
        self.running = Meter(self.display, what, unit)
        return self.running

    def training(self, trial: "Trial") -> "Observer":
        """An observer that shows the training of a trial."""
        show = self.part(trial.path.name, "step")
        return lambda seen: show(seen.step, seen.steps)

    def done(self) -> None:
        """A trial is done: the line of what ran goes."""
        self.count += 1
        self.meter(self.count, self.trials)
        self._hide()

    def _hide(self) -> None:
        if self.running is not None:
            self.display.update(self.running.task, visible=False)
            self.running = None
