"""Inputs from public reports of errors in similar programs, each with the arguments of its report."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

Command = Callable[..., tuple[int, str, str]]

READ = {  # what must come out: exit code, and what the messages say
    "comma-decimals": (0, ""),
    "name-broken-utf8": (0, ""),
    "nifti-not-gzipped": (0, ""),
    "nifti-offset-zero": (0, ""),
    "nrrd-list-of-one": (0, ""),
    "nrrd-spacing-nan": (4, r"(?i)scan\.nrrd.*spac.*nan"),
    "object-without-series": (0, r"palette\.dcm|1 file"),
    "positions-in-tenths": (0, ""),
    "roi-with-resampling-dust": (0, ""),
    "scout-in-the-series": (0, r"(?i)localizer|left out"),
    "suffix-in-capitals": (0, ""),
    "table-empty-last-row": (0, ""),
    "table-in-cp1252": (0, ""),
    "tilt-half-degree": (4, r"(?i)angle|shear|tilt|perpendicular"),
}
DAMAGED = {
    "predict mha-segfault/s.mha": (4, r"(?i)ndims = 65536"),
    "predict mhd-hang/s.mhd": (4, r"(?i)s\.mhd"),
    "predict niigz-crc/damaged.nii.gz --at=10,8,3 --voxel": (4, r"(?i)checksum"),
    "predict dicom-truncated/s": (4, r"0\.dcm"),
    "data info index-2/s": (4, r"index\.csv"),
    "data info index-48/s": (4, r"index\.csv"),
    "data info manifest-0/s": (4, r"manifest\.json"),
    "data info manifest-26/s": (4, r"manifest\.json.*rows"),
    "predict niigz-crc/whole.nii.gz --at=10,8,3 --voxel --model run.json-60/m": (4, r"run\.json"),
    "preprocess nifti ../reading/table-empty-last-row/cases --split-file splitcsv-20/s.csv": (4, r"s\.csv"),
    "preprocess nifti ../reading/table-empty-last-row/cases --split-file deep/utf16.csv": (
        4,
        r"utf16\.csv|no split for",
    ),
    "train --method generalized --config deep/c.toml": (4, r"c\.toml"),
    "audit audit-hang/p.csv": (4, r"p\.csv"),
    "audit audit-hang/digits.csv": (4, r"digits\.csv"),
    "model install hostile-zips/convs-1e6.zip": (4, ""),
    "model install hostile-zips/crop-1e6.zip": (4, ""),
    "model install hostile-zips/deep-run.zip": (4, ""),
    "model install hostile-zips/st-nan.zip": (4, r"(?i)nan|not numbers|finite"),
}


@pytest.fixture
def cases(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder of cases, with a home of its own."""
    source = real_data.parent / "cases"
    if not source.is_dir():
        pytest.skip("needs the folder cases beside AMBISEG_REAL_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return Path(shutil.copytree(source, tmp_path / "cases"))


@pytest.mark.parametrize("name", READ)
def test_a_reported_input_is_read_or_refused_in_one_sentence(
    name: str, cases: Path, ambiseg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, says = READ[name]
    folder = cases / "reading" / name
    monkeypatch.chdir(folder)
    code, _, err = ambiseg(*shlex.split((folder / "command").read_text())[1:])
    assert code == expected, err
    assert re.search(says, err), err
    assert (folder / "out").exists() == (expected == 0)


@pytest.mark.parametrize("arguments", DAMAGED)
def test_a_damaged_input_is_refused_in_one_sentence(
    arguments: str, cases: Path, ambiseg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, says = DAMAGED[arguments]
    monkeypatch.chdir(cases / "damage")
    before = sorted(Path().rglob("*"))
    code, _, err = ambiseg(*shlex.split(arguments))
    assert code == expected, err
    assert re.search(says, err), err
    assert "Unexpected" not in err
    assert sorted(Path().rglob("*")) == before


def test_dust_about_a_region_makes_no_lesions(cases: Path, ambiseg: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cases / "reading" / "roi-with-resampling-dust"
    monkeypatch.chdir(folder)
    code, out, err = ambiseg(*shlex.split((folder / "command").read_text())[1:], "--json")
    assert code == 0, err
    assert len(json.loads(out)["lesions"]) == 1
