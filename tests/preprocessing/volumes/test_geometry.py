"""Whatever a scan's geometry: either it is refused, or nibabel and SimpleITK see the results at the same place."""

import tempfile
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.eulerangles import euler2mat
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.scans.formats.itk import itk_affine, read_itk
from ambiseg.preprocessing.scans.formats.nifti_volume import read_grid, write_on_grid
from ambiseg.preprocessing.scans.scan_in_memory import scan_of_image
from ambiseg.preprocessing.volumes.grid import RIGHT, SAME_GRID, Grid, apart_mm, grid_from, grid_of

ORIENTATIONS = [
    np.eye(3)[:, order] * signs for order, signs in product(permutations(range(3)), product((1, -1), repeat=3))
]
LPS = np.diag([-1.0, -1, 1, 1])
NIFTI = ("sform", "qform", "both")
FORMS = [*NIFTI, "nrrd", "mha", "nibabel", "sitk"]


@st.composite
def places(draw: st.DrawFn) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
    """An affine [4, 4] in mm RAS and a shape (i, j, k)."""
    spacing = [draw(st.floats(0.2, 10)) for _ in range(3)]
    rotation = euler2mat(*(draw(st.sampled_from([0.0, draw(st.floats(-0.7, 0.7))])) for _ in range(3)))
    skew = np.eye(3)
    skew[1, 2] = np.tan(np.radians(draw(st.sampled_from([0.0, 0.001, 0.2, draw(st.floats(0, 1))]))))
    skew[0, 1] = draw(st.sampled_from([0.0, 0.0, draw(st.floats(-1e-3, 1e-3))]))
    axes = rotation @ ORIENTATIONS[draw(st.integers(0, 47))] @ (skew / np.linalg.norm(skew, axis=0))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes * spacing, [draw(st.floats(-500, 500)) for _ in range(3)]
    affine += draw(st.sampled_from([0.0, 1e-7])) * np.random.default_rng(draw(st.integers(0, 9))).normal(size=(4, 4))
    affine[3] = [0, 0, 0, 1]
    return affine.astype(np.float32).astype(float), tuple(draw(st.integers(1, 40)) for _ in range(3))  # type: ignore[return-value]


def image_of_itk(affine: NDArray[np.float64], shape: tuple[int, int, int]) -> sitk.Image:
    image = sitk.Image(list(shape), sitk.sitkInt16)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(lengths.tolist())
    image.SetDirection((LPS[:3, :3] @ affine[:3, :3] / lengths).ravel().tolist())
    image.SetOrigin((LPS @ affine)[:3, 3].tolist())
    return image


def read_as(
    form: str, folder: Path, affine: NDArray[np.float64], shape: tuple[int, int, int]
) -> tuple[Grid, NDArray[np.float64]]:
    """The grid of a scan of that place, in a file or in memory, and the affine that nibabel or SimpleITK has for it."""
    voxels = np.zeros(shape, np.int16)
    if form in NIFTI:
        image = nib.Nifti1Image(voxels, affine)
        image.set_sform(affine if form != "qform" else None, 2 if form != "qform" else 0)
        image.set_qform(affine if form != "sform" else None, 1 if form != "sform" else 0)
        nib.save(image, folder / "scan.nii")
        return read_grid(folder / "scan.nii"), nib.load(folder / "scan.nii").affine
    if form == "nibabel":
        return scan_of_image(nib.MGHImage(voxels.astype(np.float32), affine)).grid, affine
    if form == "sitk":
        return scan_of_image(image_of_itk(affine, shape)).grid, affine
    sitk.WriteImage(image_of_itk(affine, shape), str(folder / f"scan.{form}"))
    return read_itk(folder / f"scan.{form}")[1], affine


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=25, derandomize=True)
@given(place=places())
def test_a_mask_lies_on_the_scan_for_every_program_or_the_scan_is_refused(
    form: str, place: tuple[NDArray[np.float64], tuple[int, int, int]]
) -> None:
    drawn, shape = place
    with tempfile.TemporaryDirectory() as name:
        try:
            grid, affine = read_as(form, Path(name), drawn, shape)
        except DataError:
            assert cosine(drawn) > RIGHT  # nothing else is wrong with any of them
            return
        mask = np.random.default_rng(3).random(shape) < 0.5
        write_on_grid(Path(name) / "mask.nii.gz", grid.display(mask).astype(np.uint8), grid)
        by_itk, by_nibabel = sitk.ReadImage(str(Path(name) / "mask.nii.gz")), nib.load(Path(name) / "mask.nii.gz")
        scan_by_itk = opened_by_itk(Path(name) / "scan.nii") if form in NIFTI else None
        assert np.array_equal(sitk.GetArrayFromImage(by_itk).T, mask)
        assert np.array_equal(np.asarray(by_nibabel.dataobj), mask)
    voxel = np.linalg.norm(affine[:3, :3], axis=0).min()
    limit = 0.002 if cosine(affine) <= RIGHT else SAME_GRID + 0.002
    expected = affine if scan_by_itk is None else itk_affine(scan_by_itk)
    turned = 7e-4 * np.linalg.norm(affine[:3, :3] @ shape)  # what ITK makes of a quaternion near 180 degrees
    allowed = limit * voxel + (turned if form == "sform" and limit > 0.002 else 0)
    assert apart_mm(itk_affine(by_itk), expected, shape) <= allowed
    assert apart_mm(by_nibabel.affine, affine, shape) <= (0 if form in NIFTI else limit) * voxel


def opened_by_itk(path: Path) -> sitk.Image | None:
    """An image as ITK has it, None where it refuses it."""
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError:
        return None


def cosine(affine: NDArray[np.float64]) -> float:
    """The largest between two voxel axes."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.abs(axes.T @ axes - np.eye(3)).max())


def tilted(degrees: float) -> NDArray[np.float64]:
    affine = np.diag([0.7, 0.7, 2.5, 1.0])
    affine[1, 2] = 2.5 * np.tan(np.radians(degrees))
    return affine


def test_a_tilt_that_every_program_opens_is_kept() -> None:
    assert np.array_equal(grid_from(tilted(0.001), (9, 9, 400)).affine, tilted(0.001))


@pytest.mark.parametrize(("degrees", "slices"), [(0.02, 60), (0.5, 4)])
def test_a_tilt_that_moves_no_voxel_is_straightened(degrees: float, slices: int) -> None:
    found = grid_from(tilted(degrees), (9, 9, slices)).affine
    assert np.allclose(found, np.diag([0.7, 0.7, np.hypot(2.5, tilted(degrees)[1, 2]), 1]))


@pytest.mark.parametrize(("degrees", "slices"), [(0.02, 400), (0.2, 30), (0.5, 30), (1, 6)])
def test_a_tilt_that_moves_voxels_is_refused(degrees: float, slices: int) -> None:
    with pytest.raises(
        DataError, match=rf"sheared by {degrees:g} degrees .* resample the scan on a straight grid first"
    ):
        grid_from(tilted(degrees), (9, 9, slices), "scan")


def header_of(
    affine: NDArray[np.float64], shape: tuple[int, ...], unit: int = 2, kind: str = "sform"
) -> nib.Nifti1Header:
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_sform(affine, int(kind == "sform"))
    header.set_qform(affine, int(kind == "qform"))
    header["xyzt_units"] = unit
    return header


@pytest.mark.parametrize("spacing", [(0.7, 0.7, 2.5), (0.4, 0.4, 10), (4, 4, 5), (1, 1, 1)])
@pytest.mark.parametrize(("unit", "scale"), [(2, 1e-3), (2, 1e3), (0, 1e-3), (1, 1.0), (2, 1e-6)])
@pytest.mark.parametrize("kind", ["sform", "qform", "another format"])
def test_a_volume_in_a_wrong_unit_is_refused_before_any_work(
    spacing: tuple[float, ...], unit: int, scale: float, kind: str
) -> None:
    affine, shape = np.diag([*np.multiply(spacing, scale), 1.0]), (64, 64, 20)
    other = kind == "another format"
    with pytest.raises(DataError, match="its unit is wrong, correct its spacing"):
        grid_from(affine * (1000 if unit == 1 else 1), shape) if other else grid_of(
            "scan", header_of(affine, shape, unit, kind)
        )


@pytest.mark.parametrize(("unit", "scale"), [(2, 1.0), (0, 1.0), (1, 1e-3), (3, 1e3)])
def test_a_header_in_metres_or_micrometres_is_converted(unit: int, scale: float) -> None:
    affine = np.diag([0.7 * scale, 0.8 * scale, 2.5 * scale, 1.0])
    assert np.allclose(np.diag(grid_of("scan", header_of(affine, (64, 64, 20), unit)).affine), [0.7, 0.8, 2.5, 1])


@pytest.mark.parametrize("pixel_mm", [0.0000025, 0.00025, 0.05, 1, 50])
def test_a_picture_may_be_of_any_size(pixel_mm: float) -> None:
    affine = np.diag([pixel_mm, pixel_mm, 1.0, 1.0])
    assert np.allclose(grid_from(affine, (30_000, 20_000, 1)).affine, affine)
    grid_of("slide", header_of(affine, (3000, 2000)))


def test_an_origin_beyond_the_room_is_refused() -> None:
    affine = np.diag([0.7, 0.7, 2.5, 1.0])
    affine[0, 3] = 1e12
    with pytest.raises(DataError, match=r"first voxel of scan lies 1,000,000,000,000 mm away"):
        grid_from(affine, (9, 9, 9), "scan")


def test_a_sform_and_a_pixdim_of_two_spacings_are_refused() -> None:
    header = header_of(np.diag([0.7, 0.7, 2.5, 1.0]), (64, 64, 20))
    header["pixdim"][3] = 5
    with pytest.raises(DataError, match=r"sform and pixdim of scan place its voxels up to 47\.5 mm apart"):
        grid_of("scan", header)


@pytest.mark.parametrize(
    ("place", "number"), [*product([(0, 0), (2, 2), (1, 3)], [np.nan, np.inf, -np.inf]), ((0, 0), 0), ((2, 2), 0)]
)
def test_an_affine_that_is_no_place_is_refused(place: tuple[int, int], number: float) -> None:
    affine = np.diag([0.7, 0.7, 2.5, 1.0])
    affine[place] = number
    with pytest.raises(DataError, match="The affine of the scan is singular: expected three independent voxel axes"):
        grid_from(affine, (9, 9, 9))


@pytest.mark.parametrize("number", [1e300, -1e300, np.nan, 1e20])
def test_numbers_that_are_not_used_or_not_usable_are_met_without_a_warning(tmp_path: Path, number: float) -> None:
    image = nib.Nifti2Image(np.zeros((4, 5, 6), np.uint8), np.diag([0.7, 0.7, 2.5, 1]))
    image.header["qoffset_x"] = number  # of a qform whose code is 0
    nib.save(image, tmp_path / "scan.nii")
    write_on_grid(tmp_path / "mask.nii", np.zeros((6, 5, 4), np.uint8), tmp_path / "scan.nii")
    header = image.header.copy()
    header["srow_y"][3] = number
    with pytest.raises(DataError, match=r"is singular|lies .* mm away"):
        grid_of("scan", header)
    image.header["qform_code"] = 1
    with pytest.raises(DataError, match=r"qform of scan .*(no rotation|mm apart)"):
        grid_of("scan", image.header)
