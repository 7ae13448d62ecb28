"""Library code names no option of the command line: its messages are for Python too, and the terminal translates them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
OPTION = re.compile(r"(?<![\w-])--[a-z]")
OTHERS = ("gdcmconv --raw", "scan.nii.gz --model")  # options of other programs, and a command on the model card


def test_library_code_names_no_option() -> None:
    found = set()
    for file in sorted([*(ROOT / "models").rglob("*.py"), *(ROOT / "preprocessing").rglob("*.py")]):
        text = file.read_text(encoding="utf-8")
        for other in OTHERS:
            text = text.replace(other, "")
        if OPTION.search(text):
            found.add(file.relative_to(ROOT).as_posix())
    assert not found, "name the parameter in backticks instead, as in `lung_mask`"
