"""JSON documents: one writer for all of them, and one reader that checks a document against its type.

Numbers of numpy are written as plain numbers. A document that is read may have been cut short, edited or damaged. It is then
refused, with the file, the line or key, the expected value and the value found.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json

from .errors import DataError
from .files import whole_file

Document = TypeVar("Document")

SHOWN = 64  # characters of a wrong value in a message


def json_text(content: Any, *, indent: int | None = 1) -> str:
    """A document as text, with a line feed at its end.

    content: plain values, dataclasses, pydantic models, and numpy's numbers and arrays anywhere among them. Raises TypeError
    for anything else, and ValueError for NaN and infinities, which JSON lacks. Both are faults of the caller.

    >>> json_text({"voxels": np.int64(3)}, indent=None)
    '{"voxels": 3}\\n'
    """
    return json.dumps(content, indent=indent, allow_nan=False, default=_plain) + "\n"


def write_json(path: Path, content: Any) -> None:
    """Write a document (see `json_text`) as a file, whole or not at all."""
    text = json_text(content)
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def read_json(path: Path, kind: type[Document], remedy: str) -> Document:
    """The document in a file, as a value of `kind`: a dataclass, a pydantic model, or a type such as `dict[str, int]`.

    remedy: what the user can do, as the end of the sentence: "make the dataset again". Raises DataError, with the line or the
    key, for anything but a whole document of that kind.
    """
    try:
        content = path.read_bytes()
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, expected a file: {remedy}.") from error
    return parse_json(content, kind, os.fspath(path), remedy)


def parse_json(content: bytes | str, kind: type[Document], name: str, remedy: str) -> Document:
    """As `read_json`, of a document that is in memory already; `name` is what messages call it."""
    try:
        value = from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise DataError(f"{name} is damaged, no JSON from here on: {error}; {remedy}.") from error
    return checked(value, kind, name, remedy)


def checked(value: Any, kind: type[Document], name: str, remedy: str) -> Document:
    """Plain values (as JSON and TOML give them) as a value of `kind`; DataError with the key that does not fit."""
    try:
        adapter: TypeAdapter[Document] = _adapter(cast(Any, kind))
        return adapter.validate_python(value)
    except ValidationError as error:
        raise DataError(f"{name} is damaged or of another version: {first_fault(error)}; {remedy}.") from error


@lru_cache(maxsize=64)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def first_fault(error: ValidationError) -> str:
    """Key, expectation and value of the first thing that pydantic found wrong: "`rows`: expected a whole number, got 'x'"."""
    fault = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(map(str, fault["loc"])) or "the whole"
    if fault["type"] == "missing":
        return f"`{shown(key)}` is missing"
    says = (
        fault["msg"]
        .removeprefix("Input should be ")
        .removeprefix("Value error, ")
        .replace("a valid tuple", "a valid list")
    )
    return f"`{shown(key)}`: expected {says}, got {_got(fault['input'])}"


def shown(text: str, most: int = SHOWN) -> str:
    """Text of a file in a message: without control characters, and of so many characters at most.

    >>> shown("a\\x1b[2Jb")
    'a?[2Jb'
    """
    plain = "".join(letter if letter.isprintable() else "?" for letter in text[: most + 1])
    return plain if len(plain) <= most else plain[:most] + "..."


def _got(value: Any) -> str:
    return shown(repr(value)) if not isinstance(value, Mapping | list) else f"a {type(value).__name__}"


def _plain(value: Any) -> Any:
    """A value that `json` does not know, in terms of values that it knows."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} does not belong in a document: {value!r}")
