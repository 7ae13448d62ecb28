"""Where the commands write: results to stdout, everything else (progress, notes, errors) to stderr.

Names of files, patients, cases and lesions come from the source of the data. Everything printed here is therefore plain text:
markup in it has no effect, and control characters are written out.
"""

import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console, ConsoleOptions, RenderableType
from rich.highlighter import Highlighter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import AmbisegError

from .option_names import spoken

if TYPE_CHECKING:
    from ambiseg.preprocessing.sources.packed.crop_values import SourceReport

SHOWN = 20  # failures in a table; the files list all of them


def visible(text: str, kept: str = "") -> str:
    r"""Text with every control character, and every character that changes the reading order, written out.

    kept: such characters that stay as they are.

    >>> visible("a\x1b]0;b\x07"), visible("a\nb", kept="\n")
    ('a\\x1b]0;b\\x07', 'a\nb')
    """
    if text.isprintable():
        return text
    return "".join(letter if _is_plain(letter) or letter in kept else _written(letter) for letter in text)


def _is_plain(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"


def _written(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


class PlainConsole(Console):
    """A console that prints text as it is, one line each, without effect of markup or control characters in it."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as rich shows it: on its own, in a table's cell or as its title."""
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Everything that is about to be printed: the last place where text that came another way can be caught."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text, kept="\n"), segment.style)


class Labels(Highlighter):
    """Colours the first word of a message."""

    def highlight(self, text: Text) -> None:
        """Colour the text."""
        text.highlight_regex(r"\A(Note|Warning|Experimental):", "yellow")
        text.highlight_regex(r"\A(Error|Unexpected error):", "bold red")


def _console(*, stderr: bool) -> PlainConsole:
    return PlainConsole(
        stderr=stderr, highlighter=Labels(), highlight=stderr, soft_wrap=True, markup=False, emoji=False
    )


console = _console(stderr=True)
_errors = _console(stderr=True)
_stdout = _console(stderr=False)


def out(*results: RenderableType) -> None:
    """Print results, each a line of text or a table, to stdout."""
    for result in results:
        _stdout.print(result)


def emit_json(result: Any) -> None:
    """Print a result as JSON to stdout, for programs."""
    from ambiseg.preprocessing.documents import json_text

    sys.stdout.write(json_text(result))


def progress() -> Progress:
    """A progress display on stderr with bar, count, rate and time left. Use it as a context manager."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left", markup=False),
        TimeRemainingColumn(),
        console=console,
        disable=console.quiet,
    )


class Meter:
    """One line of a `progress()` display as an `on_progress(done, total)` callback."""

    def __init__(self, display: Progress, what: str, unit: str):
        self.display, self.unit = display, unit
        self.task = display.add_task(what, total=None, rate="", visible=False)  # shown once there is something to show

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        speed = self.display.tasks[self.task].speed
        rate = f"{speed:.1f} {self.unit}/s" if speed else ""
        self.display.update(self.task, completed=done, total=total, rate=rate, visible=True)


def complain(*lines: str) -> None:
    """Print an error to stderr, one line each, even when quiet."""
    for line in lines:
        _errors.print(line)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Let an error that is meant for the user end a script as it ends a command: with its sentence and exit code.

    Raises SystemExit instead of AmbisegError.
    """
    try:
        yield
    except AmbisegError as error:
        complain(f"Error: {error}")
        raise SystemExit(error.exit_code) from None


class Failure(Protocol):
    """A case that failed, and why."""

    @property
    def case(self) -> str:
        """The case's name."""

    @property
    def reason(self) -> str:
        """One sentence."""


def warn(sentence: str) -> None:
    """Print a warning of the library to stderr, in terms of the running command's options."""
    console.print(f"Warning: {spoken(sentence)}")


def failures_table(failures: Sequence[Failure], what: str = "input", how: str = "could not be used") -> Table:
    """A table of cases that failed, with their reasons; only the first ones if there are many.

    what: the name of one of them; how: what happened to it.
    """
    table = Table("case", "reason", title=f"{counted(len(failures), what)} {how}")
    for failure in failures[:SHOWN]:
        table.add_row(failure.case or "-", spoken(failure.reason))
    if len(failures) > SHOWN:
        table.add_row("...", f"and {len(failures) - SHOWN} more")
    return table


def say_of_store(report: "SourceReport") -> None:
    """Print the notes on a new dataset store and the warnings."""
    for note in report.notes:
        console.print(f"Note: {spoken(note)}")
    for sentence in report.warnings:
        warn(sentence)


def report_store(report: "SourceReport", summary: str, as_json: bool) -> None:
    """Print what is to be said of a new dataset store, then the store with a summary, or the report as JSON."""
    say_of_store(report)
    if as_json:
        emit_json({"store": str(report.store), "crops": report.crops, "counts": dict(report.counts)})
    else:
        out(f"{report.store}: {summary}")
