"""NIfTI images with readers' masks: both conventions, crops with known content, lesions, classes, what is refused."""

import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import typer
from numpy.typing import ArrayLike, NDArray
from typer.testing import CliRunner, Result

from ambiseg.commands.preprocess.nifti import nifti
from ambiseg.preprocessing.errors import DataError, InputError, PartialError, UsageError
from ambiseg.preprocessing.lidc.annotations import marks, nodules, scans
from ambiseg.preprocessing.lidc.lidc_crops import reader_masks
from ambiseg.preprocessing.lidc.lidc_store import preprocess_lidc
from ambiseg.preprocessing.lidc.readings import readings
from ambiseg.preprocessing.scans.dicom.dicom_files import find_series
from ambiseg.preprocessing.scans.dicom.series import read_series
from ambiseg.preprocessing.sources.nifti.nifti_cases import find_cases
from ambiseg.preprocessing.sources.nifti.nifti_crops import NiftiSettings
from ambiseg.preprocessing.sources.nifti.nifti_store import preprocess_nifti
from ambiseg.preprocessing.store.lesion_rows import keeps_readers, lesions_of
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.resample import PlaneGrid, majority

DISPLAY = np.diag([-0.5, -0.5, 2.0, 1.0])  # columns to the left, rows to the back, slices headwards: no axis is turned


def save(path: Path, array: ArrayLike, affine: NDArray[np.float64] = DISPLAY) -> None:
    """Write an array [Z, Y, X] (or [Y, X]) as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(np.asarray(array).T), affine), path)


def scan(shape: tuple[int, ...] = (6, 40, 40)) -> NDArray[np.int16]:
    """A scan in HU in which every voxel of a slice differs from its neighbours."""
    return np.random.default_rng(5).integers(-1000, 400, shape).astype(np.int16)


def box(z: slice, y: slice, x: slice, shape: tuple[int, ...] = (6, 40, 40), label: int = 1) -> NDArray[np.uint8]:
    mask = np.zeros(shape, np.uint8)
    mask[z, y, x] = label
    return mask


LEFT = box(slice(1, 3), slice(10, 15), slice(8, 13))  # centre (12, 10), slices 1, 2
RIGHT = box(slice(2, 5), slice(20, 23), slice(30, 33))  # centre (21, 31), slices 2 to 4


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """Case a: reader 1 marks both lesions, reader 2 a part of the left one. Case b: reader 2 alone, one lesion."""
    root = tmp_path / "cases"
    save(root / "a" / "image.nii.gz", scan())
    save(root / "a" / "reader_1.nii.gz", LEFT + RIGHT)
    save(root / "a" / "reader_2.nii.gz", box(slice(1, 2), slice(10, 12), slice(8, 13)))
    save(root / "b" / "image.nii", scan()[::-1])
    save(root / "b" / "reader_2.nii", RIGHT)
    return root


def imported(source: Path, out: Path, settings: NiftiSettings, **options: int) -> Store:
    report = preprocess_nifti(source, out, settings, **options)
    assert report.failures == []
    return Store.open(report.store)


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(nifti)
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_crops_are_cut_about_each_lesion(cases: Path, tmp_path: Path) -> None:
    store = imported(cases, tmp_path / "out", NiftiSettings(size=9))
    places = [(row["case"], row["lesion"], int(row["slice"])) for row in store.index]
    assert places == [
        ("a", "1", 1),
        ("a", "1", 2),
        *(("a", "2", z) for z in (2, 3, 4)),
        *(("b", "1", z) for z in (2, 3, 4)),
    ]
    np.testing.assert_array_equal(
        store.images(np.array([0, 3]))[:, 0], [scan()[1, 8:17, 6:15], scan()[3, 17:26, 27:36]]
    )
    first, second = store.masks(np.array([0]))[0]
    np.testing.assert_array_equal(first, LEFT[1, 8:17, 6:15])
    assert (first.sum(), second.sum()) == (25, 10)
    assert store.present.tolist() == [[True, True]] * 5 + [[False, True]] * 3
    row = store.index[0]
    assert (row["z_mm"], row["spacing_y_mm"], row["spacing_x_mm"], row["marked"]) == ("2.0", "0.5", "0.5", "2")
    assert (row["centre_y_px"], row["centre_x_px"]) == ("12.0", "10.0")
    assert (store.intensity.unit, store.spacing_mm, store.manifest.name) == ("HU", None, "cases")
    assert keeps_readers(store)
    found = [(lesion.case, lesion.lesion, lesion.rows.tolist()) for lesion in lesions_of(store, store.rows("all"))]
    assert found == [("a", "1", [0, 1]), ("a", "2", [2, 3, 4]), ("b", "1", [5, 6, 7])]


def test_beyond_the_image_there_is_air(cases: Path, tmp_path: Path) -> None:
    image = imported(cases, tmp_path / "hu", NiftiSettings(size=41)).images(np.array([0]))[0, 0]
    assert (image[:, :9] == -1024).all()
    np.testing.assert_array_equal(image[8:, 10:], scan()[1, :33, :31])
    low = imported(cases, tmp_path / "relative", NiftiSettings(size=41, intensity="relative"))
    assert (low.images(np.array([0]))[0, 0, :, :9] == scan().min()).all()


def test_resampling_keeps_the_area_of_masks(cases: Path, tmp_path: Path) -> None:
    store = imported(cases, tmp_path / "out", NiftiSettings(size=30, spacing_mm=0.25))
    assert store.spacing_mm == 0.25
    first, second = store.masks(np.array([0]))[0]
    assert (first.sum(), second.sum()) == (4 * 25, 4 * 10)
    assert store.index[0]["spacing_x_mm"] == "0.5"


def test_any_orientation_gives_the_same_crops(cases: Path, tmp_path: Path) -> None:
    """The same anatomy stored with turned and permuted axes."""
    turned = tmp_path / "turned"
    for path in cases.rglob("*.nii*"):
        image = nib.load(path)
        (turned / path.parent.name).mkdir(parents=True, exist_ok=True)
        own = nib.orientations.axcodes2ornt("SRP")
        change = nib.orientations.ornt_transform(nib.io_orientation(image.affine), own)
        nib.save(image.as_reoriented(change), turned / path.parent.name / path.name)
    same = [imported(source, tmp_path / source.name[:1], NiftiSettings(size=9)) for source in (cases, turned)]
    assert same[0].content_hash == same[1].content_hash


def test_whole_images_and_all_slices(cases: Path, tmp_path: Path) -> None:
    whole = imported(cases, tmp_path / "whole", NiftiSettings(size=40, whole=True))
    assert [(row["case"], row["slice"]) for row in whole.index] == [
        *(("a", str(z)) for z in (1, 2, 3, 4)),
        *(("b", str(z)) for z in (2, 3, 4)),
    ]
    np.testing.assert_array_equal(whole.images(np.array([0]))[0, 0], scan()[1])
    np.testing.assert_array_equal(whole.masks(np.array([1]))[0, 0], (LEFT + RIGHT)[2])
    every = imported(cases, tmp_path / "every", NiftiSettings(size=40, whole=True, slices="all"))
    assert len(every) == 12
    about_lesions = imported(cases, tmp_path / "about", NiftiSettings(size=8, slices="all"))
    assert len(about_lesions) == 3 * 6


def test_two_dimensional_images_with_classes(tmp_path: Path) -> None:
    root = tmp_path / "flat"
    plane = np.random.default_rng(1).random((20, 24)).astype(np.float32)
    labels = (
        box(slice(4, 8), slice(4, 8), slice(None), (20, 24, 1))[:, :, 0]
        + 2 * box(slice(8, 10), slice(4, 8), slice(None), (20, 24, 1))[:, :, 0]
    )
    save(root / "x" / "image.nii", plane)
    save(root / "x" / "reader_1.nii", labels.astype(np.float32))
    settings = NiftiSettings(size=8, class_names=("background", "core", "ring"), intensity="relative")
    store = imported(root, tmp_path / "out", settings)
    assert len(store) == 1
    assert np.bincount(store.masks(np.array([0])).ravel()).tolist() == [40, 16, 8]
    inside = store.images(np.array([0]))
    assert (store.intensity.unit, store.intensity.low, store.intensity.high) == ("relative", inside.min(), inside.max())
    assert store.index[0]["z_mm"] == ""


def graded(root: Path, name: str, image: NDArray[np.generic]) -> None:
    save(root / name / "image.nii.gz", image)
    save(root / name / "reader_1.nii.gz", LEFT)


@pytest.mark.parametrize(("scale", "shift"), [(1 / 1400, 1000), (6, -3), (60_000 / 1400, 1000)])
def test_images_that_are_no_ct_are_told_from_one(tmp_path: Path, scale: float, shift: float) -> None:
    """Floats in 0..1, values about zero, and 0..60,000: with HU, 2 values, clipped ones, or nearly one would be left."""
    images = {name: ((scan() + shift) * scale).astype(np.float32) for name in "ab"}
    images["a"][0, 0, 0] = 5  # also in the range 0..1 a few values may lie beyond
    if shift < 0:
        images = {name: image / np.float32(1000) for name, image in images.items()}
    for name, image in images.items():
        graded(tmp_path / "in", name, image)
    report = preprocess_nifti(tmp_path / "in", tmp_path / "out", NiftiSettings(size=9))
    store = Store.open(report.store)
    assert store.intensity.unit == "relative"
    np.testing.assert_allclose(store.images(np.array([0]))[0, 0], images["a"][1, 8:17, 6:15], rtol=1e-4)
    assert "relative grey values, judged from 2 images: none looks like a CT" in report.notes[0]
    assert "intensity = relative grey values (judged from the images)" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(InputError, match=r"case of .* none gave a crop|cases of .* none gave a crop"):
        preprocess_nifti(tmp_path / "in", tmp_path / "hu", NiftiSettings(size=9, intensity="hu"))
    assert not (tmp_path / "hu").exists()


def test_channels_are_a_fourth_axis_or_files_with_their_names(tmp_path: Path) -> None:
    t1, flair = (
        np.random.default_rng(2).random((2, 6, 40, 40)).astype(np.float32)
        * np.array([1, 900], np.float32)[:, None, None, None]
    )
    save(tmp_path / "four" / "a" / "image.nii.gz", np.stack([t1, flair]))
    save(tmp_path / "four" / "a" / "reader_1.nii.gz", LEFT)
    for name, channel in (("t1", t1), ("flair", flair)):
        save(tmp_path / "files" / "a" / f"image_{name}.nii.gz", channel)
    save(tmp_path / "files" / "a" / "reader_1.nii.gz", LEFT)
    (tmp_path / "list.csv").write_text(
        "case,image_flair,image_t1,mask_1\na,files/a/image_flair.nii.gz,files/a/image_t1.nii.gz,files/a/reader_1.nii.gz\n"
    )
    four, files, table = (
        imported(tmp_path / source, tmp_path / f"{source}-out", NiftiSettings(size=9))
        for source in ("four", "files", "list.csv")
    )
    np.testing.assert_allclose(four.images(np.array([0]))[0, 1], flair[1, 8:17, 6:15], rtol=1e-4)
    np.testing.assert_array_equal(files.images(np.arange(2)), four.images(np.arange(2))[:, ::-1])
    assert [channel.name for channel in files.manifest.channels] == ["flair", "t1"]
    assert [channel.name for channel in four.manifest.channels] == ["", ""]
    assert table.content_hash == files.content_hash
    (tmp_path / "files" / "a" / "image_t1.nii.gz").unlink()
    save(tmp_path / "files" / "b" / "image_t1.nii.gz", t1)
    save(tmp_path / "files" / "b" / "reader_1.nii.gz", LEFT)
    with pytest.raises(InputError, match="There is no image"):
        preprocess_nifti(tmp_path / "files", tmp_path / "none", NiftiSettings(size=9))


def test_a_ct_is_told_by_its_air_even_with_the_filling_of_its_field_of_view(tmp_path: Path) -> None:
    filled = scan()
    filled[:, :, :20] = -3024
    graded(tmp_path / "in", "a", filled)
    report = preprocess_nifti(tmp_path / "in", tmp_path / "out", NiftiSettings(size=9))
    assert Store.open(report.store).intensity.unit == "HU"
    assert report.notes[0].startswith("Intensity: HU, judged from 1 image")


def test_a_ct_among_others_stops_the_import(tmp_path: Path) -> None:
    graded(tmp_path / "in", "a", scan())
    graded(tmp_path / "in", "b", np.random.default_rng(1).random((6, 40, 40)).astype(np.float32))
    with pytest.raises(DataError, match=r"1 of 2 images look like a CT in HU \(case a first\).* \(case b first\)"):
        preprocess_nifti(tmp_path / "in", tmp_path / "out", NiftiSettings(size=9))
    report = preprocess_nifti(tmp_path / "in", tmp_path / "out", NiftiSettings(size=9, intensity="hu"))
    assert [failure.case for failure in report.failures] == ["b"]
    assert "values, 2 would be left when they are rounded to whole numbers" in report.failures[0].reason


def test_a_csv_says_whose_the_cases_are(cases: Path, tmp_path: Path) -> None:
    table = cases / "list.csv"
    table.write_text(
        "case,patient,image,mask_2,mask_10\n"
        "one,P,a/image.nii.gz,a/reader_1.nii.gz,a/reader_2.nii.gz\n"
        "two,P,b/image.nii,,b/reader_2.nii\n"
        "three,,b/image.nii,b/reader_2.nii,\n"
    )
    assert [(case.name, case.patient) for case in find_cases(table)] == [("one", "P"), ("two", "P"), ("three", "three")]
    store = imported(table, tmp_path / "out", NiftiSettings(size=9))
    assert store.present[[0, 5, 8]].tolist() == [[True, True], [False, True], [True, False]]
    assert len(set(store.column("split")[:8])) == 1


def test_bad_cases_are_told_and_the_rest_goes_on(cases: Path, tmp_path: Path) -> None:
    moved = DISPLAY.copy()
    moved[0, 3] = 3
    for name, mask, affine in (
        ("c", np.zeros((6, 40, 41), np.uint8), DISPLAY),
        ("d", LEFT, moved),
        ("e", LEFT * 3, DISPLAY),
    ):
        save(cases / name / "image.nii.gz", scan())
        save(cases / name / "reader_1.nii.gz", mask, affine)
    save(cases / "f" / "reader_1.nii.gz", LEFT)
    save(cases / "g" / "image.nii.gz", scan())
    save(cases / "h" / "image.nii.gz", scan())
    save(cases / "h" / "reader_1.nii.gz", LEFT * 0)
    (cases / "i").mkdir()
    (cases / "i" / "image.nii.gz").write_bytes((cases / "h" / "image.nii.gz").read_bytes()[:500])
    save(cases / "i" / "reader_1.nii.gz", LEFT)
    report = preprocess_nifti(cases, tmp_path / "out", NiftiSettings(size=9))
    reasons = {failure.case: failure.reason for failure in report.failures}
    assert list(reasons) == ["c", "d", "e", "f", "g", "i"]
    assert "reader_1.nii.gz is not on the grid of image.nii.gz: it has 41 x 40 x 6 voxels" in reasons["c"]
    assert "reader_1.nii.gz is not on the grid of image.nii.gz: their voxels lie up to 3.0 mm apart" in reasons["d"]
    assert "reader_1.nii.gz holds the label 3: expected 0..1 for 2 classes" in reasons["e"]
    assert reasons["f"].startswith("There is no image")
    assert reasons["g"].startswith("There is no mask")
    assert "image.nii.gz is not a whole NIfTI file" in reasons["i"]
    assert report.counts["cases left out, no reader marked a lesion"] == 1
    assert report.counts["cases"] == 3
    assert report.crops == 8
    lines = (tmp_path / "out-failures.csv").read_text().splitlines()
    assert lines[0] == "case,reason"
    assert len(lines) == 7
    spread = preprocess_nifti(cases, tmp_path / "spread", NiftiSettings(size=9), workers=2)
    assert (spread.failures, spread.counts) == (report.failures, report.counts)
    assert Store.open(spread.store).content_hash == Store.open(report.store).content_hash


def lesion_chance() -> NDArray[np.float32]:
    """A probability [Z, Y, X] that differs in every voxel."""
    return np.random.default_rng(8).random((6, 40, 40)).astype(np.float32)


def test_class_probabilities_are_cut_like_the_images(cases: Path, tmp_path: Path) -> None:
    stored = np.stack([1 - lesion_chance(), lesion_chance()])
    np.savez(cases / "a" / "probabilities.npz", probabilities=stored)
    save(cases / "b" / "probabilities.nii.gz", lesion_chance()[::-1])
    store = imported(cases, tmp_path / "out", NiftiSettings(size=9))
    expected = np.rint(255 * stored[:, 1, 8:17, 6:15])
    np.testing.assert_array_equal(store.class_probabilities(np.array([0]))[0], expected)
    np.testing.assert_array_equal(
        store.class_probabilities(np.array([5]))[0, 1], np.rint(255 * lesion_chance()[3, 17:26, 27:36])
    )
    fine = imported(cases, tmp_path / "fine", NiftiSettings(size=64, spacing_mm=0.4))
    every = fine.class_probabilities(fine.rows("all")).astype(int)
    assert (np.abs(every.sum(1) - 255) <= 1).all()
    assert (every[0, :, 0, 0] == [255, 0]).all()  # outside the image


def test_class_probabilities_in_a_csv_and_of_more_classes(cases: Path, tmp_path: Path) -> None:
    three = np.stack([1 - lesion_chance(), 0.25 * lesion_chance(), 0.75 * lesion_chance()])
    np.savez(cases / "three.npz", probabilities=three)
    table = cases / "list.csv"
    table.write_text("case,image,mask_1,probabilities\none,a/image.nii.gz,a/reader_1.nii.gz,three.npz\n")
    names = ("background", "core", "ring")
    store = imported(table, tmp_path / "out", NiftiSettings(size=9, class_names=names))
    np.testing.assert_array_equal(store.class_probabilities(np.array([0]))[0], np.rint(255 * three[:, 1, 8:17, 6:15]))


def test_class_probabilities_in_all_cases_or_none(cases: Path, tmp_path: Path) -> None:
    save(cases / "a" / "probabilities.nii", lesion_chance())
    with pytest.raises(DataError, match="1 of 2 cases have no class probabilities, case b first: expected them in all"):
        preprocess_nifti(cases, tmp_path / "out", NiftiSettings(size=9))
    np.savez(cases / "b" / "probabilities.npz", probabilities=np.full((2, 6, 40, 39), 0.5))
    report = preprocess_nifti(cases, tmp_path / "out", NiftiSettings(size=9))
    (failure,) = report.failures
    assert failure.case == "b"
    assert "probabilities.npz holds probabilities of shape 2 x 6 x 40 x 39" in failure.reason
    assert len(Store.open(tmp_path / "out")) == 5


def test_no_case_at_all(tmp_path: Path, cases: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "columns.csv").write_text("case,file\n")
    (tmp_path / "rows.csv").write_text("case,image,mask_1\n")
    (tmp_path / "twice.csv").write_text("case,image,mask_1\nx,a.nii,b.nii\nx,a.nii,b.nii\n")
    (tmp_path / "gone.csv").write_text("case,image,mask_1\nx,a.nii,b.nii\n")
    for name, error, message in [
        ("nowhere", InputError, "No such file or folder: .*nowhere"),
        ("empty", InputError, "No cases in .*empty: expected CASE/image"),
        ("text.txt", InputError, "neither a folder of cases nor a CSV"),
        ("columns.csv", DataError, "has no column 'image': expected case,image,mask_1, got case,file"),
        ("rows.csv", InputError, "has no rows"),
        ("twice.csv", DataError, "case 'x' is empty or given twice"),
        ("gone.csv", InputError, "Of 1 case of .* none gave a crop; the first that failed: No file .*a.nii"),
    ]:
        with pytest.raises(error, match=message):
            preprocess_nifti(tmp_path / name, tmp_path / "out", NiftiSettings())
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out-failures.csv").is_file()
    for reader in cases.rglob("reader_*"):
        save(reader, LEFT * 0)
    with pytest.raises(InputError, match="No reader marked anything in 2 cases"):
        preprocess_nifti(cases, tmp_path / "out", NiftiSettings())


def test_settings_that_make_no_sense(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="are no crops"):
        preprocess_nifti(cases, tmp_path / "out", NiftiSettings(size=0))
    with pytest.raises(UsageError, match="No choice 'some'"):
        preprocess_nifti(cases, tmp_path / "out", NiftiSettings(slices="some"))  # type: ignore[arg-type]


def test_the_command(cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(cases, "--size", 16, "--spacing", 1)
    assert result.exit_code == 0, result.output
    assert "data/cases: crops 8, cases 2" in result.stdout
    assert Store.open("data/cases").spacing_mm == 1
    (cases / "b" / "image.nii").write_text("broken")
    failed = run(cases, "-o", "other")
    assert isinstance(failed.exception, PartialError)
    assert "1 case could not be used, see other-failures.csv" in str(failed.exception)
    assert "not a whole NIfTI file" in failed.stderr.replace("\n", " ")
    assert len(Store.open("other")) == 5
    assert isinstance(run(cases, "--spacing", "wide").exception, UsageError)


@pytest.mark.real
@pytest.mark.slow
def test_a_real_scan_gives_the_crops_of_preprocess_lidc(real_data: Path, tmp_path: Path) -> None:
    """LIDC-IDRI-0001 and its four readers' masks as NIfTI: the slices and masks that `preprocess lidc` cuts from the DICOM."""
    with tarfile.open(real_data / "lidc_dicom" / "LIDC-IDRI-0001.tar.xz") as packed:
        packed.extractall(tmp_path / "dicom", filter="data")
    lidc = Store.open(preprocess_lidc(tmp_path / "dicom", tmp_path / "lidc", size=180, workers=1).store)
    record = next(scan for scan in scans() if scan.patient == "LIDC-IDRI-0001")
    volume = read_series(find_series(tmp_path / "dicom").files[record.series_uid])
    (nodule,) = nodules(record, marks(record.id))
    masks = np.zeros((4, *volume.array.shape), np.uint8)
    for z in lidc.column("z_mm"):
        number = int(np.abs(record.z_mm - float(z)).argmin())
        masks[:, number] = reader_masks(readings(nodule), float(z), (slice(0, 512), slice(0, 512)))
    save(tmp_path / "cases" / "one" / "image.nii.gz", volume.array, volume.affine)
    for reader, mask in enumerate(masks, 1):
        save(tmp_path / "cases" / "one" / f"reader_{reader}.nii.gz", mask, volume.affine)
    store = imported(tmp_path / "cases", tmp_path / "nifti", NiftiSettings(size=180, spacing_mm=0.5))
    rows = np.arange(9)
    assert store.column("z_mm").astype(float).tolist() == lidc.column("z_mm").astype(float).tolist()
    centres = [[float(each.index[0][name]) for name in ("centre_y_px", "centre_x_px")] for each in (store, lidc)]
    assert np.abs(np.subtract(*centres)).max() <= 0.5  # the box of the masks may be a pixel smaller than the contours'
    grid = PlaneGrid(180, (centres[0][0], centres[0][1]), (0.5 / 0.703125,) * 2)
    for row, image, mask in zip(store.index, store.images(rows), store.masks(rows), strict=True):
        number = int(row["slice"])
        np.testing.assert_allclose(image[0], np.rint(grid.image(volume.array[number], -1024)), atol=1)
        np.testing.assert_array_equal(mask, majority(grid.coverage(masks[:, number])))
    areas = [each.masks(rows).sum((2, 3), dtype=int) for each in (store, lidc)]
    assert (np.abs(np.subtract(*areas)) <= 3 + 0.02 * areas[1]).all()  # half a pixel apart


def test_one_image_under_two_patients_in_different_splits_is_refused(cases: Path, tmp_path: Path) -> None:
    save(cases / "copy" / "image.nii.gz", scan())
    save(cases / "copy" / "reader_1.nii.gz", LEFT)
    (tmp_path / "splits.csv").write_text("patient,split\na,train\nb,val\ncopy,test\n")
    options = ("--split-file", tmp_path / "splits.csv", "--whole", "--intensity", "hu")
    refused = run(cases, "-o", tmp_path / "out", *options)
    assert isinstance(refused.exception, DataError)
    assert "5 images lie" in str(refused.exception)
    assert "patient a (train) and patient b (val); patient a (train) and patient copy (test)." in str(refused.exception)
    assert not (tmp_path / "out").exists()
    kept = run(cases, "-o", tmp_path / "out", *options, "--allow-duplicates")
    assert "Warning: 5 images lie under two patients" in " ".join(kept.output.split())
    assert (tmp_path / "out").exists()
    drawn = run(cases, "-o", tmp_path / "drawn", "--whole", "--intensity", "hu", "--split", "34,33,33")
    assert drawn.exit_code == 0
    assert "Figures on test come out too good: give both one patient." in " ".join(drawn.output.split())


@pytest.mark.parametrize("csv", [False, True])
def test_a_split_that_comes_with_the_cases_is_kept(csv: bool, cases: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    rows = ["case,image,mask_1,split"]
    for case, split in (("a", "train"), ("b", "validation"), ("c", "test"), ("d", "train")):
        folder = source / ("all" if csv else split) / case
        save(folder / "image.nii", np.random.default_rng(ord(case)).integers(-1000, 400, (6, 40, 40)).astype(np.int16))
        save(folder / "reader_1.nii", LEFT)
        rows.append(f"{case},in/all/{case}/image.nii,in/all/{case}/reader_1.nii,{split}")
    (tmp_path / "in.csv").write_text("\n".join(rows))
    source = tmp_path / "in.csv" if csv else source
    report = preprocess_nifti(source, tmp_path / "out", NiftiSettings(size=9, intensity="hu"))
    store = Store.open(report.store)
    held = {(row.patient, row.split) for row in store.index}
    assert held == {("a", "train"), ("b", "val"), ("c", "test"), ("d", "train")}
    assert "The data's own split is kept: train 2, val 1, test 1 cases." in report.notes
    other = preprocess_nifti(source, tmp_path / "out", NiftiSettings(size=9, intensity="hu"), split=(2, 1, 1))
    assert "overrides it" in other.notes[-1]
    with pytest.raises(UsageError, match="bring no split of their own"):
        preprocess_nifti(cases, tmp_path / "none", NiftiSettings(size=9, intensity="hu"), split="own")
