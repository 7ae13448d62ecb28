"""Pages that need no network: every page has the same frame, holds its style and pictures, and may load nothing else."""

import base64
import hashlib
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from .numbers import decimals, interval, true_minus


def render(name: str, **values: Any) -> str:
    """The HTML of the page whose template is `name`, an extension of base.html; values are escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_read), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {write.__name__: _printed(write) for write in (decimals, interval)}
    style = _read("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()  # the one style that the page may use
    return environment.get_template(name).render(style=style, style_hash=digest, **values)


def _printed(write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: true_minus(write(value))


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
