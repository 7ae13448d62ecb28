"""The terms under which a model is shared."""

from dataclasses import dataclass
from pathlib import Path

from ambiseg.preprocessing.errors import DataError, InputError

SPDX = (
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-4.0",
    "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-4.0", "CC0-1.0", "GPL-3.0-only", "GPL-3.0-or-later", "MIT", "MPL-2.0",
)  # fmt: skip
LONGEST = 2**18  # bytes


@dataclass(frozen=True)
class Licence:
    """A licence in short, and the content of LICENSE."""

    name: str
    text: str


NONE = Licence(
    "none stated",
    "No licence was stated when this model was exported. Without one, only its authors may use, change or\n"
    "share it: ask them.\n",
)


def read_licence(given: str | None) -> Licence:
    """The licence in a text file, or of an SPDX name; `NONE` where none is given.

    Raises InputError for what is neither, DataError for a file that is not text or is too long.
    """
    if given is None:
        return NONE
    if given in SPDX:
        text = f"SPDX-License-Identifier: {given}\n\nThe licence's text: https://spdx.org/licenses/{given}.html\n"
        return Licence(given, text)
    path = Path(given)
    if not path.is_file():
        raise InputError(f"No licence {given!r}: expected a text file, or one of {', '.join(SPDX)}.")
    try:
        if path.stat().st_size > LONGEST:
            raise ValueError("too long")
        return Licence("see LICENSE", path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"{path} is not a licence: expected a text in UTF-8 of at most {LONGEST // 1024} KB."
        ) from error
