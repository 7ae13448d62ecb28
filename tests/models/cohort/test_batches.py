"""Batches: what is skipped, what fails, and what a second call does."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ambiseg.models.cohort.batch_folder import earlier_batch
from ambiseg.models.cohort.batches import Batch, asked_of, engine_on, predict_batch
from ambiseg.models.prediction.inference import Ranking
from ambiseg.models.prediction.places import Places
from ambiseg.models.prediction.predict_scan import Request
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import DataError, Interrupted, NothingFound, UsageError
from ambiseg.preprocessing.scans.cases import Case
from ambiseg.preprocessing.work.engine import CannotStart, Engine, InProcess, always
from ambiseg.preprocessing.work.local_processes import LocalProcesses

from .conftest import write_made

CASES = [Case(name, Path(f"{name}.nii")) for name in ("a", "b", "c", "d")]


class Batches:
    """Batches of four cases, of which c is damaged and d breaks the program; `seen` are those predicted last."""

    def __init__(self, trained: Trained, folder: Path):
        self.trained, self.folder = trained, folder
        self.broken: dict[str, Exception] = {
            "c": DataError("c.nii is cut short: get it again."),
            "d": ZeroDivisionError("division by zero"),
        }
        self.missing: dict[str, list[str]] = {}
        self.seen: list[str] = []
        self.hash = ""

    def run(self, request: Request = Request(), **choice: Any) -> Batch:
        self.seen.clear()
        self.hash = asked_of(self.trained, request).sha256
        return predict_batch(
            self.trained, CASES, self.folder, request, always(self.predict), engine=InProcess(), **choice
        )

    def predict(self, work: tuple[Case, Path]) -> list[str]:
        case, folder = work
        self.seen.append(case.name)
        if case.name in self.broken:
            raise self.broken[case.name]
        shutil.rmtree(folder, ignore_errors=True)
        write_made(folder, self.hash, missing=self.missing.get(case.name, []))
        return self.missing.get(case.name, [])

    def states(self) -> dict[str, str]:
        held = earlier_batch(self.folder)
        return {name: state.ending for name, state in held.states(held.names())}


@pytest.fixture
def batches(tmp_path: Path, threshold_model: Callable[..., Trained]) -> Batches:
    return Batches(threshold_model(), tmp_path / "out")


def test_a_failure_is_written_down_and_the_rest_goes_on(batches: Batches) -> None:
    batch = batches.run()
    assert (batch.done, batch.skipped) == (["a", "b"], [])
    assert batches.states() == {"a": "done", "b": "done", "c": "failed", "d": "failed"}
    with (batches.folder / "failures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"case": "c", "kind": "data", "reason": "c.nii is cut short: get it again."},
        {
            "case": "d",
            "kind": "bug",
            "reason": "Unexpected error (ZeroDivisionError), a bug in ambiseg: predict this scan alone.",
        },
    ]


def test_what_is_done_is_skipped_and_what_failed_is_tried_again(batches: Batches) -> None:
    batches.run()
    del batches.broken["c"]
    batch = batches.run()
    assert batches.seen == ["c", "d"]
    assert (batch.done, batch.skipped) == (["c"], ["a", "b"])
    batches.broken.clear()
    batches.run()
    assert batches.seen == ["d"]
    assert set(batches.states().values()) == {"done"}
    assert not (batches.folder / "failures.csv").exists()
    (batches.folder / "a" / "hypotheses.json").unlink()
    batches.run()
    assert batches.seen == ["a"]


def test_a_case_with_nothing_to_predict_is_no_failure(batches: Batches) -> None:
    batches.broken["b"] = NothingFound("The lungs hold nothing that looks like a lesion.")
    for batch in (batches.run(), batches.run()):
        assert batch.nothing == {"b": "The lungs hold nothing that looks like a lesion."}
        assert {failure.case for failure in batch.failures} == {"c", "d"}
        assert batches.states() == {"a": "done", "b": "nothing", "c": "failed", "d": "failed"}
    assert batches.seen == ["c", "d"]  # what failed alone is tried again
    fewer = predict_batch(
        batches.trained, CASES[:1], batches.folder, Request(), always(batches.predict), engine=InProcess()
    )
    assert (fewer.skipped, fewer.nothing) == (["a"], {})  # b is not asked for
    assert batches.states() == {"a": "done"}
    del batches.broken["b"]
    assert batches.run(overwrite=True).nothing == {}
    assert batches.states()["b"] == "done"


def test_an_interrupted_batch_goes_on(batches: Batches) -> None:
    batches.broken = {"c": KeyboardInterrupt()}  # type: ignore[dict-item]
    with pytest.raises(KeyboardInterrupt):
        batches.run()
    assert batches.states() == {"a": "done", "b": "done", "c": "waiting", "d": "waiting"}
    batches.broken.clear()
    batches.run()
    assert batches.seen == ["c", "d"]


@pytest.mark.parametrize("error", [CannotStart("There is no process to work in."), Interrupted("Stopped.")])
def test_what_no_case_is_to_blame_for_ends_the_batch(batches: Batches, error: Exception) -> None:
    batches.broken = {"b": error}
    with pytest.raises(type(error)):
        batches.run()
    assert batches.states() == {"a": "done", "b": "waiting", "c": "waiting", "d": "waiting"}


def test_another_request_is_refused_unless_all_is_done_again(batches: Batches) -> None:
    batches.run()
    other = Request(ranking=Ranking(top=3))
    with pytest.raises(UsageError, match=r"predictions by another model or with other settings.*`overwrite`"):
        batches.run(other)
    batches.run(other, overwrite=True)
    assert batches.seen == ["a", "b", "c", "d"]


def test_the_folder_is_a_batchs_before_its_first_case_is_begun(batches: Batches) -> None:
    """So that after a kill at any moment the same call can continue."""
    seen: list[dict[str, str]] = []

    def predict(work: tuple[Case, Path]) -> list[str]:
        seen.append(batches.states())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_batch(batches.trained, CASES, batches.folder, Request(), always(predict), engine=InProcess())
    assert seen == [dict.fromkeys("abcd", "waiting")]
    batches.broken.clear()
    assert batches.run().done == ["a", "b", "c", "d"]


def test_all_is_waiting_again_before_all_is_predicted_again(batches: Batches) -> None:
    """Else what a killed call left of other settings would count as done by the former ones."""
    batches.broken.clear()
    batches.run()
    batches.broken = {"b": KeyboardInterrupt()}  # type: ignore[dict-item]
    with pytest.raises(KeyboardInterrupt):
        batches.run(Request(ranking=Ranking(top=3)), overwrite=True)
    with pytest.raises(UsageError, match="another model or with other settings"):
        batches.run()
    batches.broken.clear()
    batches.run(Request(ranking=Ranking(top=3)))
    assert batches.seen == ["b", "c", "d"]


def test_a_folder_with_nothing_but_what_a_killed_process_left_is_taken(batches: Batches) -> None:
    batches.folder.mkdir()
    (batches.folder / ".writing-batch.json").write_text("{")
    (batches.folder / ".lock-batch.json").touch()
    batches.broken.clear()
    assert batches.run().done == ["a", "b", "c", "d"]


def test_a_case_that_lacks_something_is_done_and_told_every_time(batches: Batches) -> None:
    batches.broken.clear()
    batches.missing = {"b": ["preview.png could not be made: out of ink."]}
    for done, skipped in ((["a", "b", "c", "d"], []), ([], ["a", "b", "c", "d"])):
        batch = batches.run()
        assert (batch.done, batch.skipped, batch.incomplete) == (done, skipped, batches.missing)
        assert set(batches.states().values()) == {"done"}
    shutil.rmtree(batches.folder / "b")  # the request to make it again
    batches.missing = {}
    batch = batches.run()
    assert (batches.seen, batch.incomplete) == (["b"], {})


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"schema": 1}', b"\xff\xfe", b'{"schema": 1, "asked_sha256": 3}', b'{"asked": {"about": "mo'],
)
def test_a_damaged_manifest_is_named_and_overwritten_on_request(batches: Batches, content: bytes) -> None:
    batches.broken.clear()
    batches.run()
    (batches.folder / "batch.json").write_bytes(content)
    with pytest.raises(
        DataError, match=r"batch.json is damaged.*restore it, or predict all cases again with `overwrite`"
    ):
        batches.run()
    assert batches.run(overwrite=True).done == ["a", "b", "c", "d"]


def test_what_speaks_of_one_scan_is_refused(batches: Batches) -> None:
    with pytest.raises(UsageError, match="`at` and `series` can only be given for a single scan"):
        batches.run(Request(Places(at=[(1, 2, 3)]), series="2"))
    assert not batches.seen


def test_a_folder_of_other_things_and_a_damaged_manifest(batches: Batches) -> None:
    batches.folder.mkdir()
    (batches.folder / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="exists and is not an earlier batch"):
        batches.run()
    (batches.folder / "batch.json").write_text("{broken")
    with pytest.raises(DataError, match=r"batch.json is damaged.*`overwrite`"):
        batches.run()


@pytest.mark.parametrize(
    ("device", "workers", "expected"),
    [
        ("cpu", None, LocalProcesses()),
        ("cpu", 3, LocalProcesses(3)),
        ("cuda", None, LocalProcesses(None, ("2", "5"))),
        ("cuda", 1, LocalProcesses(1, ("2", "5"))),
        ("cuda:1", None, LocalProcesses(1)),
        ("cuda", InProcess(), None),
    ],
)
def test_each_device_has_a_process(
    device: str, workers: int | Engine | None, expected: Engine | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert engine_on(workers, torch.device(device)) == (expected or workers)
