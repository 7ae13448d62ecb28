"""A real DICOM study, as the archive distributes it, and the same scan in every other format."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ambiseg.models.prediction.lesion import at_point
from ambiseg.models.prediction.neighbourhood import neighbourhood
from ambiseg.preprocessing.scans.cases import find_cases
from ambiseg.preprocessing.scans.scan import Scan, open_scan
from ambiseg.preprocessing.sources.packed.pack import PackSettings
from ambiseg.preprocessing.sources.packed.packed_shards import shard_pack
from ambiseg.preprocessing.store.intensity import BYTES

pytestmark = pytest.mark.real


def read(path: Path) -> Scan:
    with open_scan(path) as scan:
        return scan


def test_the_study_is_one_scan_that_lies_where_simpleitk_has_it(study: Path) -> None:
    assert find_cases(study) is None
    scan = read(study)
    assert scan.dicom is not None
    assert (scan.volume.array.shape, scan.dicom.modality, len(scan.dicom.slices)) == ((133, 512, 512), "CT", 133)
    image = sitk.ReadImage([str(each.path) for each in scan.dicom.slices])
    assert np.array_equal(scan.volume.array, np.maximum(sitk.GetArrayFromImage(image), -1024))
    for index in ((0, 0, 0), (511, 511, 132), (100, 300, 66)):
        left, back, head = image.TransformIndexToPhysicalPoint(index)
        assert np.allclose((scan.grid.affine @ [*index, 1])[:3], (-left, -back, head), atol=1e-3)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".zip"])
def test_every_format_of_it_is_the_same_scan(study: Path, tmp_path: Path, suffix: str) -> None:
    scan = read(study)
    assert scan.dicom is not None
    path = tmp_path / f"scan{suffix}"
    if suffix == ".zip":
        shutil.make_archive(str(tmp_path / "scan"), "zip", study)
    else:
        image = sitk.ReadImage([str(each.path) for each in scan.dicom.slices])
        sitk.WriteImage(image, str(path), useCompression=True)
    other = read(path)
    assert other.name == "scan"
    assert np.array_equal(np.maximum(other.volume.array, -1024), scan.volume.array)
    assert np.allclose(other.volume.affine, scan.volume.affine, atol=1e-4)
    assert np.allclose(other.grid.affine, scan.grid.affine, atol=1e-4)


def test_a_scan_in_hu_is_scaled_as_the_repackaged_crops_were(study: Path, real_data: Path) -> None:
    """Crops that have lost their HU, each scaled by the least and greatest value of its 128 pixels: the same numbers come of
    the scan, so that a model trained on the central 64 sees what it learned on.
    """
    volume = read(study).volume
    pack = shard_pack([real_data / "lidc128" / "shard_0.npz"], PackSettings())
    crops = list(itertools.islice(pack.crops(), 9))
    assert {crop.patient for crop in crops} == {"LIDC-IDRI-0001"}
    for crop in crops:
        row, column = (int(crop.provenance[name]) for name in ("crop_row0", "crop_col0"))
        z = round((crop.z_mm - volume.affine[2, 3]) / volume.affine[2, 2])
        centre = volume.world((z, row + 63.5, column + 63.5))
        place = neighbourhood(volume, at_point(volume, centre), 64, None, 0)
        (image,) = place.images(volume, [BYTES], scaled_over=128)[:, 0]
        assert np.abs(image - crop.image[0, 32:96, 32:96].astype(float)).max() <= 1
        alone = place.images(volume, [BYTES])[0, 0]
        assert np.abs(alone - crop.image[0, 32:96, 32:96]).mean() > 3  # as the model would see it otherwise
