import csv
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ColorPaletteStorage, generate_uid

from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.lidc.annotations import RATINGS, ScanRecord, marks, nodules
from ambiseg.preprocessing.lidc.contours import mark_volume
from ambiseg.preprocessing.lidc.lidc_plan import case_names, default_root
from ambiseg.preprocessing.lidc.lidc_store import LidcReport, preprocess_lidc
from ambiseg.preprocessing.store.intensity import HOUNSFIELD
from ambiseg.preprocessing.store.lesion_rows import keeps_readers, lesions_of
from ambiseg.preprocessing.store.store import Store

WriteSeries = Callable[..., list[Path]]
SCANS = [12, 267, 66]  # one nodule of four readers; irregular spacing; seven nodules, one of them with six marks


def _drawn(scan_id: int) -> list[float]:
    """Heights on which somebody drew."""
    return sorted({line.z_mm for mark in marks(scan_id) for line in mark.contours})


@pytest.fixture(scope="module")
def archive(
    tmp_path_factory: pytest.TempPathFactory, records: dict[int, ScanRecord], write_series: WriteSeries
) -> Path:
    """The slices of three scans on which readers drew, and no others, in three layouts."""
    root = tmp_path_factory.mktemp("archive")
    for scan_id, folder in zip(SCANS, ("LIDC-IDRI-0001/study/series", "flat", "manifest/CT"), strict=True):
        write_series(root / folder, records[scan_id], _drawn(scan_id))
    return root


@pytest.fixture(scope="module")
def report(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> LidcReport:
    return preprocess_lidc(archive, tmp_path_factory.mktemp("made") / "lidc", workers=1)


@pytest.fixture(scope="module")
def store(report: LidcReport) -> Store:
    return Store.open(report.store)


@pytest.fixture
def one_scan(tmp_path: Path, records: dict[int, ScanRecord], write_series: WriteSeries) -> list[Path]:
    """The files of scan 12 under `tmp_path/dicom`."""
    return write_series(tmp_path / "dicom", records[12], _drawn(12))


def _run(tmp_path: Path, **options: Any) -> LidcReport:
    return preprocess_lidc(tmp_path / "dicom", tmp_path / "lidc", workers=1, **options)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_store_has_the_papers_format(store: Store) -> None:
    assert store.size == (180, 180)
    assert (store.channels, store.readers, store.spacing_mm) == (1, 4, 0.5)
    assert store.intensity == HOUNSFIELD
    assert store.images(np.arange(1)).dtype == np.int16
    assert list(store.damaged()) == []


def test_every_slice_on_which_a_reader_drew_is_there(store: Store, records: dict[int, ScanRecord]) -> None:
    came = [(row["case"], row["lesion"], float(row["z_mm"])) for row in store.index]
    expected, names = [], case_names(list(records.values()))
    for scan_id in sorted(SCANS):
        for nodule in nodules(records[scan_id], marks(scan_id)):
            lines = [line for mark in nodule.marks for line in mark.contours]
            for z in sorted({line.z_mm for line in lines}):
                box = (slice(0, 512), slice(0, 512))
                if any(mark_volume(mark, box).get(z, np.zeros(1)).any() for mark in nodule.marks):
                    expected.append((names[scan_id], str(nodule.number), z))
    assert came == expected
    assert [int(row["slice"]) for row in store.index if row["case"] == "LIDC-IDRI-0001"] == [
        int(np.flatnonzero(records[12].z_mm == z)[0]) for name, _, z in expected if name == "LIDC-IDRI-0001"
    ]


def test_masks_keep_their_area_and_place(store: Store, records: dict[int, ScanRecord]) -> None:
    rows = [row for row in store.index if row["case"] == "LIDC-IDRI-0001"]
    masks = store.masks(np.array([int(row["row"]) for row in rows]))
    volumes = [mark_volume(mark, (slice(0, 512), slice(0, 512))) for mark in marks(12)]
    before = sum(plane.sum() for volume in volumes for plane in volume.values())
    assert masks.sum() * 0.25 == pytest.approx(before * records[12].pixel_spacing_mm ** 2, rel=0.002)
    for row, crop in zip(rows, masks, strict=True):
        for volume, mask in zip(volumes, crop, strict=True):
            plane = volume.get(float(row["z_mm"]), np.zeros((512, 512), bool))
            spacing = float(row["spacing_y_mm"])
            assert mask.sum() * 0.25 == pytest.approx(plane.sum() * spacing**2, rel=0.02, abs=2)
            if plane.any():
                centre = np.array([float(row["centre_y_px"]), float(row["centre_x_px"])])
                expected = (np.argwhere(plane).mean(0) - centre) * spacing
                assert (np.argwhere(mask).mean(0) - 89.5) * 0.5 == pytest.approx(expected, abs=0.1)


def test_masks_of_a_nodule_stack_to_its_readers_volumes(store: Store, records: dict[int, ScanRecord]) -> None:
    """Mask r is one reader's on all slices: its volume is that of the mark's outlines."""
    assert keeps_readers(store)
    found = [lesion for lesion in lesions_of(store, store.rows("all")) if lesion.case == "LIDC-IDRI-0001"]
    (nodule,) = nodules(records[12], marks(12))
    volumes = [mark_volume(mark, (slice(0, 512), slice(0, 512))) for mark in nodule.marks]
    (lesion,) = found
    assert lesion.step_mm == 2.5
    assert lesion.voxel_mm3 == pytest.approx(2.5 * 0.25)
    for reader, planes in enumerate(volumes):
        pixels = sum(plane.sum() for plane in planes.values())
        voxels = store.masks(lesion.rows)[:, reader].sum()
        assert voxels * 0.25 == pytest.approx(pixels * records[12].pixel_spacing_mm ** 2, rel=0.01)


def test_images_are_the_scans_pixels_in_place(
    store: Store, records: dict[int, ScanRecord], slice_pixels: Callable[..., np.ndarray]
) -> None:
    row = store.index[0]
    plane = slice_pixels((512, 512), float(row["z_mm"]))
    spacing = float(row["spacing_y_mm"])
    y, x = (float(row[f"centre_{axis}_px"]) + (np.arange(180) - 89.5) * 0.5 / spacing for axis in "yx")
    nearest = plane[np.rint(y).astype(int)[:, None], np.rint(x).astype(int)]
    assert np.abs(store.images(np.arange(1))[0, 0] - nearest).max() < 25  # the pattern's slope is below 22 HU a pixel


def test_absent_readers_masks_are_empty_and_last(store: Store) -> None:
    for row, masks in zip(store.index, store.masks(np.arange(len(store))), strict=True):
        readers = len(row["marks"].split(";"))
        assert not masks[readers:].any()
        assert row["readers"] == "1111"
        assert all(len(row[name].split(";")) == readers for name in (*RATINGS, "diameter_mm"))


def test_a_reader_who_drew_pieces_has_one_mask(store: Store, records: dict[int, ScanRecord]) -> None:
    (joined,) = {row["marks"] for row in store.index if "+" in row["marks"]}
    assert joined == "572;577+579;584+585;588"
    assert store.manifest.counts["nodules with more than four marks, joined by reader"] == 1


def test_a_nodules_slices_have_one_centre(store: Store) -> None:
    centres: dict[tuple[str, str], set[str]] = {}
    for row in store.index:
        centres.setdefault((row["case"], row["lesion"]), set()).add(row["centre_y_px"])
    assert all(len(each) == 1 for each in centres.values())
    assert len(centres) == store.manifest.counts["nodules"]


def test_all_slices_over_the_nodules_height(
    tmp_path: Path, records: dict[int, ScanRecord], write_series: WriteSeries
) -> None:
    scan = records[66]
    write_series(tmp_path / "dicom", scan, scan.z_mm[(scan.z_mm >= _drawn(66)[0]) & (scan.z_mm <= _drawn(66)[-1])])
    rows = Store.open(_run(tmp_path, slices="all").store).index
    for nodule in nodules(scan, marks(66)):
        heights = [line.z_mm for mark in nodule.marks for line in mark.contours]
        expected = scan.z_mm[(scan.z_mm >= min(heights)) & (scan.z_mm <= max(heights))]
        assert [float(row["z_mm"]) for row in rows if row["lesion"] == str(nodule.number)] == expected.tolist()


def test_size_and_spacing(tmp_path: Path, one_scan: list[Path]) -> None:
    store = Store.open(_run(tmp_path, size=64, spacing_mm=1.0).store)
    assert (store.size, store.spacing_mm) == ((64, 64), 1.0)


def test_turned_images_are_turned_back(
    tmp_path: Path, records: dict[int, ScanRecord], write_series: WriteSeries
) -> None:
    def prone(dataset: Dataset, _: int) -> None:
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]

    write_series(tmp_path / "a", records[12], _drawn(12)[:1])
    write_series(tmp_path / "b", records[12], _drawn(12)[:1], edit=prone)
    write_series(tmp_path / "rest", records[12], _drawn(12)[1:])
    stores = []
    for which in "ab":
        root = tmp_path / f"root-{which}"
        shutil.copytree(tmp_path / which, root / "first")
        shutil.copytree(tmp_path / "rest", root / "rest")
        (root / "rest").mkdir(exist_ok=True)
        if which == "b":
            for path in (root / "rest").iterdir():
                dataset = pydicom.dcmread(path)
                prone(dataset, 0)
                dataset.save_as(path)
        stores.append(Store.open(preprocess_lidc(root, tmp_path / f"lidc-{which}", workers=1).store))
    rows = np.arange(len(stores[0]))
    assert np.array_equal(stores[0].images(rows)[..., ::-1, ::-1], stores[1].images(rows))
    assert np.array_equal(stores[0].masks(rows)[..., ::-1, ::-1], stores[1].masks(rows))


def test_processes_change_nothing_and_nothing_is_left(archive: Path, report: LidcReport, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    again = preprocess_lidc(archive, tmp_path / "lidc", workers=2, on_progress=lambda *at: seen.append(at))
    assert _bytes(again.store) == _bytes(report.store)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [path.name for path in tmp_path.iterdir()] == ["lidc"]


@pytest.mark.exhaustive
def test_a_dask_cluster_makes_the_same_store(archive: Path, report: LidcReport, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    from ambiseg.preprocessing.work.dask_cluster import DaskCluster

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=60
    ) as cluster:
        again = preprocess_lidc(archive, tmp_path / "lidc", workers=DaskCluster(cluster.scheduler_address))
        assert not cluster.scheduler.clients.keys() - {"fire-and-forget"}, "the connection ends with the work"
    assert _bytes(again.store) == _bytes(report.store)
    assert [path.name for path in tmp_path.iterdir()] == ["lidc"]


def test_patients_are_split_by_a_file(archive: Path, tmp_path: Path, records: dict[int, ScanRecord]) -> None:
    names = [records[scan_id].patient for scan_id in SCANS]
    file = tmp_path / "splits.csv"
    file.write_text(
        "patient,split\n"
        + "".join(f"{name},{split}\n" for name, split in zip(names, ("test", "val", "train"), strict=True))
    )
    store = Store.open(preprocess_lidc(archive, tmp_path / "lidc", split_file=file, workers=1).store)
    assert {(row["patient"], row["split"]) for row in store.index} == set(
        zip(names, ("test", "val", "train"), strict=True)
    )
    file.write_text(f"patient,split\n{names[0]},train\n")
    with pytest.raises(DataError, match=r"no split for 2 patients, such as LIDC-IDRI-\d+"):
        preprocess_lidc(archive, tmp_path / "lidc", split_file=file, workers=1)


def _truncate(paths: list[Path]) -> None:
    paths[2].write_bytes(paths[2].read_bytes()[:-1000])


def _remove(paths: list[Path]) -> None:
    paths[1].unlink()
    paths[2].unlink()


def _tilt(paths: list[Path]) -> None:
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0.9, -0.436]
        dataset.save_as(path)


def _other_image_at_one_place(paths: list[Path]) -> None:
    dataset = pydicom.dcmread(paths[3])
    dataset.InstanceNumber = 99
    dataset.SOPInstanceUID = generate_uid()
    dataset.PixelData = dataset.PixelData[::-1]
    dataset.save_as(paths[3].with_name("again.dcm"))


def _shrink(paths: list[Path]) -> None:
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.Rows, dataset.Columns = 256, 256
        dataset.PixelData = dataset.PixelData[: 256 * 256 * 2]
        dataset.save_as(path)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_truncate, "000002.dcm is cut short or damaged"),
        (
            _remove,
            r"2 of the 9 slices on which readers drew are missing \(the first at z = -122.5 mm; 7 of the scan's 133",
        ),
        (_tilt, "not axial"),
        (_other_image_at_one_place, "different images lie at one place, z = -117.5 mm"),
        (_shrink, "256 x 256 pixels, but readers drew beyond them"),
    ],
)
def test_a_bad_scan_is_reported_and_the_rest_goes_on(
    tmp_path: Path,
    records: dict[int, ScanRecord],
    write_series: WriteSeries,
    one_scan: list[Path],
    spoil: Callable[[list[Path]], None],
    reason: str,
) -> None:
    write_series(tmp_path / "dicom" / "good", records[267], _drawn(267))
    spoil(one_scan)
    report = _run(tmp_path)
    assert [failure.case for failure in report.failures] == ["LIDC-IDRI-0001"]
    with report.failures_file.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["case"], row["series_uid"]) == ("LIDC-IDRI-0001", records[12].series_uid)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(row["reason"])
    assert {row["patient"] for row in Store.open(report.store).index} == {records[267].patient}
    shutil.rmtree(tmp_path / "dicom")
    write_series(tmp_path / "dicom", records[12], _drawn(12))
    assert _run(tmp_path).failures == []
    assert not report.failures_file.exists()


def test_only_bad_scans(tmp_path: Path, one_scan: list[Path]) -> None:
    _truncate(one_scan)
    with pytest.raises(InputError, match=r"Of 1 scan .* the first: 000002.dcm is cut short .*lidc-failures.csv"):
        _run(tmp_path)
    assert not (tmp_path / "lidc").exists()
    assert (tmp_path / "lidc-failures.csv").is_file()


def test_a_broken_header_and_a_foreign_series_do_not_matter(
    tmp_path: Path, records: dict[int, ScanRecord], write_series: WriteSeries, one_scan: list[Path]
) -> None:
    def foreign(dataset: Dataset, _: int) -> None:
        dataset.SeriesInstanceUID = "1.2.3"

    write_series(tmp_path / "other", records[12], [0.0], (8, 8), foreign)[0].rename(tmp_path / "dicom" / "foreign.dcm")
    (tmp_path / "dicom" / "cut.dcm").write_bytes(one_scan[0].read_bytes()[:400])
    report = _run(tmp_path)
    assert report.crops == 9
    assert [failure.reason for failure in report.failures] == [
        "cut.dcm is a DICOM file whose header cannot be read: get it again."
    ]
    assert report.counts["series not of LIDC-IDRI"] == 1


def test_what_is_no_slice_does_not_fail_a_scan(tmp_path: Path, one_scan: list[Path]) -> None:
    for name in ("localizer", "sheet", "palette"):
        dataset = pydicom.dcmread(one_scan[0])
        dataset.SOPInstanceUID = generate_uid()
        if name == "palette":
            dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = ColorPaletteStorage
            del dataset.SeriesInstanceUID, dataset.PixelData
        elif name == "sheet":
            dataset.Rows, dataset.Columns, dataset.PixelData = 2, 2, bytes(8)
            del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
        else:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dataset.save_as(tmp_path / "dicom" / f"{name}.dcm")
    report = _run(tmp_path)
    assert (report.crops, report.failures) == (9, [])
    assert report.counts["files that are not DICOM images"] == 1


def test_positions_in_tenths_are_found(
    tmp_path: Path, records: dict[int, ScanRecord], write_series: WriteSeries
) -> None:
    def in_tenths(dataset: Dataset, _: int) -> None:
        dataset.ImagePositionPatient = [f"{float(value):.1f}" for value in dataset.ImagePositionPatient]

    write_series(tmp_path / "dicom", records[15], _drawn(15), edit=in_tenths)
    assert any(round(z, 1) != z for z in _drawn(15))
    report = _run(tmp_path)
    assert report.failures == []
    assert {float(row["z_mm"]) for row in Store.open(report.store).index} <= set(_drawn(15))


def test_synthetic_pixels_are_named(tmp_path: Path, records: dict[int, ScanRecord], write_series: WriteSeries) -> None:
    def comment(dataset: Dataset, _: int) -> None:
        dataset.ImageComments = "SYNTHETIC pixels"

    write_series(tmp_path / "dicom", records[12], _drawn(12), edit=comment)
    assert _run(tmp_path).counts["synthetic pixels"] == "yes"


def test_nothing_to_do(tmp_path: Path, records: dict[int, ScanRecord], write_series: WriteSeries) -> None:
    with pytest.raises(InputError, match="No folder"):
        _run(tmp_path)
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match=r"No LIDC-IDRI scan .* 0 other DICOM series and 1 files that are not DICOM"):
        _run(tmp_path)
    write_series(tmp_path / "dicom", records[520], records[520].z_mm[:2], (8, 8))
    with pytest.raises(InputError, match=r"Of 1 LIDC-IDRI scan .* none has a nodule"):
        _run(tmp_path)


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"spacing_mm": 0.0}, {"spacing_mm": float("nan")}, {"slices": "some"}]
)
def test_settings_that_make_no_sense(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"expected|give a size"):
        _run(tmp_path, **options)


def test_another_thing_in_the_stores_place_is_left_alone(tmp_path: Path, one_scan: list[Path]) -> None:
    (tmp_path / "lidc").mkdir()
    (tmp_path / "lidc" / "thesis.tex").touch()
    with pytest.raises(InputError, match="exists and is no dataset store"):
        _run(tmp_path)
    assert (tmp_path / "lidc" / "thesis.tex").exists()


def test_the_default_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("home", "work", "configured"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AMBISEG_LIDC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(InputError, match="No DICOM folder given"):
        default_root()
    (tmp_path / "work" / "LIDC-IDRI").mkdir()
    assert default_root() == Path("LIDC-IDRI")
    (tmp_path / "home" / ".pylidcrc").write_text(f"[dicom]\npath = {tmp_path / 'configured'}\n")
    assert default_root() == tmp_path / "configured"
    monkeypatch.setenv("AMBISEG_LIDC_ROOT", str(tmp_path))
    assert default_root() == tmp_path
    assert [path.name for path in (tmp_path / "home").iterdir()] == [".pylidcrc"]


SLOWLY = """
import sys, time
from pathlib import Path
from ambiseg.preprocessing.lidc.lidc_store import preprocess_lidc

if __name__ == "__main__":
    preprocess_lidc(Path(sys.argv[1]), Path(sys.argv[2]), workers=2, on_progress=lambda done, _: time.sleep(60 * (done > 1)))
"""


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the worker processes under /proc")
def test_a_killed_run_goes_on_where_it_was(archive: Path, report: LidcReport, tmp_path: Path) -> None:
    script = tmp_path / "slowly.py"
    script.write_text(SLOWLY)
    partial = tmp_path / "lidc.partial"
    run = subprocess.Popen([sys.executable, script, archive, tmp_path / "lidc"])
    deadline = time.monotonic() + 300  # a busy machine needs more than a minute
    while len(list(partial.glob("[!.]*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = _children(run.pid)
    run.send_signal(signal.SIGKILL)
    run.wait()
    _wait_for_end(workers)  # which may finish their scan before they notice
    assert not (tmp_path / "lidc").exists()
    finished = list(partial.glob("[!.]*.npz"))
    assert len(finished) >= 2
    done_now: list[tuple[int, int]] = []
    again = preprocess_lidc(archive, tmp_path / "lidc", workers=1, on_progress=lambda *at: done_now.append(at))
    assert done_now[0] == (len(finished), 3)
    assert _bytes(again.store) == _bytes(report.store)
    assert not partial.exists()


def _wait_for_end(processes: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() and _state(pid) != "Z" for pid in processes):
        assert time.monotonic() < deadline, "workers outlive the killed run"
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"
