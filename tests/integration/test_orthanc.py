"""A PACS takes all kinds of objects and gives them back: Orthanc, by C-STORE, DICOMweb and its REST interface."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email import message_from_bytes
from email.policy import HTTP
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from ambiseg.preprocessing.exports.dicom_pm import write_dicom_pm
from ambiseg.preprocessing.exports.dicom_sc import write_dicom_sc
from ambiseg.preprocessing.exports.dicom_seg import write_dicom_seg
from ambiseg.preprocessing.exports.dicom_sr import Measured, Number, write_dicom_sr
from ambiseg.preprocessing.exports.segments import NewSeries, Segment
from ambiseg.preprocessing.lidc.annotations import ScanRecord, scans
from ambiseg.preprocessing.phantom.images import slice_dataset, write_slice
from ambiseg.preprocessing.scans.scan import open_scan

ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
STORESCU = shutil.which("storescu")
DICOMWEB = [
    Path(folder, "libOrthancDicomWeb.so") for folder in ("/usr/share/orthanc/plugins", "/usr/lib/orthanc/plugins")
]
PLUGIN = next((path for path in DICOMWEB if path.exists()), None)
SLICES = 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ORTHANC and STORESCU and PLUGIN), reason="needs Orthanc, its DICOMweb plugin and storescu (dcmtk)"
    ),
]


@dataclass(frozen=True)
class Pacs:
    """A running Orthanc, on this machine only."""

    http: int
    dicom: int

    def get(self, path: str, accept: str = "application/json") -> tuple[bytes, str]:
        """The body and the content type of what lies under a path."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", headers={"Accept": accept})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            return answer.read(), answer.headers["Content-Type"]

    def json(self, path: str) -> Any:
        """What lies under a path."""
        return json.loads(self.get(path)[0])

    def store(self, folder: Path) -> int:
        """C-STORE all files of a folder; how many the PACS said it took."""
        assert STORESCU is not None
        command = [STORESCU, "-v", "+sd", "-R", "-aec", "ORTHANC", "127.0.0.1", str(self.dicom), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return (done.stdout + done.stderr).count("Received Store Response (Success)")


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    folder = tmp_path_factory.mktemp("orthanc")
    running = Pacs(*_free_ports())
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": running.http,
        "HttpBindAddresses": ["127.0.0.1"],
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomPort": running.dicom,
        "DicomAet": "ORTHANC",
        "DicomAlwaysAllowStore": False,
        "DicomAlwaysAllowEcho": False,
        "DicomModalities": {"sender": ["STORESCU", "127.0.0.1", 104]},
        "DicomCheckModalityHost": True,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(ORTHANC), str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder)
        try:
            _wait(running, process, folder / "log")
            yield running
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(pacs: Pacs, process: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            pacs.json("/system")
        except (URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"Orthanc did not start: {log.read_text()}")


@dataclass(frozen=True)
class Study:
    """A series of the phantom in `source`, and the objects derived from it in `objects`."""

    record: ScanRecord
    source: Path
    objects: Path
    masks: np.ndarray
    probability: np.ndarray


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    record = replace(next(iter(scans())), z_mm=np.arange(SLICES) * 2.5)
    (folder / "source").mkdir()
    rng = np.random.default_rng(3)
    for number in range(1, SLICES + 1):
        pixels = rng.integers(0, 1000, (64, 64)).astype(np.int16)
        write_slice(folder / "source", slice_dataset(record, number, pixels), f"{number:06d}")
    box = (slice(5, 15), slice(10, 50), slice(20, 60))
    masks = rng.random((3, 10, 40, 40)) < np.array([0.3, 0.5, 0.0]).reshape(3, 1, 1, 1)
    probability = masks.mean(0, dtype=np.float32)
    hypotheses = [Segment(f"Hypothesis {rank}, 30 %", f"Rank {rank}", box, mask) for rank, mask in enumerate(masks, 1)]
    made_by = {"model": "probunet-001", "version": "0.5.0"}
    about = {"series": NewSeries.of("SEG"), "lesion": 1, **made_by}
    objects = folder / "objects"
    with open_scan(folder / "source") as scan:
        write_dicom_seg(objects / "hypotheses.dcm", scan, hypotheses, instance=1, **about)
        marginal = [Segment("Probability of lesion", "", box, probability)]
        write_dicom_seg(objects / "probability.dcm", scan, marginal, fractional=True, instance=2, **about)
        write_dicom_pm(objects / "map.dcm", scan, marginal[0], series=NewSeries.of("PM"), instance=1, **made_by)
        picture = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
        shown = (slice(6, 7), *box[1:])
        write_dicom_sc(
            objects / "sc.dcm", scan, picture, shown, title="Test", series=NewSeries.of("SC"), instance=1, **made_by
        )
        volume = Number(("118565006", "SCT", "Volume"), 12.5, ("mm3", "UCUM", "cubic millimeter"))
        groups = [
            Measured(1, "Lesion 1", [volume]),
            Measured(1, "Hypothesis 1", [volume], seg=objects / "hypotheses.dcm"),
        ]
        write_dicom_sr(
            objects / "sr.dcm", scan, groups, series=NewSeries.of("SR"), tracked=about["series"].uid, **made_by
        )
    return Study(record, folder / "source", objects, masks, probability)


@pytest.fixture(scope="module")
def stored(pacs: Pacs, study: Study) -> dict[str, Dataset]:
    """The objects as they were written, by SOPInstanceUID, after everything was stored."""
    assert pacs.store(study.source) == SLICES
    assert pacs.store(study.objects) == 5
    return {each.SOPInstanceUID: each for each in map(pydicom.dcmread, sorted(study.objects.iterdir()))}


def test_they_sit_in_the_study_of_their_source(pacs: Pacs, study: Study, stored: dict[str, Dataset]) -> None:
    counts = pacs.json("/statistics")
    assert (counts["CountPatients"], counts["CountStudies"], counts["CountSeries"]) == (1, 1, 5)
    assert counts["CountInstances"] == SLICES + 5
    for modality, count in {"SEG": 1, "SR": 1, "OT": 2}.items():
        found = pacs.json(
            f"/dicom-web/studies/{study.record.study_uid}/series?Modality={modality}&includefield=0008103E"
        )
        expected = {each.SeriesInstanceUID for each in stored.values() if each.Modality == modality}
        assert {series["0020000E"]["Value"][0] for series in found} == expected
        assert len(expected) == count
        assert all("research only" in series["0008103E"]["Value"][0] for series in found)
    for uid in {each.SeriesInstanceUID for each in stored.values()}:
        instances = pacs.json(f"/dicom-web/studies/{study.record.study_uid}/series/{uid}/instances")
        expected = {key for key, each in stored.items() if each.SeriesInstanceUID == uid}
        assert {each["00080018"]["Value"][0] for each in instances} == expected
        assert {each["00100020"]["Value"][0] for each in instances} == {study.record.patient}


def test_dicomweb_gives_back_what_was_stored(pacs: Pacs, study: Study, stored: dict[str, Dataset]) -> None:
    for uid, seg in stored.items():
        path = f"/dicom-web/studies/{study.record.study_uid}/series/{seg.SeriesInstanceUID}/instances/{uid}"
        body, kind = pacs.get(path, 'multipart/related; type="application/dicom"')
        message = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body, policy=HTTP)
        (part,) = message.iter_parts()
        back = pydicom.dcmread(BytesIO(part.get_payload(decode=True)))
        _same(back, seg)


def test_the_stored_file_is_the_one_that_was_sent(pacs: Pacs, stored: dict[str, Dataset]) -> None:
    by_uid = {pacs.json(f"/instances/{key}")["MainDicomTags"]["SOPInstanceUID"]: key for key in pacs.json("/instances")}
    for uid, seg in stored.items():
        body, _ = pacs.get(f"/instances/{by_uid[uid]}/file", "application/dicom")
        _same(pydicom.dcmread(BytesIO(body)), seg)


def test_frames_are_served_one_by_one(pacs: Pacs, study: Study, stored: dict[str, Dataset]) -> None:
    """As a viewer in a browser asks for them; those of the fractional SEG are whole bytes."""
    seg = next(seg for seg in stored.values() if seg.get("SegmentationType") == "FRACTIONAL")
    key = next(key for key in pacs.json("/instances") if _uid(pacs, key) == seg.SOPInstanceUID)
    assert len(pacs.json(f"/instances/{key}/frames")) == seg.NumberOfFrames == 10
    frames = [np.frombuffer(pacs.get(f"/instances/{key}/frames/{n}/raw", "*/*")[0], np.uint8) for n in range(10)]
    expected = np.rint(study.probability * 255).astype(np.uint8)
    found = np.stack(frames).reshape(10, 64, 64)[:, 10:50, 20:60]
    order = [
        float(each.PlanePositionSequence[0].ImagePositionPatient[2]) for each in seg.PerFrameFunctionalGroupsSequence
    ]
    assert np.array_equal(found[np.argsort(order)], expected)


def _uid(pacs: Pacs, key: str) -> str:
    return pacs.json(f"/instances/{key}")["MainDicomTags"]["SOPInstanceUID"]


def _same(back: Dataset, sent: Dataset) -> None:
    for element in sent:
        assert back[element.tag] == element, element.keyword
    assert len(back) == len(sent)
