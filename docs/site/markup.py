"""Small pieces of Markdown that several generated sections need."""

import html
import re
from collections.abc import Iterable, Sequence

MARKS = re.compile(r"([\\*_\[\]|~$])")


def plain(text: str) -> str:
    """Text in which Markdown finds no marks of its own, except code between backticks."""
    pieces = re.split(r"(`[^`]+`)", " ".join(text.split()))
    return "".join(code(piece[1:-1]) if re.fullmatch(r"`[^`]+`", piece) else _escaped(piece) for piece in pieces)


def code(text: str) -> str:
    """Text as code, safe within a table."""
    return "`" + text.replace("|", "\\|") + "`" if text else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are escaped already, without columns that are empty."""
    cells = list(rows)
    kept = [number for number, _ in enumerate(head) if any(row[number] for row in cells)]
    lines = [[line[number] for number in kept] for line in (head, ["---"] * len(head), *cells)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _escaped(text: str) -> str:
    return MARKS.sub(r"\\\1", html.escape(text, quote=False))
