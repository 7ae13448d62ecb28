"""The progress of a benchmark that trains: one line for all trials, and one for the current part of the work."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...terminal.console import Meter, console

if TYPE_CHECKING:
    from rich.progress import Progress as Display

    from ambiseg.models.benchmarks.trials.trials import Trial
    from ambiseg.models.training.loop import Observer

WORDS = {  # for the parts of the work, and their units
    "training": ("training", "step"),
    "sampling": ("timing", "mask"),
    "calibration": ("calibrating", "case"),
    "evaluation": ("evaluating", "case"),
}


class Watch:
    """Shows how many of `trials` are done and what is being done, on a `progress()` display."""

    def __init__(self, display: "Display", trials: int):
        self.display, self.trials, self.count = display, trials, 0
        self.meter = Meter(display, "All", "trial")
        self.meter(0, trials)
        self.running: Meter | None = None

    def begin(self, trial: "Trial", part: str) -> Callable[[int, int], None]:
        """Show a part of a trial's work; without a terminal, print when it begins."""
        words, unit = WORDS[part.partition("-")[0]]
        if not console.is_terminal:
            console.print(f"{time.strftime('%H:%M:%S')} {trial.path.name}: {words}")
        return self._show(f"{trial.path.name}: {words}", unit)

    def training(self, trial: "Trial") -> "Observer":
        """An observer that shows the training of a trial."""
        show = self._show(trial.path.name, "step")
        return lambda seen: show(seen.step, seen.steps)

    def done(self) -> None:
        """Count a trial as done, and remove the line of its work."""
        self.count += 1
        self.meter(self.count, self.trials)
        self._hide()

    def _show(self, what: str, unit: str) -> Callable[[int, int], None]:
        """The line of the current work, in place of the one before."""
        self._hide()
        self.running = Meter(self.display, what, unit)
        return self.running

    def _hide(self) -> None:
        if self.running is not None:
            self.display.update(self.running.task, visible=False)
            self.running = None
