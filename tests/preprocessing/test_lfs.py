"""Git LFS pointers in place of scans, in every format: recognised and counted, with the remedy in the message."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset

from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.lfs import is_pointer
from ambiseg.preprocessing.lidc.annotations import ScanRecord
from ambiseg.preprocessing.lidc.lidc_store import preprocess_lidc
from ambiseg.preprocessing.scans.cases import find_cases
from ambiseg.preprocessing.scans.scan import open_scan, read_mask
from ambiseg.preprocessing.sources.nifti.nifti_crops import NiftiSettings
from ambiseg.preprocessing.sources.nifti.nifti_store import preprocess_nifti

WriteSeries = Callable[..., list[Path]]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{:064x}\nsize 526336\n"


def write_pointers(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_text(POINTER.format(number))


def open_it(path: Path) -> None:
    with open_scan(path):
        pass


@pytest.mark.parametrize(
    "name",
    *[["a.nii", "a.nii.gz", "A.NII.GZ", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.zip", "a.dcm", "IM0001", "1.2.840.1"]],
)
def test_a_file_of_any_format(tmp_path: Path, name: str) -> None:
    write_pointers(tmp_path, name)
    with pytest.raises(InputError, match=rf"^{name} is a Git LFS pointer, not the file itself: run `git lfs pull`"):
        open_it(tmp_path / name)


@pytest.mark.parametrize("name", ["roi.nii.gz", "roi.nrrd"])
def test_a_mask(tmp_path: Path, name: str) -> None:
    write_pointers(tmp_path, name)
    with pytest.raises(InputError, match=f"^{name} is a Git LFS pointer"):
        read_mask(tmp_path / name)


@pytest.mark.parametrize("real", [0, 1, 5])
@pytest.mark.parametrize("names", ["{:06d}.dcm", "IM{:04d}", "1.2.{}"])
def test_a_folder_counts_them(
    tmp_path: Path, scan: ScanRecord, write_series: WriteSeries, real: int, names: str
) -> None:
    write_series(tmp_path / "case" / "real", scan, [2.5 * k for k in range(real)], (8, 8))
    write_pointers(tmp_path / "case" / "rest", *(names.format(number) for number in range(42)))
    expected = f"^42 of {42 + real} files in case are Git LFS pointers: run `git lfs pull` there.$"
    with pytest.raises(InputError, match=expected):
        open_it(tmp_path / "case")
    with pytest.raises(InputError, match=expected):
        preprocess_lidc(tmp_path / "case", tmp_path / "store", workers=1)


def test_a_batch_with_them_is_not_done_in_part(tmp_path: Path, scan: ScanRecord, write_series: WriteSeries) -> None:
    write_pointers(tmp_path / "all" / "c", "1.dcm", "2.dcm")
    with pytest.raises(InputError, match=r"^2 of 2 files in all are Git LFS pointers"):
        find_cases(tmp_path / "all")
    for name in "ab":

        def edit(dataset: Dataset, _: int, name: str = name) -> None:
            dataset.StudyInstanceUID = f"1.2.{ord(name)}"

        write_series(tmp_path / "all" / name, scan, [0.0, 2.5], (8, 8), edit)
    with pytest.raises(InputError, match=r"^2 of 6 files in all are Git LFS pointers"):
        find_cases(tmp_path / "all")


def test_a_file_among_them(tmp_path: Path, scan: ScanRecord, write_series: WriteSeries) -> None:
    (path,) = write_series(tmp_path / "scan", scan, [0.0], (8, 8))
    write_pointers(tmp_path / "scan", "1.dcm")
    with pytest.raises(InputError, match=r"^1 of 2 files in scan is a Git LFS pointer"):
        open_it(path)


@pytest.mark.parametrize("pointer", ["image.nii.gz", "reader_1.nii.gz", "probabilities.npz", "probabilities.nii.gz"])
def test_a_case_with_one_is_named_and_the_rest_goes_on(tmp_path: Path, pointer: str) -> None:
    names = {"image.nii.gz", "reader_1.nii.gz", pointer}
    for case in "ab":
        for name in names:
            array = np.zeros((9, 8, 3), np.uint8)
            array[3:5, 2:5, 1] = 1
            (tmp_path / "cases" / case).mkdir(parents=True, exist_ok=True)
            if name.endswith("npz"):
                planes = np.stack([1.0 - array, array]).transpose(0, 3, 2, 1).astype(np.float32)
                np.savez(tmp_path / "cases" / case / name, probabilities=planes)
            else:
                nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "cases" / case / name)
    write_pointers(tmp_path / "cases" / "b", pointer)
    report = preprocess_nifti(tmp_path / "cases", tmp_path / "store", NiftiSettings(size=4), workers=1)
    assert [each.case for each in report.failures] == ["b"]
    assert report.failures[0].reason.startswith(f"{pointer} is a Git LFS pointer, not the file itself")
    assert report.crops == 1


def test_a_table_of_cases_that_is_one(tmp_path: Path) -> None:
    write_pointers(tmp_path, "cases.csv")
    with pytest.raises(InputError, match=r"^cases\.csv is a Git LFS pointer"):
        preprocess_nifti(tmp_path / "cases.csv", tmp_path / "store", NiftiSettings())


def test_pointers_to_what_is_no_scan_do_not_matter(tmp_path: Path, scan: ScanRecord, write_series: WriteSeries) -> None:
    write_series(tmp_path / "scan", scan, [0.0, 2.5], (8, 8))
    write_pointers(tmp_path / "scan" / "docs", "figure.png", "model.pt")
    assert find_cases(tmp_path / "scan") is None
    open_it(tmp_path / "scan")


def test_a_text_that_is_no_pointer(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("version 1")
    (tmp_path / "b").write_text(POINTER.format(1) + "x" * 2000)
    assert not is_pointer(tmp_path / "a")
    assert not is_pointer(tmp_path / "b")
    assert not is_pointer(tmp_path / "none")
