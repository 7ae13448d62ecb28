"""What a shared model consists of, and how its files are told whole: names, limits, hashes.

model.safetensors   the weights
run.json            the run's record, without paths: with the weights all that `run.load_trained` needs
calibration.json    where the run is calibrated
trained_on.json     hashes of the patients and images of the training; models of earlier versions lack it
metadata.json       the model in fields, named as in a MONAI bundle (`metadata.Metadata`)
README.md           the model card
LICENSE             under which terms others may use it
SHA256SUMS          of all these, in the form that `sha256sum -c` reads
"""

import re
from pathlib import Path

from ambiseg.preprocessing.errors import DataError, UsageError
from ambiseg.preprocessing.files import sha256

WEIGHTS, RECORD, CALIBRATION = "model.safetensors", "run.json", "calibration.json"
TRAINED_ON = "trained_on.json"
METADATA, CARD, LICENCE, SUMS = "metadata.json", "README.md", "LICENSE", "SHA256SUMS"
NEEDED = (WEIGHTS, RECORD, METADATA, CARD, LICENCE, SUMS)
FILES = (*NEEDED, CALIBRATION, TRAINED_ON)

LIMITS = dict.fromkeys(FILES, 2**20) | {WEIGHTS: 2**32, TRAINED_ON: 2**25}  # bytes
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_SUM = re.compile(r"([0-9a-f]{64})  (\S+)")


def is_name(text: str) -> bool:
    """Whether a text may be a model's name: a safe folder name on every system.

    >>> is_name("lung-nodules.2"), is_name("../models"), is_name(".hidden")
    (True, False, False)
    """
    return _NAME.fullmatch(text) is not None


def check_name(text: str) -> str:
    """Check a model's name, and return it. Raises UsageError where it is not a safe folder name."""
    if not is_name(text):
        raise UsageError(
            f"A model cannot be called {text!r}: expected letters, digits, '.', '_' and '-', beginning and ending "
            "with a letter or digit, 64 at most; choose another `name`."
        )
    return text


def write_sums(folder: Path) -> None:
    """Write the hashes of a model's files into its folder."""
    lines = [f"{sha256(folder / name)}  {name}\n" for name in sorted({*FILES} - {SUMS}) if (folder / name).is_file()]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_files(folder: Path, called: str | Path) -> dict[str, str]:
    """Check every file of a model's folder against its hash; returns the hashes by file.

    called: the model's name in errors. Raises DataError that names a file that is missing or was changed.
    """
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{called} lacks {missing[0]}: get the model again.")
    sums = _read_sums(folder, called)
    there = {name for name in FILES if name != SUMS and (folder / name).is_file()}
    for name in sorted(there | sums.keys()):
        if name not in sums:
            raise DataError(f"{called} has no hash of its {name}: get the model again.")
        if name not in there or sha256(folder / name) != sums[name]:
            raise DataError(f"{called} is damaged, {name} is not as it was exported: get the model again.")
    return sums


def _read_sums(folder: Path, called: str | Path) -> dict[str, str]:
    found = [_SUM.fullmatch(line) for line in (folder / SUMS).read_text("utf-8", "replace").splitlines()]
    lines = [match.groups() for match in found if match is not None]
    sums = {name: value for value, name in lines}
    if len(sums) < len(found) or not sums.keys() <= set(FILES) - {SUMS}:
        raise DataError(f"{called} is damaged, {SUMS} is not as it was exported: get the model again.")
    return sums
