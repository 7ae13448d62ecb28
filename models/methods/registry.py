"""Methods by name: those of ambiseg, and those of other packages, which are found through entry points.

A package adds a method by declaring its class in the entry-point group `ambiseg.methods`, under the name of the method
(docs/how-to/add-a-method.md). Nothing is imported before it is needed. An entry point that cannot be used, because its
import fails or another package has taken its name, never gets in the way of the others.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from ambiseg.preprocessing.documents import shown
from ambiseg.preprocessing.errors import UsageError

from ..core.method import Method
from .constructor import Options, checked_options, constructed, options_model, outline

GROUP, OURS = "ambiseg.methods", "ambiseg"

# Our methods in the order of the help: first what is worth training, then the baselines. They are listed here and not
# declared as entry points, which would lag behind the code wherever it was updated and not installed again.
OWN = tuple(
    EntryPoint(name, f"ambiseg.models.methods.{place}", GROUP)
    for name, place in {
        "generalized": "generalized:Generalized",
        "probunet": "probunet:ProbUNet",
        "modal": "modal:Modal",
        "refine": "refine:Refine",
        "gated": "gated:Gated",
        "mose": "mose:MoSE",
        "ssn": "ssn:SSN",
        "phiseg": "phiseg:PHiSeg",
        "hpu": "hpu:HPU",
        "ccdm": "ccdm:CCDM",
        "dropout": "baselines.dropout:DropoutUNet",
        "ensemble": "baselines.ensemble:Ensemble",
        "mheads": "baselines.mheads:MHeads",
        "image2image-vae": "baselines.image2image_vae:Image2ImageVAE",
    }.items()
)

_given: dict[str, type[Method]] = {}  # classes that `known_as` makes known


class MethodMissing(UsageError):
    """A method was requested that is not installed, or whose package cannot be used."""


@dataclass(frozen=True)
class Unusable:
    """An entry point that gives no method.

    Attributes:
        name: of the entry point.
        package: the distribution that declares it.
        reason: why it cannot be used, the end of a sentence.
    """

    name: str
    package: str
    reason: str

    def __str__(self) -> str:
        return f"Method {self.name!r} of the package {self.package} cannot be used: {self.reason}."


def methods() -> Mapping[str, type[Method]]:
    """All methods that can be used, by name: ours in the order of `OWN`, then those of plug-ins by name.

    This imports all of them.

    Example:
        >>> list(methods())[:3]
        ['generalized', 'probunet', 'modal']
    """
    return {name: found for name in _names() if not isinstance(found := _loaded(name), Unusable)}


def unusable_methods() -> list[Unusable]:
    """The entry points that give no method, by name. This imports all methods."""
    found = [loaded for name in _names() if isinstance(loaded := _loaded(name), Unusable)]
    return sorted([*found, *_resolved()[1]], key=lambda one: (one.name, one.package))


def find_method(name: str) -> type[Method]:
    """The method of a name or alias.

    Raises:
        MethodMissing: no package provides it, or the one that does cannot be used.

    Example:
        >>> find_method("car").summary
        'Calibrated adversarial refinement, of its own or a stored segmentation (Kassapis et al. 2021)'
    """
    if name in _given:
        return _given[name]
    if name in _names():
        found = _loaded(name)
        if isinstance(found, Unusable):
            raise MethodMissing(str(found))
        return found
    if lost := [one for one in _resolved()[1] if one.name == name]:
        raise MethodMissing(str(lost[0]))
    for method in methods().values():
        if name in method.aliases:
            return method
    raise MethodMissing(f"No method {shown(name)!r}: expected one of {', '.join(_names())}.")


def check_options(name: str, options: Options) -> dict[str, Any]:
    """All options of the method of that name, with its defaults filled in.

    Raises:
        MethodMissing: there is no such method.
        UsageError: an option is unknown or has a bad value; the message names the first one.

    Example:
        >>> check_options("ensemble", {"members": 4})["members"]
        4
    """
    return checked_options(find_method(name), options)


def build(name: str, channels: int, classes: int, options: Options, readers: int = 0) -> Method:
    """A method of a name, with fresh weights from torch's global generator.

    Args:
        name: of the method, or an alias.
        channels: C, plus K where the class probabilities of another segmenter are read.
        classes: K, background included.
        options: those that differ from the method's defaults.
        readers: how many the data name, for a method that tells them apart.

    Raises:
        MethodMissing: there is no such method.
        UsageError: an option is unknown or has a bad value, or the method would be larger than any model that is trained;
            this is found before memory is allocated.

    Example:
        >>> build("probunet", 1, 2, {"widths": [8, 16]}).classes
        2
    """
    method = find_method(name)
    checked = checked_options(method, options)
    outline(method, channels, classes, checked, readers)
    return constructed(method, channels, classes, checked, readers)


@contextmanager
def known_as(method: type[Method]) -> Iterator[None]:
    """In this block a class is found by its name, whether or not a package declares it: for trials and checks."""
    before = dict(_given)
    _given[method.name] = method
    try:
        yield
    finally:
        _given.clear()
        _given.update(before)


@cache
def _declared() -> Mapping[str, list[EntryPoint]]:
    """Our methods and all entry points of the group, by their names; ours first."""
    found: dict[str, list[EntryPoint]] = {entry.name: [entry] for entry in OWN}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, _package(entry))):
        found.setdefault(entry.name, []).append(entry)
    return found


@cache
def _resolved() -> tuple[Mapping[str, EntryPoint], list[Unusable]]:
    """The entry point that each name stands for, and those that lost their name to another package.

    A name of ours stays ours. Of a name that several other packages have, none of them gets it.
    """
    chosen: dict[str, EntryPoint] = {}
    lost: list[Unusable] = []
    for name, entries in _declared().items():
        certain = len(entries) == 1 or _package(entries[0]) == OURS
        if certain:
            chosen[name] = entries[0]
        for entry in entries[1:] if certain else entries:
            others = " and ".join(sorted({_package(other) for other in entries} - {_package(entry)}))
            lost.append(Unusable(name, _package(entry), f"{others} has a method of that name, too"))
    return chosen, lost


def _names() -> list[str]:
    return list(_resolved()[0])


@cache
def _loaded(name: str) -> type[Method] | Unusable:
    """The class that the entry point of a name gives, or why it gives none."""
    entry = _resolved()[0][name]
    try:
        found = entry.load()
    except Exception as error:  # whatever the code of another package does when it is imported
        return Unusable(name, _package(entry), f"{type(error).__name__}: {_line(error)}")
    problem = _problem(found, name)
    return Unusable(name, _package(entry), problem) if problem else cast(type[Method], found)


def _problem(found: object, name: str) -> str:
    """Why what an entry point gives is no method of its name; empty if it is one."""
    if not (isinstance(found, type) and issubclass(found, Method)):
        return "its entry point is not a subclass of Method"
    if getattr(found, "name", None) != name:
        return f"the class calls itself {getattr(found, 'name', None)!r}"
    if found.__abstractmethods__ or not isinstance(getattr(found, "summary", None), str):
        return f"{found.__name__} lacks {', '.join(sorted(found.__abstractmethods__)) or 'a summary'}"
    try:
        options_model(found)
    except Exception as error:  # pydantic's, of annotations that it cannot use
        return f"{type(error).__name__}: {_line(error)}"
    return ""


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else OURS


def _line(error: Exception) -> str:
    """The first line of an error's message, without its full stop."""
    return shown((str(error).splitlines() or [""])[0], 200).rstrip(".")
