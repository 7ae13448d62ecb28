"""examples/studies/records.py: what a benchmark has measured is kept and taken up elsewhere, without weights."""

import json
from pathlib import Path

import pytest
import records

from ambiseg.preprocessing.documents import json_text

RUN = json_text({"data": {"path": "/home/somebody/data", "name": "made"}})


def made(folder: Path, *runs: str, finished: bool = True) -> Path:
    """A benchmark's folder."""
    for name in runs:
        run = folder / "runs" / name
        (run / "evaluation-val").mkdir(parents=True)
        for file in ("metrics.jsonl", "evaluation-val/cases.csv", "evaluation-val/summary.json"):
            (run / file).write_text(f"{file} of {name}")
        (run / "run.json").write_text(RUN)
        (run / "model.safetensors").write_bytes(b"weights")
        notes = {"evaluation-val": {"limit": 400, "seconds": 1.0}} if finished else {}
        (run / "benchmark.json").write_text(json.dumps(notes))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_finished_runs_go_elsewhere_without_their_weights(tmp_path: Path) -> None:
    here = made(tmp_path / "here", "gated-seed0", "mose-seed1")
    made(here, "ssn-seed0", finished=False)
    assert records.keep(here, tmp_path / "one.tar.xz") == ["gated-seed0", "mose-seed1"]
    assert records.take(tmp_path / "one.tar.xz", tmp_path / "there") == ["gated-seed0", "mose-seed1"]
    wanted = {name: text for name, text in files(here).items() if "ssn" not in name and "safetensors" not in name}
    assert files(tmp_path / "there") == {
        name: text.replace(b"/home/somebody/data", b"") for name, text in wanted.items()
    }
    records.keep(tmp_path / "there", tmp_path / "two.tar.xz")
    assert (tmp_path / "one.tar.xz").read_bytes() == (tmp_path / "two.tar.xz").read_bytes()


def test_runs_that_are_there_stay_as_they_are(tmp_path: Path) -> None:
    here = made(tmp_path / "here", "gated-seed0", "mose-seed1")
    records.keep(here, tmp_path / "kept.tar.xz")
    there = made(tmp_path / "there", "gated-seed0")
    (there / "runs" / "gated-seed0" / "metrics.jsonl").write_text("further")
    assert records.take(tmp_path / "kept.tar.xz", there) == ["mose-seed1"]
    assert (there / "runs" / "gated-seed0" / "metrics.jsonl").read_text() == "further"


def test_results_of_known_truth_are_kept(tmp_path: Path) -> None:
    here = made(tmp_path / "here", "gated-seed0", finished=False)
    (here / "mose-seed2").mkdir()
    for file in ("result.json", "metrics.jsonl", "model.safetensors"):
        (here / "mose-seed2" / file).write_text(file)
    (here / "mose-seed2" / "run.json").write_text(RUN)
    assert records.keep(here, tmp_path / "kept.tar.xz") == ["mose-seed2"]
    records.take(tmp_path / "kept.tar.xz", tmp_path / "there")
    assert set(files(tmp_path / "there")) == {"mose-seed2/run.json", "mose-seed2/result.json"}


def test_a_folder_without_finished_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no finished run"):
        records.keep(made(tmp_path / "here", "gated-seed0", finished=False), tmp_path / "kept.tar.xz")
    assert not (tmp_path / "kept.tar.xz").exists()
