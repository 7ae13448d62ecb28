"""Finished results are kept: a picture, a report or an export that fails is missing alone, with its reason."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import ambiseg
from ambiseg.models.results.exports import FORMATS
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import ResourceError, UsageError

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])
PLACES = [(-20.0, -20.0, 20.0), (-25.0, -20.0, 20.0)]
MAKERS = {"save_preview": "preview.png", "write_report": "report.html", "write_nrrd": "seg-nrrd"}
FILES = {"save_preview": "preview.png", "write_report": "report.html", "write_nrrd": "hypotheses.seg.nrrd"}
ERRORS = [
    (TypeError("Object of type int64 is not JSON serializable"), "TypeError, a bug in ambiseg"),
    (MemoryError(), "out of memory"),
    (UsageError("The scan's series cannot be referred to."), "The scan's series cannot be referred to."),
    (OSError("cannot identify image file"), "OSError, a bug in ambiseg"),
]


@pytest.fixture
def found(threshold_model: Callable[..., Trained]) -> ambiseg.ScanHypotheses:
    place = np.moveaxis(np.indices((44, 40, 20)), 0, -1) - (20, 20, 10)
    array = np.maximum(400 - 100 * np.linalg.norm(place * (1, 1, 2), axis=-1), -1000).astype(np.int16)
    return ambiseg.predict(
        nib.Nifti1Image(array, AFFINE), threshold_model(crop=32, spacing_mm=1.0), at=PLACES, draws=16
    )


def failing(error: Exception, *leaves: str) -> Callable[..., None]:
    """A maker that writes half a file and raises."""

    def make(path: Path, *_: object, **__: object) -> None:
        for file in leaves:
            (path / file).write_bytes(b"half")
        if not leaves:
            path.write_bytes(b"half")
        raise error

    return make


def break_maker(monkeypatch: pytest.MonkeyPatch, maker: str, broken: Callable[..., None]) -> None:
    if maker == "write_nrrd":
        monkeypatch.setitem(FORMATS, "seg-nrrd", replace(FORMATS["seg-nrrd"], write=broken))
    else:
        monkeypatch.setattr(f"ambiseg.models.results.folder.{maker}", broken)


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(("error", "reason"), ERRORS, ids=lambda value: type(value).__name__)
def test_each_costs_itself_alone(
    found: ambiseg.ScanHypotheses,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    maker: str,
    error: Exception,
    reason: str,
) -> None:
    leaves = ("lesion_01/hypotheses.seg.nrrd",) if maker == "write_nrrd" else ()
    break_maker(monkeypatch, maker, failing(error, *leaves))
    missing = found.save(tmp_path / "out", formats=["seg-nrrd"])
    expected = ["lesion_01/preview.png", "lesion_02/preview.png"] if maker == "save_preview" else [MAKERS[maker]]
    assert [said.split(" could not be made: ")[0] for said in missing] == expected
    assert all(reason in said for said in missing)
    names = {file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*")}
    others = set(FILES.values()) - {FILES[maker]}
    assert not [name for name in names if name.endswith(FILES[maker]) or "writing" in name]
    assert all(any(name.endswith(other) for name in names) for other in others)
    for lesion in found.figures["lesions"]:
        for entry in lesion["hypotheses"]:
            assert nib.load(tmp_path / "out" / entry["file"]).shape == (44, 40, 20)
    written = json.loads((tmp_path / "out" / "hypotheses.json").read_text())
    for lesion in written["lesions"]:
        assert (lesion["preview"] is None) == (maker == "save_preview")
        lesion["preview"] = f"{lesion['folder']}/preview.png"
    assert written == found.figures
    assert json.loads((tmp_path / "out" / "run.json").read_text())["missing"] == list(missing)


def test_a_report_without_pictures_is_a_report(
    found: ambiseg.ScanHypotheses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ambiseg.models.results.folder.save_preview", failing(ValueError("no picture")))
    found.save(tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert 'class="still"' not in page
    assert "Lesion 2" in page


@pytest.mark.parametrize("maker", MAKERS)
def test_a_full_disk_is_no_fault_of_a_picture(
    found: ambiseg.ScanHypotheses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maker: str
) -> None:
    full = failing(
        OSError(errno.ENOSPC, "No space left on device"), *(["lesion_01/a"] if maker == "write_nrrd" else [])
    )
    break_maker(monkeypatch, maker, full)
    with pytest.raises(ResourceError, match="No room left on the disk"):
        found.save(tmp_path / "out", formats=["seg-nrrd"])
    assert list(tmp_path.iterdir()) == []


def test_the_same_call_makes_what_was_missing(
    found: ambiseg.ScanHypotheses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("ambiseg.models.results.folder.save_preview", failing(ValueError("no picture")))
        assert len(found.save(tmp_path / "out")) == 2
    assert list(found.save(tmp_path / "out")) == []
    assert json.loads((tmp_path / "out" / "hypotheses.json").read_text()) == found.figures
