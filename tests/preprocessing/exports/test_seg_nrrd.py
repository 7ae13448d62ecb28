"""Files for 3D Slicer: the same voxels at the same positions for slicerio, SimpleITK and pynrrd."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
import slicerio
from nibabel.eulerangles import euler2mat
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.exports.seg_nrrd import write_seg_nrrd
from ambiseg.preprocessing.exports.segments import COLOURS, Segment
from ambiseg.preprocessing.scans.scan import Scan
from ambiseg.preprocessing.volumes.grid import grid_from
from ambiseg.preprocessing.volumes.volume import Volume

SHAPE = (14, 12, 9)  # i, j, k
AXES = {
    "axial": np.diag([-0.7, -0.6, 2.5]),
    "RAS": np.diag([0.7, 0.6, 2.5]),
    "sagittal": np.array([[0, 0, 2.5], [0.7, 0, 0], [0, -0.6, 0]]),
    "oblique": euler2mat(0.2, -0.1, 0.3) @ np.diag([-0.7, 0.6, 2.5]),
}


def _scan(axes: NDArray) -> Scan:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, (11, -22, 33)
    grid = grid_from(affine, SHAPE)
    return Scan("scan", Volume(grid.display(np.zeros(SHAPE, np.int16)), grid.display_affine), grid)


def _segments(scan: Scan, count: int = 3) -> list[Segment]:
    """Random masks in boxes that differ; the second one marks nothing."""
    rng = np.random.default_rng(2)
    z, y, x = scan.volume.array.shape
    found = []
    for rank in range(1, count + 1):
        box = (slice(2, z - rank % 2), slice(1, y - 3), slice(rank, x))
        mask = (rng.random([each.stop - each.start for each in box]) < 0.4) & (rank != 2)
        found.append(Segment(f"Hypothesis {rank}, {40 - rank} %", f"Rank {rank}; 95 % interval 20 to 40 %", box, mask))
    return found


def _places(segment: Segment, scan: Scan) -> set[tuple[float, ...]]:
    """The marked voxels' centres in mm RAS, rounded."""
    corner = [each.start for each in segment.box]
    return {_rounded(scan.volume.world(tuple(voxel))) for voxel in np.argwhere(segment.mask) + corner}


def _rounded(point: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 3) + 0.0 for value in point)


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_masks_come_back_at_their_places(tmp_path: Path, axes: NDArray) -> None:
    scan = _scan(axes)
    segments = _segments(scan)
    path = tmp_path / "hypotheses.seg.nrrd"
    write_seg_nrrd(path, scan, segments)
    by_slicerio, by_itk = slicerio.read_segmentation(str(path)), sitk.ReadImage(str(path))
    layers = sitk.GetArrayFromImage(by_itk)  # [k, j, i, layer]
    assert by_itk.GetNumberOfComponentsPerPixel() == 3
    for number, segment in enumerate(segments):
        expected = _places(segment, scan)
        about = by_slicerio["segments"][number]
        mask = slicerio.segment_mask(by_slicerio, about["id"])
        lps = [by_slicerio["ijkToLPS"] @ [*voxel, 1] for voxel in np.argwhere(mask)]
        assert {_rounded((-x, -y, z)) for x, y, z, _ in lps} == expected
        marked = np.argwhere(layers[..., number])[:, ::-1].tolist()
        lps = [by_itk.TransformIndexToPhysicalPoint(voxel) for voxel in marked]
        assert {_rounded((-x, -y, z)) for x, y, z in lps} == expected
        assert mask.sum() == layers[..., number].sum() == segment.mask.sum()


def test_what_slicer_reads_of_the_header(tmp_path: Path) -> None:
    scan = _scan(AXES["axial"])
    segments = _segments(scan, 9)
    path = tmp_path / "hypotheses.seg.nrrd"
    write_seg_nrrd(path, scan, segments)
    header = nrrd.read_header(str(path))
    sizes = list(header["sizes"])
    assert (header["kinds"], header["space"]) == (["list"] + ["domain"] * 3, "left-posterior-superior")
    assert sizes[0] == 9
    assert np.isnan(header["space directions"][0]).all()
    assert np.allclose(header["space directions"][1:], np.diag([0.7, 0.6, 2.5]))
    offset = np.array(header["Segmentation_ReferenceImageExtentOffset"].split(), int)
    assert (offset > 0).any()
    assert np.allclose(header["space origin"], [-11, 22, 33] + offset * [0.7, 0.6, 2.5])
    about = slicerio.read_segmentation(str(path), skip_voxels=True)
    assert (about["masterRepresentation"], len(about["segments"])) == ("Binary labelmap", 9)
    for number, (segment, each) in enumerate(zip(segments, about["segments"], strict=True)):
        assert (each["name"], each["layer"], each["labelValue"]) == (segment.label, number, 1)
        assert each["extent"] == [0, sizes[1] - 1, 0, sizes[2] - 1, 0, sizes[3] - 1]
        assert np.allclose(each["color"], np.array(list(bytes.fromhex(COLOURS[number % 8][1:]))) / 255, atol=1e-5)
        assert each["terminology"]["type"] == ["SCT", "52988006", "Lesion"]
        assert each["tags"] == {"Description": segment.description}
    assert len({each["id"] for each in about["segments"]}) == 9


def test_one_segment_is_a_plain_mask(tmp_path: Path) -> None:
    scan = _scan(AXES["oblique"])
    path = tmp_path / "one.seg.nrrd"
    write_seg_nrrd(path, scan, _segments(scan, 1))
    image = sitk.ReadImage(str(path))
    assert (image.GetDimension(), image.GetNumberOfComponentsPerPixel()) == (3, 1)
    assert sitk.GetArrayFromImage(image).sum() == _segments(scan, 1)[0].mask.sum()


def test_the_same_segments_give_the_same_bytes(tmp_path: Path) -> None:
    scan = _scan(AXES["axial"])
    for name in ("a", "b"):
        write_seg_nrrd(tmp_path / f"{name}.seg.nrrd", scan, _segments(scan))
    assert (tmp_path / "a.seg.nrrd").read_bytes() == (tmp_path / "b.seg.nrrd").read_bytes()
    header = (tmp_path / "a.seg.nrrd").read_bytes().partition(b"\n\n")[0]
    assert b"GMT" not in header


def test_signs_that_separate_tags_are_replaced(tmp_path: Path) -> None:
    scan = _scan(AXES["axial"])
    odd = replace(_segments(scan)[0], label="a|b~c^d\ne", description="größe: 1|Extent:0")
    path = tmp_path / "odd.seg.nrrd"
    write_seg_nrrd(path, scan, [odd])
    (about,) = slicerio.read_segmentation(str(path), skip_voxels=True)["segments"]
    assert about["name"] == "a/b/c/d?e"
    assert about["tags"] == {"Description": "gr??e: 1/Extent:0"}


def test_without_slicerio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "slicerio", None)
    scan = _scan(AXES["axial"])
    with pytest.raises(UsageError, match=r"slicerio, which is not installed: `pip install 'ambiseg\[slicer\]'`"):
        write_seg_nrrd(tmp_path / "x.seg.nrrd", scan, _segments(scan))
    assert list(tmp_path.iterdir()) == []
