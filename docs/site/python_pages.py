"""The reference of the Python interface, read from the signatures and docstrings of its public names."""

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

from markup import code, plain, table
from pydantic import BaseModel

import ambiseg

FOR_METHODS = {
    "ambiseg.models.core.method": ("Method", "Stage", "Player"),
    "ambiseg.models.core.predictive": ("Predictive", "FinitePredictive", "SampledPredictive"),
    "ambiseg.models.core.batch": ("Batch", "Loss"),
    "ambiseg.models.training.conformance": ("check_method", "variants"),
}
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Examples?|Notes?|Source):[ ]*\n", re.MULTILINE)
TITLES = {"Args": "Arguments", "Example": "Example", "Note": "Note"}
LINE = 88


def public_names() -> str:
    """Every name that `import ambiseg` offers, as Markdown."""
    return "\n".join(_entry(f"ambiseg.{name}", getattr(ambiseg, name)) for name in _sorted(_names()))


def names_for_methods() -> str:
    """What the author of a method needs, as Markdown."""
    found = [(module, name) for module, names in FOR_METHODS.items() for name in names]
    return "\n".join(_entry(name, getattr(import_module(module), name), module) for module, name in found)


def _names() -> list[str]:
    return [name for name in ambiseg.__all__ if not name.startswith("__")]


def _sorted(names: Iterable[str]) -> list[str]:
    """Functions first, then what they return, then errors."""

    def place(name: str) -> tuple[int, str]:
        value = getattr(ambiseg, name)
        if not inspect.isclass(value):
            return 0, name
        return (2 if issubclass(value, BaseException) else 1), name

    return sorted(names, key=place)


def _entry(shown: str, value: Any, module: str = "") -> str:
    """The section of one function or class; with the module to import it from, where that is not `ambiseg`."""
    parts = [f"### `{shown}`\n", f"`from {module} import {shown}`\n" if module else ""]
    if not (inspect.isclass(value) and (issubclass(value, (BaseException, BaseModel)) or inspect.isabstract(value))):
        parts.append(_signature(shown, value))
    if inspect.isfunction(value):
        _complete(shown, value)
    parts.append(_documented(shown, value))
    if inspect.isclass(value):
        parts += [_fields(value), *_methods(value)]
    return "\n".join(part for part in parts if part)


def _methods(owner: type) -> Iterator[str]:
    """The public methods and properties that a class itself defines."""
    fields = {one.name for one in dataclasses.fields(owner)} if dataclasses.is_dataclass(owner) else set()
    for name, raw in vars(owner).items():
        if (
            name.startswith("_")
            or name in fields
            or not isinstance(raw, (property, classmethod, staticmethod, type(_entry)))
        ):
            continue
        value = raw.fget if isinstance(raw, property) else getattr(owner, name)
        shown = f"{owner.__name__}.{name}"
        yield f"#### `{shown}`\n"
        if isinstance(raw, property):
            yield f"Property: {code(_type(inspect.signature(value).return_annotation))}\n"
        else:
            yield _signature(shown, value)
        yield _documented(shown, value)


def _signature(shown: str, value: Callable[..., Any]) -> str:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    pieces = [_parameter(one) for one in signature.parameters.values() if one.name not in ("self", "cls")]
    starts = [one.kind for one in signature.parameters.values() if one.name not in ("self", "cls")]
    if inspect.Parameter.KEYWORD_ONLY in starts and inspect.Parameter.VAR_POSITIONAL not in starts:
        pieces.insert(starts.index(inspect.Parameter.KEYWORD_ONLY), "*")
    given = signature.return_annotation
    end = "" if given is inspect.Signature.empty or inspect.isclass(value) else f" -> {_type(given)}"
    line = f"{shown}({', '.join(pieces)}){end}"
    if len(line) > LINE:
        line = f"{shown}(\n" + "".join(f"    {piece},\n" for piece in pieces) + f"){end}"
    return f"```python\n{line}\n```\n"


def _parameter(one: inspect.Parameter) -> str:
    star = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(one.kind, "")
    kind = "" if one.annotation is one.empty else f": {_type(one.annotation)}"
    default = "" if one.default is one.empty else f" = {_value(one.default)}"
    return f"{star}{one.name}{kind}{default}"


def _value(value: Any) -> str:
    return "..." if re.search(r" at 0x|<factory>", repr(value)) else repr(value)


def _type(annotation: Any) -> str:
    """An annotation without the modules of its names."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"ForwardRef\('([\w.]+)'\)", r"\1", text.replace("NoneType", "None"))
    text = re.sub(r"\bUnion\[([^\[\]]+)\]", lambda found: found[1].replace(", ", " | "), text)
    text = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text)
    return re.sub(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]", r"NDArray[\1]", text)


def _fields(owner: type) -> str:
    """The fields of a dataclass or a pydantic model with their types, where the docstring does not explain them."""
    if "\nAttributes:\n" in inspect.cleandoc(owner.__doc__ or ""):
        return ""
    if dataclasses.is_dataclass(owner):
        rows = [[code(one.name), code(_type(one.type))] for one in dataclasses.fields(owner) if one.name[0] != "_"]
        return table(["field", "type"], rows) if rows else ""
    if issubclass(owner, BaseModel):
        found = owner.model_fields.items()
        return table(
            ["field", "type", "meaning"],
            ([code(key), code(_type(field.annotation)), plain(field.description or "")] for key, field in found),
        )
    return ""


def _documented(shown: str, value: Any) -> str:
    """The docstring as Markdown; a public name without one ends the build."""
    written = value.__doc__ if inspect.isclass(value) else inspect.getdoc(value)
    if not (written or "").strip():
        raise ValueError(f"The public name `{shown}` has no docstring.")
    text, *sections = SECTION.split(inspect.cleandoc(written or ""))
    pairs = zip(sections[::2], sections[1::2], strict=True)
    return "\n".join([_prose(text), *(_section(name, textwrap.dedent(body).strip("\n")) for name, body in pairs)])


def _complete(shown: str, value: Callable[..., Any]) -> None:
    """A public function documents each of its arguments, and no other."""
    given = set(inspect.signature(value).parameters)
    args = re.search(r"^Args:\n((?:    .*\n|\n)*)", (inspect.getdoc(value) or "") + "\n", re.MULTILINE)
    documented = set(re.findall(r"^    \*{0,2}(\w+)(?: \([^)]*\))?:", args[1] if args else "", re.MULTILINE))
    if given != documented:
        raise ValueError(f"The docstring of `{shown}` and its signature differ: {sorted(given ^ documented)}.")


def _section(name: str, body: str) -> str:
    title = f"**{TITLES.get(name, name)}**\n\n"
    if name in ("Args", "Attributes", "Raises"):
        items = re.findall(r"^(\*{0,2}[\w.]+)(?: \([^)]*\))?: *(.*(?:\n(?:[ ]+.*|(?=\n)))*)", body, re.MULTILINE)
        return title + table(["name", "meaning"], ([code(key), plain(words)] for key, words in items))
    return title + _prose(body)


def _prose(text: str) -> str:
    """Paragraphs, lists, indented code and doctests of a docstring as Markdown."""
    return "\n".join(f"{_paragraph(part)}\n" for part in re.split(r"\n[ ]*\n", text.strip("\n")) if part.strip())


def _paragraph(part: str) -> str:
    if part.startswith(">>>"):
        return f"```pycon\n{part}\n```"
    if part.startswith("    "):
        return f"```text\n{textwrap.dedent(part)}\n```"
    if part.startswith("- "):
        return "\n".join(f"- {plain(item)}" for item in re.split(r"^- ", part, flags=re.MULTILINE)[1:])
    return plain(part)
