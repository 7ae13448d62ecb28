"""JSON documents: what is written is read back, and what is damaged is refused in one sentence."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from ambiseg.preprocessing.documents import json_text, parse_json, read_json, write_json
from ambiseg.preprocessing.errors import DataError

WHOLE = st.integers(-(2**31), 2**31 - 1)
REAL = st.floats(allow_nan=False, allow_infinity=False, width=32)
NUMPY = st.one_of(
    WHOLE.map(np.int64), WHOLE.map(np.int32), REAL.map(np.float32), REAL.map(np.float64), st.booleans().map(np.bool_)
)
LEAVES = st.one_of(st.none(), st.booleans(), WHOLE, REAL, st.text(), NUMPY, st.lists(REAL).map(np.array))
CONTENT = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)), max_leaves=20
)


def plain(value: Any) -> Any:
    """What a value is without numpy."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


@given(CONTENT)
def test_numbers_of_numpy_are_written_as_the_numbers_that_they_are(content: Any) -> None:
    assert json.loads(json_text(content)) == plain(content)


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rows: int
    names: list[str] = []


@dataclass(frozen=True)
class Box:
    start: int
    shape: Any


def test_dataclasses_models_and_mappings_are_documents() -> None:
    text = json_text(Box(np.int64(3), MappingProxyType({"deep": Shape(rows=2)})))
    assert json.loads(text) == {"start": 3, "shape": {"deep": {"rows": 2, "names": []}}}


@pytest.mark.parametrize("content", [{"x": float("nan")}, {"x": np.float32("inf")}])
def test_what_json_cannot_hold_is_a_fault(content: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"JSON"):
        write_json(tmp_path / "a.json", content)
    assert not list(tmp_path.iterdir())


def test_a_value_of_an_unknown_kind_is_a_fault() -> None:
    with pytest.raises(TypeError, match=r"object does not belong"):
        json_text({"x": object()})


def test_a_document_is_read_as_its_type(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"rows": np.int16(4), "names": ["a"]})
    assert read_json(tmp_path / "a.json", Shape, "make it again") == Shape(rows=4, names=["a"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"rows": 1', r"no JSON from here on: .* line 1 column 10"),
        (b"", r"no JSON"),
        (b"\xff\xfe\x00", r"no JSON"),
        (b"[" * 100_000, r"no JSON"),
        (b'{"rows": NaN}', r"no JSON"),
        (b'{"rows": 1e999}', r"`rows`: expected"),
        (b"[]", r"`the whole`: expected .*, got a list"),
        (b"{}", r"`rows` is missing"),
        (b'{"rows": "many"}', r"`rows`: expected .*, got 'many'"),
        (b'{"rows": 1, "names": ["a", 2]}', r"`names\.1`: expected a valid string, got 2"),
        (b'{"rows": 1, "more": "\\u001b[31m"}', r"`more`: "),
        (b'{"rows": "' + b"x" * 10_000 + b'"}', r"got 'x+\.\.\."),
        (b'{"rows": ' + b"9" * 10_000 + b"}", r"`rows`|no JSON"),
    ],
)
def test_a_damaged_document_is_refused_in_one_sentence(content: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says) as error:
        parse_json(content, Shape, "a.json", "make it again")
    message = str(error.value)
    assert message.startswith("a.json is damaged")
    assert message.endswith("; make it again.")
    assert message.isprintable()
    assert len(message) < 400


def test_a_folder_in_the_place_of_a_document_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder, expected a file: make it again"):
        read_json(tmp_path, Shape, "make it again")
