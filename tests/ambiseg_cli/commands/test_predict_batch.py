"""`ambiseg predict` on a folder: what kills or blocks one scan costs only that scan, and a killed batch continues."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import nibabel as nib
import numpy as np
import pytest
import torch

from ambiseg.models.cohort.batch_folder import earlier_batch
from ambiseg.models.core.predictive import Predictive
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.files import only_writer
from tests.conftest import ThresholdModel

Command = Callable[..., tuple[int, str, str]]
AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])
POINT = "-20,-20,20"
HARMLESS, DEADLY, ENDLESS = 200, 400, 320  # HU of the brightest voxels; the model sees -1000 to 400


class Treacherous(ThresholdModel):
    """A model that ends its process, or never ends, where a scan has certain values: what a fault in native code does."""

    def forward(self, image: torch.Tensor) -> Predictive:
        """Thresholds, if it comes so far."""
        brightest = 1400 * float(image.max()) - 1000
        if abs(brightest - DEADLY) < 30:
            os.abort()
        if abs(brightest - ENDLESS) < 30:
            time.sleep(600)
        return super().forward(image)


def save(path: str, brightest: int = HARMLESS) -> None:
    place = np.moveaxis(np.indices((44, 40, 20)), 0, -1) - (20, 20, 10)
    array = np.clip(600 - 100 * np.linalg.norm(place * (1, 1, 2), axis=-1), -1000, brightest)
    Path(path).parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(array.astype(np.int16), AFFINE), path)


def points(*names: str) -> tuple[str, ...]:
    Path("points.csv").write_text("scan,x,y,z\n" + "".join(f"{name},{POINT}\n" for name in names))
    return "predict", "scans", "--points", "points.csv", "--draws", "16", "-o", "out"


def states(folder: str) -> dict[str, str]:
    held = earlier_batch(Path(folder))
    return {name: state.ending for name, state in held.states(held.names())}


def files(folder: str) -> dict[str, bytes]:
    found = (file for file in Path(folder).rglob("*") if file.is_file() and file.name != "run.json")
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}


@pytest.fixture
def treacherous(known_model: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    trained = replace(known_model(crop=32, spacing_mm=1.0), method=Treacherous())
    monkeypatch.setattr("ambiseg.models.runs.trained.load_trained", lambda path, device, **choice: trained)


@pytest.mark.drawn
@pytest.mark.usefixtures("treacherous")
def test_a_scan_that_kills_the_process_costs_itself_and_the_rest_is_as_if_alone(ambiseg: Command) -> None:
    for name, brightest in (("a", HARMLESS), ("b", DEADLY), ("c", HARMLESS)):
        save(f"scans/{name}.nii.gz", brightest)
    code, _, err = ambiseg(*points("a", "b", "c"))
    assert (code, "1 of 3 scans failed" in err) == (5, True)
    assert states("out") == {"a": "done", "b": "failed", "c": "done"}
    assert "ended the process that worked on it (SIGABRT)" in Path("out/failures.csv").read_text()
    assert (
        ambiseg("predict", "scans/c.nii.gz", "--at", POINT, "--draws", "16", "-o", "alone", "--report", "shared")[0]
        == 0
    )
    assert files("alone") == files("out/c")
    assert files("report-files") == files("out/report-files")
    save("scans/b.nii.gz")
    before = Path("out/a/run.json").stat().st_mtime_ns
    assert ambiseg(*points("a", "b", "c"))[0] == 0
    assert Path("out/a/run.json").stat().st_mtime_ns == before
    assert not Path("out/failures.csv").exists()


@pytest.mark.usefixtures("treacherous")
def test_a_scan_without_end_does_not_hold_the_next(ambiseg: Command) -> None:
    for name in ("a", "b"):
        save(f"scans/{name}.nii.gz", ENDLESS)
    code, _, err = ambiseg(*points("a", "b"), "--time-limit", "0.05")
    assert (code, "2 of 2 scans failed" in err) == (5, True)
    assert states("out") == {"a": "failed", "b": "failed"}
    assert Path("out/failures.csv").read_text().count("took longer than 0.05 min and was stopped") == 2


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another worker that writes `path`."""
    taken, done = Event(), Event()

    def hold() -> None:
        with only_writer(path):
            taken.set()
            done.wait(60)

    other = Thread(target=hold)
    other.start()
    assert taken.wait(10)
    try:
        yield
    finally:
        done.set()
        other.join()


@pytest.mark.usefixtures("known_model")
def test_a_folder_that_another_process_writes_is_left_to_it_before_any_work(
    ambiseg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("there was work")

    monkeypatch.setattr("ambiseg.models.results.folder.predict_scan", work)
    save("scans/a.nii.gz")
    save("scans/b.nii.gz")
    with held(Path("out")):
        code, _, err = ambiseg("predict", "scans/a.nii.gz", "--at", POINT, "-o", "out")
        assert (code, "Another process is writing out, since" in " ".join(err.split())) == (
            2,
            True,
        )
    assert not Path("out").exists()
    Path("out").mkdir()
    with held(Path("out/part-1-of-1")):
        code, _, err = ambiseg(*points("a", "b"))
        assert (code, "Another process is writing out, since" in " ".join(err.split())) == (2, True)
    assert list(Path("out").iterdir()) == []


@pytest.mark.usefixtures("known_model")
def test_what_a_killed_process_left_blocks_nobody(ambiseg: Command) -> None:
    save("scans/a.nii.gz")
    save("scans/b.nii.gz")
    for leftover in ("out/.writing-a", "out/.old-b", ".writing-out", "scans/.writing-c"):
        Path(leftover).mkdir(parents=True)
        Path(leftover, "hyp_01.nii.gz").write_bytes(b"half")
    for lock in (".lock-out", "out/.lock-a", "out/.lock-batch.json", "out/.lock-part-1-of-1"):
        Path(lock).touch()
    assert ambiseg(*points("a", "b"))[0] == 0
    assert {"a", "b", "batch.json"} <= {path.name for path in Path("out").iterdir()}
    assert not [name for name in files("out") if name.startswith((".writing", ".lock"))]
    Path("single/.writing-report.html").mkdir(parents=True)
    assert ambiseg("predict", "scans/a.nii.gz", "--at", POINT, "--draws", "16", "-o", "single")[0] == 0


@pytest.mark.usefixtures("known_model")
def test_what_is_missing_is_told_at_the_end(ambiseg: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TypeError("Object of type int64 is not JSON serializable")

    save("scan.nii.gz")
    monkeypatch.setattr("ambiseg.models.results.folder.write_report", fail)
    code, out, err = ambiseg("predict", "scan.nii.gz", "--at", POINT, "--draws", "16", "-o", "out", "--json")
    said = " ".join(err.split())
    assert code == 5
    assert "report.html could not be made: TypeError, a bug in ambiseg" in said
    assert "out lacks what the warnings above name; all masks, maps and numbers are there" in said
    assert json.loads(out) == json.loads(Path("out/hypotheses.json").read_text())
    assert Path("out/hyp_01.nii.gz").is_file()


MOMENTS = (
    "out/.writing-a/hyp_01.nii.gz",
    *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("out/batch.json", "out/a/report.html")),
)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_batch_that_is_killed_at_any_moment_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Killed as soon as something is there, by a signal that nobody can catch; the same command ends as if nothing had been."""
    monkeypatch.chdir(tmp_path)
    save("scans/a.nii.gz")
    save("scans/b.nii.gz")
    command = [sys.executable, "-m", "ambiseg", *points("a", "b"), "--model", "lidc-gated", "--device", "cpu"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not Path(moment).exists():
        assert first.poll() is None, f"the command ended before {moment} was there"
        time.sleep(0.002)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert states("out") == {"a": "done", "b": "done"}
    assert {path.name for path in Path("out").iterdir()} - {"results.parquet", "lesions.parquet"} == {
        "a", "b", "batch.json", "cases.jsonl", "report-files", "results.csv", "lesions.csv", "tables.json", "index.html",
        "overview",
    }  # fmt: skip
    found = files("out/a")
    assert {"hypotheses.json", "report.html", "preview.png"} <= set(found)
    assert found == files("out/b")  # the same scan under another name: the same bytes
