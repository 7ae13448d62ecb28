"""One scan or a batch of them: which cases a folder holds, and their names."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import MediaStorageDirectoryStorage, generate_uid

from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.lidc.annotations import ScanRecord
from ambiseg.preprocessing.scans.cases import Case, find_cases
from ambiseg.preprocessing.scans.scan import open_scan

Write = Callable[..., None]


@pytest.fixture
def write(records: dict[int, ScanRecord], write_series: Callable[..., list[Path]]) -> Write:
    """A function that writes a DICOM series of two slices, of a study with the UID 1.2.<study>."""

    def write_one(folder: Path, study: int = 1) -> None:
        uid = generate_uid()

        def change(dataset: object, _: int) -> None:
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.{study}", uid  # type: ignore[attr-defined]

        write_series(folder, records[12], [0.0, 2.5], (8, 8), change)

    return write_one


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(path: Path) -> list[tuple[str, str]]:
    cases = find_cases(path)
    assert cases is not None
    return [(case.name, case.path.relative_to(path).as_posix()) for case in cases]


def test_a_file_is_one_scan_of_whatever_kind(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "b.zip", "c.dcm", "d")
    assert [find_cases(path) for path in sorted(tmp_path.iterdir())] == [None] * 4


def test_dicom_files_of_one_study_are_one_scan_however_nested(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "flat")
    (tmp_path / "flat" / "notes.txt").write_text("a text")
    assert find_cases(tmp_path / "flat") is None
    write(tmp_path / "nested" / "patient" / "study" / "series 1")
    write(tmp_path / "nested" / "patient" / "study" / "series 2")
    assert find_cases(tmp_path / "nested") is None
    write(tmp_path / "loose")
    write(tmp_path / "loose" / "other study", 2)
    assert find_cases(tmp_path / "loose") is None


def test_a_batch_mixes_files_zips_and_studies_and_passes_over_the_rest(tmp_path: Path, write: Write) -> None:
    touch(tmp_path, "b.nii.gz", "A.NRRD", "c.zip", "d.mhd", "d.raw", "e.hdr", "e.img")
    touch(
        tmp_path,
        "list.csv",
        ".DS_Store",
        "._b.nii.gz",
        "._c.zip",
        "notes.txt",
        "__MACOSX/x.nii",
        "deeper/scan.nii",
        "empty.dcm",
    )
    touch(tmp_path, "b-hypotheses/hypotheses.json", "b-hypotheses/hyp_01.nii.gz")
    write(tmp_path / "b-hypotheses" / "lesion_01")
    write(tmp_path / "patient 1" / "study" / "series 1")
    write(tmp_path / "patient 1" / "study" / "series 2")
    write(tmp_path / "patient 2", 2)
    write(tmp_path / ".hidden", 3)
    assert found(tmp_path) == [
        ("A", "A.NRRD"),
        ("b", "b.nii.gz"),
        ("c", "c.zip"),
        ("d", "d.mhd"),
        ("e", "e.hdr"),
        ("patient 1", "patient 1/study"),
        ("patient 2", "patient 2"),
    ]


def test_a_folder_with_two_studies_gives_two_cases_of_its_name(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "patient" / "2001", 1)
    write(tmp_path / "patient" / "2002", 2)
    write(tmp_path / "third", 1)  # the same study in another child folder
    assert found(tmp_path) == [
        ("patient", "patient/2001"),
        ("patient-2", "patient/2002"),
        ("third", "third"),
    ]


def test_names_are_unique_even_without_case(tmp_path: Path, write: Write) -> None:
    touch(tmp_path, "a.nii", "a.nii.gz", "A.mha", "a-2.nrrd")
    write(tmp_path / "a")
    names = [name for name, _ in found(tmp_path)]
    assert len({name.casefold() for name in names}) == 5
    assert found(tmp_path) == [
        ("A", "A.mha"),
        ("a-2", "a"),
        ("a-2-2", "a-2.nrrd"),
        ("a-3", "a.nii"),
        ("a-4", "a.nii.gz"),
    ]


def test_every_case_of_dicom_can_be_opened(tmp_path: Path, write: Write) -> None:
    for number in range(3):
        write(tmp_path / f"patient {number}" / "study" / "series", number)
    cases = find_cases(tmp_path)
    assert cases is not None
    assert cases[1] == Case("patient 1", tmp_path / "patient 1" / "study" / "series")
    for case in cases:
        with open_scan(case.path) as scan:
            assert scan.volume.array.shape == (2, 8, 8)


def test_loose_dicom_files_beside_scans_are_refused(tmp_path: Path, write: Write) -> None:
    write(tmp_path)
    touch(tmp_path, "scan.nii")
    with pytest.raises(InputError, match=r"holds loose DICOM files beside other scans \(scan.nii\): put each"):
        find_cases(tmp_path)


def test_the_directory_of_a_hospitals_disc_is_no_scan(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "DICOM" / "PAT1", 1)
    shutil.copy(tmp_path / "DICOM" / "PAT1" / "000000.dcm", tmp_path / "DICOMDIR")
    directory = pydicom.dcmread(tmp_path / "DICOMDIR")
    directory.SOPClassUID = directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    del directory.SeriesInstanceUID, directory.StudyInstanceUID
    directory.save_as(tmp_path / "DICOMDIR")
    touch(tmp_path, "AUTORUN.INF", "viewer/viewer.exe")
    assert find_cases(tmp_path) is None
    with open_scan(tmp_path) as scan:
        assert scan.volume.array.shape == (2, 8, 8)
    write(tmp_path / "DICOM" / "PAT2", 2)
    assert found(tmp_path / "DICOM") == [("PAT1", "PAT1"), ("PAT2", "PAT2")]
    assert found(tmp_path) == [("DICOM", "DICOM/PAT1"), ("DICOM-2", "DICOM/PAT2")]


def test_a_prediction_is_no_scan(tmp_path: Path) -> None:
    touch(tmp_path, "hypotheses.json", "hyp_01.nii.gz")
    with pytest.raises(InputError, match=r"is a prediction \(hypotheses.json is in it\), no scan: give the scan"):
        find_cases(tmp_path)


def test_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^No file or folder .*nowhere: expected a scan or a folder of scans"):
        find_cases(tmp_path / "nowhere")
    touch(tmp_path, "notes.txt", "deeper/scan.nii")
    with pytest.raises(InputError, match=r"holds no scan: expected image files or zips directly in it, or folders of"):
        find_cases(tmp_path)
