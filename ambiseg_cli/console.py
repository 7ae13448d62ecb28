"""Where the commands write: results to stdout, everything else (progress, notes, errors) to stderr."""

import sys
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)
_stdout = Console(highlight=False, soft_wrap=True, markup=False)


def out(result: RenderableType) -> None:
    """Print a result (text or a table) to stdout."""
    _stdout.print(result)


def emit_json(result: Any) -> None:
    """Print a result as JSON to stdout, for programs."""
    from ambiseg.preprocessing.documents import json_text

    sys.stdout.write(json_text(result))


def progress() -> Progress:
    """A progress display on stderr: what, bar, count, rate and time left. Use it as a context manager."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=console.quiet,
    )


class Meter:
    """One line of a `progress()` display as an `on_progress(done, total)` callback."""

    def __init__(self, display: Progress, what: str, unit: str):
        self.display, self.unit = display, unit
        self.task = display.add_task(what, total=None, rate="", visible=False)  # seen once there is something

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        speed = self.display.tasks[self.task].speed
        rate = f"{speed:.1f} {self.unit}/s" if speed else ""
        self.display.update(self.task, completed=done, total=total, rate=rate, visible=True)


def complain(message: str) -> None:
    """Print an error to stderr, also when quiet."""
    _errors.print(message)
