"""The language of what people read: docs, docstrings, comments, messages and templates contain none of the phrases below.

Native readers stumble over each of these phrases; the second text is the plain one that replaces it. Code in backticks and
fenced blocks is not prose and is left out.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("ambiseg_cli", "preprocessing", "models", "examples", "tests")
UNIT = (
    "audit|batch|block|call|case|code|column|component|crop|distribution|draw|entry|estimator|fault|figure|format|frame|group|head|"
    "hypothesis|image|lesion|map|member|method|mask|mode|nodule|pair|panel|patient|pixel|player|point|process|reader|row|run|"
    "scan|second|seed|slice|split|step|study|table|task|test|update|voxel"
)
SINGLE = (
    "bar|column|digit|entry|figure|file|folder|key|line|map|number|panel|point|probability|row|segment|table|value|vote"
)
COUNTED = (
    "bits|bytes|clicks|codes|colours|convolutions|crops|digits|draws|entries|figures|files|frames|GB|"
    "images|lines|MB|masks|milliseconds|minutes|ms|nats|passes|pixels|points|ratings|readers|samples|rows|seconds|"
    "slices|steps|values"
)


@dataclass(frozen=True)
class Phrase:
    """A turn of phrase to avoid, and what to write instead."""

    pattern: str
    instead: str


PHRASES = (
    Phrase(
        rf"\b(?:[Aa]n?|[Oo]ne) (?:[a-z]+ )?(?:{SINGLE}) an? (?:{UNIT})\b",
        "one row per crop",
    ),
    Phrase(rf"\b(?:{COUNTED}) an? (?:{UNIT})\b", "draws per image"),
    Phrase(r"[,;:] came\b", "expected X, got Y"),
    Phrase(r"\bparted (?:as|among|at|by|from|into|where)\b", "separated, split"),
    Phrase(r"\bImply\b", "Infer"),
    Phrase(r"\bis all of its own\b", "is on its own"),
    Phrase(r"\bwhat it makes\b", "what it creates, or the thing itself"),
    Phrase(r"\basked for (?:is|are)\b|\bWhat is asked for\b", "requested"),
    Phrase(r"\b[Ww]hoever\b", "if you ..., a reader who ..."),
    Phrase(r"\bnothing said\b", "not given"),
    Phrase(r"\bnot told from\b|\btold from luck\b", "not significant"),
    Phrase(r"\bnobody marks nothing\b", "every reader marks something"),
    Phrase(r"\bwould score who\b", "an oracle that may look at ..."),
    Phrase(r"\b(?:to go|goes|going|go) on (?:from|with)\b", "continue, resume"),
    Phrase(r"\bso many (?:draws|masks|steps|minutes|samples|candidates|mm)\b", "that many, the given number of"),
    Phrase(r"\bone story\b|\bconsistent story\b", "the same latent sample in all slices"),
    Phrase(r"\bmade (?:crops|data|images|lesions|masks|scans|sets?)\b", "synthetic"),
    Phrase(r"\b(?:say|says|said|tell|tells|speak|speaks) nothing of\b", "say nothing about"),
    Phrase(r"\b(?:bear|bears|bore|borne) (?:\w+ )?out\b", "agree with, confirm"),
    Phrase(r"\b(?:are|is) of (?:it|them)\b", "belongs to"),
    Phrase(r"\bin good part\b|\bat heart\b", "largely, effectively"),
    Phrase(r"\bto and fro\b", "back and forth"),
    Phrase(r"\bWhat (?!if\b)[^.?!:;\n]{3,60}, (?:is|are|was|were)\b", "a sentence that begins with its subject"),
)


def prose_of_markdown(text: str) -> str:
    """A page without code and without what programs fill in, in one line per paragraph."""
    text = re.sub(r"^<!-- [^\n]*: .*?^<!-- end -->", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^( *)```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^    .*$", "", text, flags=re.MULTILINE)
    return unwrapped(re.sub(r"`[^`]*`", "`code`", text))


def unwrapped(text: str) -> str:
    """Lines of a paragraph joined, so that a phrase is found across a line's end."""
    return re.sub(r"(?<!\n)\n(?![\n|#*-])[ #]*", " ", text)


def prose_of_python(text: str) -> str:
    """Docstrings, messages and comments of a module; a formatted value is `code`."""
    found = [unwrapped(string) for string in strings(ast.parse(text))]
    comments = "\n".join(
        token.string.lstrip("#! ")
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    )
    return re.sub(r"`[^`\n]*`", "`code`", "\n".join([*found, comments]))


def strings(tree: ast.AST) -> Iterator[str]:
    """The texts of a tree: constants, and formatted strings with `code` for their values."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "`code`" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        else:
            yield from strings(node)


def prose(path: Path) -> str:
    """What people read of a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return prose_of_python(text)
    return prose_of_markdown(text) if path.suffix == ".md" else text


def stumbles(text: str) -> list[str]:
    """The phrases to avoid in a text, each with what to write instead."""
    return [f"{found[0]!r}: {phrase.instead}" for phrase in PHRASES for found in re.finditer(phrase.pattern, text)]


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def sources() -> list[Path]:
    files = [path for room in SOURCES for path in (ROOT / room).rglob("*") if path.suffix in {".py", ".html", ".js"}]
    return sorted(path for path in files if path != Path(__file__) and not path.name.startswith("niivue"))


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_read_well(path: Path) -> None:
    found = stumbles(prose(path))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_sources_read_well(path: Path) -> None:
    found = stumbles(prose(path))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "`cases.csv` has a row a case.",
        "It takes 16 draws an image.",
        "expected two axes, came 3",
        "names, parted by commas",
        "Imply the diversity of samples",
        "which is all of its own",
        "Whoever reads a difference",
        "In data in which nobody marks nothing",
        "What one would score who may look",
        "What is printed, is the table.",
    ],
)
def test_a_phrase_is_found(text: str) -> None:
    assert len(stumbles(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "One row per case, with a mask a reader drew.",
        "This implies a probability for each image.",
        "What if the file is missing, is it recreated?",
        "A player has an optimiser of its own.",
        "expected a number, got 'x'",
    ],
)
def test_plain_sentences_pass(text: str) -> None:
    assert not stumbles(text)


def test_phrases_are_found_in_code_across_lines_and_around_values() -> None:
    source = '''
def f(x):
    """One table, a row a
    crop."""
    # names parted by commas
    raise ValueError(f"{x}: expected {x}, came {x}")
'''
    assert len(stumbles(prose_of_python(source))) == 3
    assert not stumbles(prose_of_markdown("`a row a crop`\n\n```sh\na row a crop\n```\n"))
