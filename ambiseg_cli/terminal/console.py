"""Where the commands write: results to stdout, everything else (progress, notes, errors) to stderr.

Names of files, patients, cases and lesions come from whoever made the data. Whatever is printed here is therefore text and
nothing else: it is no markup, and no character in it is one that a terminal obeys.
"""

import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.highlighter import Highlighter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text


def visible(text: str, kept: str = "") -> str:
    r"""Text with every character that a terminal might obey, or that turns the reading order, written out.

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
    """A console that prints text as it stands, on one line each, and gives control characters in it no effect."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as rich shows it: printed, in a table's cell or as its title."""
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """All that is about to be printed: the last place where a text that came another way is caught."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text, kept="\n"), segment.style)


class Labels(Highlighter):
    """Colours for the word that a message begins with."""

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
    """Print results (a line of text or a table each) to stdout."""
    for result in results:
        _stdout.print(result)


def emit_json(result: Any) -> None:
    """Print a result as JSON to stdout, for programs."""
    from ambiseg.preprocessing.documents import json_text

    sys.stdout.write(json_text(result))


def progress() -> Progress:
    """A progress display on stderr: what, bar, count, rate and time left. Use it as a context manager."""
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
        self.task = display.add_task(what, total=None, rate="", visible=False)  # seen once there is something

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        speed = self.display.tasks[self.task].speed
        rate = f"{speed:.1f} {self.unit}/s" if speed else ""
        self.display.update(self.task, completed=done, total=total, rate=rate, visible=True)


def complain(*lines: str) -> None:
    """Print an error to stderr, a line each, also when quiet."""
    for line in lines:
        _errors.print(line)
