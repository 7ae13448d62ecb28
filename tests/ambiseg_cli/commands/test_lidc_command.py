import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from ambiseg.commands.preprocess.lidc import lidc
from ambiseg.preprocessing.errors import InputError, PartialError, UsageError
from ambiseg.preprocessing.lidc.annotations import ScanRecord, marks
from ambiseg.preprocessing.store.store import Store


@pytest.fixture
def root(tmp_path: Path, records: dict[int, ScanRecord], write_series: Callable[..., list[Path]]) -> Path:
    drawn = sorted({line.z_mm for mark in marks(12) for line in mark.contours})
    write_series(tmp_path / "dicom", records[12], drawn)
    return tmp_path / "dicom"


def _run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(lidc)
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_the_command_makes_a_store(root: Path, tmp_path: Path) -> None:
    result = _run(root, "-o", tmp_path / "lidc", "--workers", 1, "--size", 96, "--spacing", 1)
    assert result.exit_code == 0, result.output
    assert "crops 9, nodules 1, scans 1, patients 1" in result.stdout.replace("\n", " ")
    assert Store.open(tmp_path / "lidc").size == (96, 96)


def test_the_root_as_an_option_or_variable(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _run("--root", root, "-o", tmp_path / "a", "--workers", 1).exit_code == 0
    monkeypatch.setenv("AMBISEG_LIDC_ROOT", str(root))
    assert _run("-o", tmp_path / "b", "--workers", 1).exit_code == 0
    assert isinstance(_run(root, "--root", root).exception, UsageError)


def test_failures_are_shown_and_leave_with_their_own_code(
    root: Path, tmp_path: Path, records: dict[int, ScanRecord], write_series: Callable[..., list[Path]]
) -> None:
    write_series(root / "incomplete", records[267], records[267].z_mm[:1], (8, 8))
    result = _run(root, "-o", tmp_path / "lidc", "--workers", 1, "--json")
    assert isinstance(result.exception, PartialError)
    assert "1 input could not be used, see" in str(result.exception)
    assert "slices on which readers drew are missing" in result.stderr.replace("\n", " ")
    assert json.loads(result.stdout)["failures"][0]["case"] == records[267].patient
    assert len(Store.open(tmp_path / "lidc")) == 9


def test_a_wrong_path(tmp_path: Path) -> None:
    result = _run(tmp_path / "nowhere", "-o", tmp_path / "lidc")
    assert isinstance(result.exception, InputError)
    assert "No folder" in str(result.exception)
