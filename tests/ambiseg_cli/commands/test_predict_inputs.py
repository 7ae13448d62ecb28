"""`ambiseg predict` on scans as hospitals have them: other formats, DICOM, rotated and resampled grids, folders."""

import csv
import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from .lesion_scans import AFFINE, CENTRE, POINT, SHAPE, lesion, save, save_dicom

pytestmark = pytest.mark.usefixtures("known_model")

Command = Callable[..., tuple[int, str, str]]


def content(folder: str) -> dict:
    return json.loads(Path(folder, "hypotheses.json").read_text())


def in_world(folder: str, points: np.ndarray) -> np.ndarray:
    """Whether points [P, 3] in mm lie in each hypothesis [N, P], read from its file by nibabel alone."""
    found = []
    for entry in content(folder)["lesions"][0]["hypotheses"]:
        image = nib.load(Path(folder, entry["file"]))
        index = np.rint(nib.affines.apply_affine(np.linalg.inv(image.affine), points)).astype(int)
        inside = ((index >= 0) & (index < image.shape)).all(1)
        array = np.asarray(image.dataobj)
        found.append(np.where(inside, array[tuple(np.where(inside[:, None], index, 0).T)], 0) > 0)
    return np.array(found)


def voxel_centres(affine: np.ndarray = AFFINE, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return nib.affines.apply_affine(affine, np.argwhere(np.ones(shape, bool)))


@pytest.mark.parametrize("kind", ["scan.nrrd", "scan.mha", "series", "series.zip", "scan.zip", "series/007.dcm"])
def test_every_kind_of_input_gives_what_nifti_gives(ambiseg: Command, kind: str) -> None:
    save("nifti.nii.gz")
    if kind.startswith("series"):
        save_dicom("series")
    else:
        save(kind.replace(".zip", ".nrrd"))
    if kind.endswith(".zip"):
        with zipfile.ZipFile(kind, "w") as file:
            for path in [Path("scan.nrrd")] if kind == "scan.zip" else sorted(Path("series").iterdir()):
                file.write(path, path)
    assert ambiseg("predict", "nifti.nii.gz", *POINT)[0] == 0
    code, _, err = ambiseg("predict", kind, *POINT, "-o", "out")
    assert (code, err.count("Warning")) == (0, 0), err
    points = voxel_centres()
    expected, found = in_world("nifti-hypotheses", points), in_world("out", points)
    assert expected.sum(1).max() > 100
    assert np.array_equal(expected, found)
    assert content("out")["lesions"] == content("nifti-hypotheses")["lesions"]


def test_a_resampled_and_rotated_grid_gives_the_same_hypotheses_in_world_space(ambiseg: Command) -> None:
    """Slices of another distance at another angle: the same shapes to within a voxel's interpolation."""
    angle = np.radians(9)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    oblique = np.eye(4)
    oblique[:3, :3] = turn @ np.diag([0.55, 0.55, 1.2])
    oblique[:3, 3] = CENTRE - oblique[:3, :3] @ [70, 66, 30]
    save("upright.nii.gz")
    save("oblique.nii.gz", oblique, (140, 132, 60))
    for name in ("upright", "oblique"):
        assert ambiseg("predict", f"{name}.nii.gz", *POINT, "--top", "3")[0] == 0
    points = CENTRE + np.stack(np.meshgrid(*[np.arange(-9, 9.1, 0.6)] * 3, indexing="ij"), -1).reshape(-1, 3)
    lesions = [content(f"{name}-hypotheses")["lesions"][0] for name in ("upright", "oblique")]
    assert lesions[0]["no_lesion"] == lesions[1]["no_lesion"]
    assert lesions[0]["ambiguity"] == pytest.approx(lesions[1]["ambiguity"], abs=0.06)
    upright, other = (in_world(f"{name}-hypotheses", points) for name in ("upright", "oblique"))
    for mask in upright[upright.any(1)]:
        overlap = (mask & other).sum(1) / (mask | other).sum(1)
        assert overlap.max() > 0.75


def test_masks_of_a_dicom_folder_overlay_the_lesion_for_simpleitk_and_nibabel(ambiseg: Command) -> None:
    save_dicom("series")
    code, _, err = ambiseg("predict", "series", *POINT, "--format", "dicom-sr", "--format", "seg-nrrd")
    assert code == 0
    assert "dicom-seg is written too" in err
    folder = Path("series-hypotheses")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames("series"))
    scan = reader.Execute()
    for entry in content("series-hypotheses")["lesions"][0]["hypotheses"]:
        if entry["empty"]:
            continue
        mask = sitk.ReadImage(folder / entry["file"])
        at_mask = sitk.Resample(scan, mask, sitk.Transform(), sitk.sitkNearestNeighbor, -2000)
        marked = sitk.GetArrayFromImage(mask) > 0
        hounsfield = sitk.GetArrayFromImage(at_mask)
        assert hounsfield[marked].min() >= hounsfield[~marked].max() - 80
        filter = sitk.LabelShapeStatisticsImageFilter()
        filter.Execute(mask)
        assert np.array(filter.GetCentroid(1)) * [-1, -1, 1] == pytest.approx(CENTRE, abs=0.6)
    seg = pydicom.dcmread(folder / "hypotheses.dcm")
    assert (seg.PatientID, seg.SegmentationType) == ("MRN-4711", "BINARY")
    assert pydicom.dcmread(folder / "probability.dcm").SegmentationType == "FRACTIONAL"
    assert (folder / "hypotheses.seg.nrrd").is_file()


def test_nothing_of_the_patient_leaves_the_dicom_files(ambiseg: Command) -> None:
    save_dicom("series")
    _, out, err = ambiseg("predict", "series", *POINT, "-v", "--format", "seg-nrrd")
    for text in (out, err, *(path.name for path in Path("series-hypotheses").rglob("*"))):
        assert "Doe" not in text
        assert "4711" not in text
    for path in Path("series-hypotheses").rglob("*"):
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
        assert b"Doe^Jane" not in raw, path
        assert b"MRN-4711" not in raw, path


def test_several_series_are_listed_and_one_is_chosen(ambiseg: Command) -> None:
    save_dicom("study/a", uid="1.2.3.111", number=3)
    save_dicom("study/b", uid="1.2.3.222", number=5)
    for path in Path("study/b").iterdir():  # the same study as a
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID = pydicom.dcmread("study/a/001.dcm").StudyInstanceUID
        dataset.save_as(path)
    code, _, err = ambiseg("predict", "study", *POINT)
    assert code == 3
    assert "--series" in err
    assert "1.2.3.111" in err
    assert "1.2.3.222" in err
    assert ambiseg("predict", "study", *POINT, "--series", "5")[0] == 0
    code, _, err = ambiseg("predict", "study", *POINT, "--series", "7")
    assert code in (2, 3)


def test_a_batch_of_twelve_in_which_six_are_broken(ambiseg: Command) -> None:
    """Every kind of input that a folder may hold, and six ways to be broken: 6 results and a report of the rest."""
    Path("scans").mkdir()
    suffixes = ("nii.gz", "nii", "nrrd", "mha")
    whole = [save(f"scans/case{number:02d}.{suffix}") for number, suffix in enumerate(suffixes)]
    whole.append(save_dicom("scans/series0/deep"))
    with zipfile.ZipFile("scans/packed.zip", "w") as file:
        file.write(save("inside.nii"), "inside.nii")
    Path("scans/cut.nii.gz").write_bytes(Path("scans/case00.nii.gz").read_bytes()[:5000])
    Path("scans/words.nii").write_bytes(b"no image at all")
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8, 3), np.int16), AFFINE), "scans/four.nii")
    Path("scans/cut.nrrd").write_bytes(Path("scans/case02.nrrd").read_bytes()[:9000])
    save_dicom("scans/gap", missing=9)
    Path("scans/torn.zip").write_bytes(Path("scans/packed.zip").read_bytes()[:3000])
    Path("scans/notes.txt").write_text("ignored")
    names = sorted({path.name.split(".")[0] for path in map(Path, whole)} - {"deep"} | {"series0", "packed"})
    rows = [f"{name},4,-3,12" for name in (*names, "cut", "cut-2", "words", "four", "gap", "torn")]
    Path("points.csv").write_text("scan,x,y,z\n" + "\n".join(rows) + "\n")
    arguments = ("predict", "scans", "--points", "points.csv", "--draws", "10", "-o", "out")
    code, _, err = ambiseg(*arguments)
    assert code == 5
    assert "6 of 12 scans failed" in err, Path("out/failures.csv").read_text()
    assert len(list(Path("out").glob("*/hypotheses.json"))) == 6
    with Path("out/failures.csv").open(newline="") as file:
        failures = {row["case"]: row["reason"] for row in csv.DictReader(file)}
    expected = {
        "words": "not a whole NIfTI file",
        "four": "holds several volumes",
        "gap": "apart: expected equal distances",
        "torn": "zip",
    }
    assert set(failures) == {*expected, "cut", "cut-2"}
    for case, reason in expected.items():
        assert reason in failures[case], failures
    assert "not a whole NIfTI file" in failures["cut"]
    assert "not a whole NRRD file" in failures["cut-2"]
    assert not list(Path("out").rglob(".writing*"))
    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("*/run.json")}
    nib.save(nib.Nifti1Image(lesion(), AFFINE), "scans/words.nii")
    code, _, err = ambiseg(*arguments)
    assert (code, "1 scan predicted, 6 predicted earlier" in " ".join(err.split())) == (5, True)
    assert before.items() <= {path: path.stat().st_mtime_ns for path in Path("out").glob("*/run.json")}.items()


def test_scans_without_a_row_in_the_table_are_left_out(ambiseg: Command) -> None:
    Path("scans").mkdir()
    for name in ("one", "two"):
        save(f"scans/{name}.nii")
    Path("points.csv").write_text("scan,x,y,z\none,4,-3,12\n")
    arguments = ("predict", "scans", "--points", "points.csv", "--draws", "10", "-o")
    code, printed, err = ambiseg(*arguments, "out", "--json")
    assert code == 0
    assert "1 scan with nothing to predict" in err
    assert json.loads(printed)["done"] == ["one"]
    assert "but none for this one" in json.loads(printed)["nothing"]["two"]
    assert not Path("out/failures.csv").exists()
    Path("points.csv").write_text("scan,x,y,z\nother,4,-3,12\n")
    code, _, err = ambiseg(*arguments, "out2")
    assert (code, "nothing to predict in any of the scans" in " ".join(err.split())) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["empty"], 3, "holds no scan"),
        (["scan.nii", "--format", "dicom-seg"], 2, "the scan is not DICOM"),
        (["scan.nii", "--format", "dicom-sc"], 2, "the scan is not DICOM"),
        (["scan.nii", "--format", "pdf"], 2, "pdf"),
        (["scan.nii", "--series", "2"], 2, "--series"),
        (["scan.nii", "--lung-mask", "scan.nii"], 2, "--lung-mask says where to search, but places are given too"),
        (["scans", "--roi", "scan.nii"], 2, "--at and --roi can only be given for a single scan"),
        (["page.hdr"], 3, "is one of a pair"),
        (["scan.txt"], 3, "is no scan"),
    ],
)
def test_bad_requests_are_named_and_leave_nothing(
    ambiseg: Command, arguments: list[str], code: int, message: str
) -> None:
    save("scan.nii")
    Path("empty").mkdir()
    Path("scans").mkdir()
    for number in (1, 2):
        save(f"scans/{number}.nii")
    Path("page.hdr").write_bytes(b"0" * 348)
    Path("scan.txt").write_text("text")
    left, out, err = ambiseg("predict", *arguments, *POINT)
    assert (left, out) == (code, ""), err
    assert message in " ".join(err.split())
    assert not list(Path().glob("*hypotheses*"))
