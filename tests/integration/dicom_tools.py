"""Programs of others that judge and read DICOM objects: dciodvfy (dicom3tools), and those of dcmqi, a wheel on PyPI."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(sys.executable).parent
needs_dciodvfy = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")


def judged(path: Path) -> tuple[str, list[str]]:
    """What dciodvfy takes an object for, and what it finds wrong.

    Left out is what the source lacks for a DICOMDIR or has as its patient's name, and that it does not know the private scheme
    or the term QUANTITY, which PS3.3 C.8.32.2 has for parametric maps, and that the laterality is unknown, which it is.
    """
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    found = [line for line in lines if line.startswith(("Error", "Warning"))]
    kinds = [line for line in lines if line and line not in found]
    expected = (
        "DICOMDIR",
        "Patient's Name",
        "Unrecognized defined term <99AMBISEG>",
        "Unrecognized defined term <QUANTITY>",
        "permitted to be empty when actually unknown",
    )
    return kinds[0], [line for line in found if not any(each in line for each in expected)]


def program(name: str) -> Path:
    """A program of dcmqi; the test is skipped without it."""
    path = shutil.which(name) or shutil.which(name, path=str(SCRIPTS))
    if path is None:
        pytest.skip(f"{name} is not installed (`pip install dcmqi`)")
    return Path(path)


def run(name: str, *arguments: str | Path) -> str:
    """Run a program of dcmqi, which must succeed; what it prints."""
    done = subprocess.run([program(name), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
