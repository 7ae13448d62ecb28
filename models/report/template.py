"""Pages that need no network: every page has the same frame, contains its style, scripts and pictures, and loads nothing."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ambiseg.preprocessing.documents import json_text

from ..figures.numbers import decimals, interval, true_minus

if TYPE_CHECKING:
    from jinja2 import Environment

STYLE = "report.css"


def render(
    name: str,
    *,
    package: str = __package__,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    linked: Sequence[str] = (),
    beside: bool = False,
    **values: Any,
) -> str:
    """The HTML of the page whose template is `name`, an extension of frame.html; values are escaped.

    Templates, `styles` and `scripts` are files of `package` or of this one. The page may use the styles (this package's
    first) and scripts that it contains, and no others. A page with `linked` files, style sheets (.css) and scripts (.js) by
    their addresses from the page, has these in place of this package's style; they must lie on the page's own disk or server.
    beside: the page may show pictures that lie on its own disk or server.
    """
    read = partial(_read, package=package)
    style, programs = "".join(map(read, styles if linked else (STYLE, *styles))), list(map(read, scripts))
    policy = _policy(style, programs, beside=beside or bool(linked))
    return (
        _environment(package)
        .get_template(name)
        .render(style=style, scripts=programs, linked=linked, policy=policy, **values)
    )


@lru_cache(maxsize=8)
def _environment(package: str) -> "Environment":
    """What renders the templates of a package and of this one."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(partial(_read, package=package)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.policies |= {"json.dumps_function": json_text, "json.dumps_kwargs": {"indent": None}}
    environment.filters |= {write.__name__: _printed(write) for write in (decimals, interval)}
    return environment


def whole_style(package: str, styles: Sequence[str]) -> str:
    """This package's style and the `styles` of another, as one sheet."""
    return "".join(_read(style, package) for style in (STYLE, *styles))


def _policy(style: str, scripts: Sequence[str], *, beside: bool) -> str:
    """The content security policy: embedded pictures, this style and these scripts, identified by their hashes.

    beside: also the files of the page's own server or disk. (Browsers check no hash of a file on a disk.)
    """
    own = ["'self' file:"] if beside else []
    rules = [
        "default-src 'none'",
        f"img-src {' '.join([*own, 'data:'])}",
        f"style-src {' '.join([*own, _digest(style)])}",
    ]
    rules += [f"script-src {' '.join([*own, *map(_digest, scripts)])}"] if scripts or own else []
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _printed(write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: true_minus(write(value))


@lru_cache(maxsize=64)
def _read(name: str, package: str) -> str:
    file = next(file for owner in (package, __package__) if (file := files(owner).joinpath(name)).is_file())
    return file.read_text(encoding="utf-8")
