"""Regions that others drew: DICOM SEG by highdicom, RTSTRUCT, masks with named labels; each voxel for voxel."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from ambiseg.preprocessing.errors import AmbisegError, DataError
from ambiseg.preprocessing.scans.regions import read_regions
from ambiseg.preprocessing.scans.scan import Scan, open_scan
from tests.ambiseg_cli.commands.lesion_scans import AFFINE, SHAPE, save, save_dicom

BOX = (slice(20, 31), slice(40, 52), slice(7, 10))  # columns, rows, slices
HOLE = (slice(24, 27), slice(44, 47), slice(8, 9))


def boxes() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Two masks in the file's order (column, row, slice): a box with a hole, and a single voxel."""
    one, other = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    one[BOX], one[HOLE], other[60, 60, 20] = True, False, True
    return one, other


def expected(scan: Scan, mask: NDArray[np.bool_]) -> set[tuple[int, ...]]:
    return set(map(tuple, np.argwhere(scan.grid.display(mask))))


def marked(voxels: NDArray[np.intp]) -> set[tuple[int, ...]]:
    return set(map(tuple, voxels))


@pytest.fixture
def scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scan]:
    monkeypatch.chdir(tmp_path)
    save_dicom("series")
    with open_scan(Path("series")) as opened:
        yield opened


def images() -> list[Dataset]:
    found = [pydicom.dcmread(path) for path in Path("series").glob("*.dcm")]
    return sorted(found, key=lambda each: each.ImagePositionPatient[2])


def save_seg(
    masks: Sequence[NDArray], kind: str = "BINARY", edit: Callable[[Dataset], None] = lambda source: None
) -> Path:
    """Masks [column, row, slice] as a SEG that highdicom makes; `edit` changes the source images."""
    sources = images()
    for each in sources:
        each.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        edit(each)
    segments = [
        hd.seg.SegmentDescription(
            number, f"Nodule {number}", codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Lesion,
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(1, len(masks) + 1)
    ]  # fmt: skip
    pixels = np.stack([mask.transpose(2, 1, 0) for mask in masks], -1)
    seg = hd.seg.Segmentation(
        sources, pixels.astype(np.uint8 if kind == "BINARY" else np.float32), kind, segments, generate_uid(), 1, generate_uid(),
        1, "maker", "model", "1", "serial",
    )  # fmt: skip
    seg.save_as("seg.dcm")
    return Path("seg.dcm")


def test_a_segmentation_gives_its_voxels_in_any_order_of_the_scan(scan: Scan) -> None:
    one, other = boxes()
    first, second = read_regions(save_seg([one, other]), scan, ["*"])
    assert [first.name, second.name] == ["Nodule 1", "Nodule 2"]
    assert marked(first.voxels) == expected(scan, one)
    assert marked(second.voxels) == expected(scan, other)
    (chosen,) = read_regions(Path("seg.dcm"), scan, ["nodule 2"])
    assert marked(chosen.voxels) == marked(second.voxels)
    assert marked(read_regions(Path("seg.dcm"), scan, ["1"])[0].voxels) == marked(first.voxels)


def test_a_fractional_segmentation_marks_what_has_a_half(scan: Scan) -> None:
    one, _ = boxes()
    shares = np.where(one, 0.6, 0.4) * (np.indices(SHAPE)[2] < 12)
    (region,) = read_regions(save_seg([shares], "FRACTIONAL"), scan)
    assert marked(region.voxels) == expected(scan, one)


def test_a_segmentation_suits_a_copy_of_the_scan_that_is_not_dicom(scan: Scan) -> None:
    one, _ = boxes()
    path = save_seg([one])
    with open_scan(Path(save("scan.nii"))) as copy:
        (region,) = read_regions(path, copy)
        assert marked(region.voxels) == expected(copy, one)


def corners(box: tuple[slice, ...], at: int, inset: float = 0.3) -> list[float]:
    """The outline of a box in one slice, `inset` voxels outside its outermost voxel centres, in mm (LPS)."""
    x, y = ((side.start - inset, side.stop - 1 + inset) for side in box[:2])
    places = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
    world = [AFFINE @ [i, j, at, 1] for i, j in places]
    return [value for place in world for value in (-place[0], -place[1], place[2])]


def save_rtstruct(structures: dict[str, list[list[float]]], *, frame: str = "", kind: str = "CLOSED_PLANAR") -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = RTStructureSetStorage, generate_uid(), "RTSTRUCT"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, outlines) in enumerate(structures.items(), 1):
        described, drawn = Dataset(), Dataset()
        described.ROINumber, described.ROIName = number, name
        described.ReferencedFrameOfReferenceUID = frame or images()[0].FrameOfReferenceUID
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for outline in outlines:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(outline) // 3
            contour.ContourData = [round(value, 4) for value in outline]
            drawn.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(described)
        dataset.ROIContourSequence.append(drawn)
    dataset.save_as("rt.dcm", enforce_file_format=True)
    return Path("rt.dcm")


def box_outlines() -> list[list[float]]:
    outlines = [corners(BOX, at) for at in range(BOX[2].start, BOX[2].stop)]
    return [*outlines, *(corners(HOLE, at) for at in range(HOLE[2].start, HOLE[2].stop))]


def test_a_structure_set_gives_what_its_outlines_enclose_with_its_holes(scan: Scan) -> None:
    one, _ = boxes()
    path = save_rtstruct({"BODY": [corners((slice(1, 109), slice(1, 79)), 5)], "GTV left": box_outlines()})
    (region,) = read_regions(path, scan, ["gtv*"])
    assert region.name == "GTV left"
    assert marked(region.voxels) == expected(scan, one)


def test_a_structure_smaller_than_a_voxel_marks_one(scan: Scan) -> None:
    _, other = boxes()
    path = save_rtstruct({"speck": [corners((slice(60, 61), slice(60, 61)), 20, inset=0.2)]})
    assert marked(read_regions(path, scan)[0].voxels) == expected(scan, other)
    between = [
        value + shift
        for value, shift in zip(corners((slice(60, 61), slice(60, 61)), 20, 0.1), [0.2, 0.2, 0] * 4, strict=True)
    ]
    (region,) = read_regions(save_rtstruct({"speck": [between]}), scan)
    assert len(region.voxels) == 1


def test_labels_are_chosen_by_number_and_by_the_names_that_totalsegmentator_writes(scan: Scan, tmp_path: Path) -> None:
    one, other = boxes()
    image = nib.Nifti1Image(one + 2 * other.astype(np.uint8), AFFINE)
    names = "".join(
        f'<Label Key="{key}" Red="1"><![CDATA[{name}]]></Label>' for key, name in ((1, "lung"), (2, "lung_nodules"))
    )
    text = f'<?xml version="1.0"?><CaretExtension><LabelTable>{names}</LabelTable></CaretExtension>'
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, text.encode()))
    nib.save(image, tmp_path / "total.nii.gz")
    assert [each.name for each in read_regions(tmp_path / "total.nii.gz", scan)] == ["lung", "lung_nodules"]
    for chosen in ("lung_nodules", "2"):
        (region,) = read_regions(tmp_path / "total.nii.gz", scan, [chosen])
        assert marked(region.voxels) == expected(scan, other)
    with pytest.raises(
        AmbisegError, match=r"total.nii.gz has no structure liver: expected one of 1 lung, 2 lung_nodules"
    ):
        read_regions(tmp_path / "total.nii.gz", scan, ["liver"])


def test_a_mask_without_a_lesion_or_with_too_many_labels_is_refused(scan: Scan) -> None:
    for mask, says in (
        (np.zeros(SHAPE), "m.nii is empty"),
        (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 400, "different values: expected a mask"),
    ):
        nib.save(nib.Nifti1Image(mask.astype(np.int16), AFFINE), "m.nii")
        with pytest.raises(AmbisegError, match=says):
            read_regions(Path("m.nii"), scan)


def moved(source: Dataset) -> None:
    source.ImagePositionPatient = [source.ImagePositionPatient[0] + 0.3, *source.ImagePositionPatient[1:]]


def coarse(source: Dataset) -> None:
    source.PixelSpacing = [1.8, 1.4]


def elsewhere(source: Dataset) -> None:
    source.FrameOfReferenceUID = "1.2.3.4"


def far(source: Dataset) -> None:
    source.ImagePositionPatient = [source.ImagePositionPatient[0] + 70, *source.ImagePositionPatient[1:]]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (moved, "is not on the scan's voxels: resample it onto the scan"),
        (coarse, "is not on the scan's voxels"),
        (elsewhere, "lies in another frame of reference than the scan"),
        (far, "has Nodule 1 outside the scan"),
    ],
)
def test_a_segmentation_that_does_not_lie_on_the_scan_is_refused(
    scan: Scan, edit: Callable[[Dataset], None], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        read_regions(save_seg(boxes()[:1], edit=edit), scan)


def test_what_is_no_structure_of_this_scan_is_named(scan: Scan) -> None:
    path = save_rtstruct({"one": box_outlines(), "two": []})
    refusals = {
        ("one",): None,
        (): r"rt.dcm holds 2 structures: choose some with `structures` .*: 1 one, 2 two",
        ("three",): r"rt.dcm has no structure three: expected one of 1 one, 2 two",
        ("two",): r"rt.dcm has nothing in two",
    }
    for chosen, says in refusals.items():
        if says is None:
            assert read_regions(path, scan, chosen)
            continue
        with pytest.raises(AmbisegError, match=says):
            read_regions(path, scan, chosen)
    with pytest.raises(DataError, match="another frame of reference"):
        read_regions(save_rtstruct({"one": box_outlines()}, frame="1.2.3"), scan)
    with pytest.raises(DataError, match=r"rt.dcm has POINT in one: expected closed outlines"):
        read_regions(save_rtstruct({"one": [[0.0, 0.0, 0.0]]}, kind="POINT"), scan)
    tilted = [value + 2 * (index % 3 == 2 and index > 5) for index, value in enumerate(corners(BOX, 8))]
    with pytest.raises(DataError, match="do not lie in the scan's slices"):
        read_regions(save_rtstruct({"one": [tilted]}), scan)
    with pytest.raises(AmbisegError, match=r"001.dcm is DICOM of another kind: expected a segmentation \(SEG\)"):
        read_regions(Path("series/001.dcm"), scan)


def test_a_file_that_is_cut_anywhere_is_refused_in_one_sentence(scan: Scan) -> None:
    one, _ = boxes()
    for path in (save_seg([one]), save_rtstruct({"one": box_outlines()})):
        whole = path.read_bytes()
        for length in np.linspace(0, len(whole) - 1, 12).astype(int):
            path.write_bytes(whole[:length])
            with pytest.raises(AmbisegError):
                read_regions(path, scan)


@pytest.mark.parametrize("reach", [3, 10_000])
def test_an_outline_that_leaves_the_scan_is_refused_in_bounded_time(scan: Scan, reach: int) -> None:
    wide = corners((slice(50, SHAPE[0] + reach), slice(20, SHAPE[1] + reach)), 8)
    with pytest.raises(DataError, match=r"rt.dcm has one outside the scan"):
        read_regions(save_rtstruct({"one": [wide]}), scan)
