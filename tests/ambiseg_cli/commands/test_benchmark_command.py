"""`ambiseg benchmark`: every command on tiny settings, what they print, and what they refuse."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ambiseg.models.methods.registry import methods
from ambiseg.preprocessing.store.store import Store

Command = Callable[..., tuple[int, str, str]]

TINY = ("--set", "data.crop=16", "--set", "batch=2", "--set", "options.widths=[4,6]", "--set", "options.convs=1")


def test_known_truth_prints_a_table_and_goes_on(ambiseg: Command, tmp_path: Path) -> None:
    words = ("benchmark", "known-truth", "-o", tmp_path / "kt", "--steps", 2, "--crops", 30, "--size", 16)
    code, printed, notes = ambiseg(*words, "--method", "mheads")
    assert code == 0
    lines = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("|")]
    assert lines[0] == "entry"
    assert lines[2:] == ["the truth itself", "mheads"]
    assert "mheads, seed 0: mode error" in notes
    assert "results.csv" in notes
    code, printed, _ = ambiseg(*words, "--method", "dropout", "--json")
    assert code == 0
    assert [row["entry"] for row in json.loads(printed)] == ["dropout", "mheads"]
    assert {file.name for file in (tmp_path / "kt").glob("results.*")} == {
        "results.csv",
        "results.json",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "unet"), "No benchmark entry 'unet'"),
        (("--seeds", "0,x"), "seeds '0,x' are not understood"),
    ],
)
def test_known_truth_refuses(ambiseg: Command, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    code, _, notes = ambiseg("benchmark", "known-truth", "-o", tmp_path / "kt", *words)
    assert code == 2
    assert message in notes
    assert not (tmp_path / "kt").exists()


def lidc(store: Store, folder: Path, *words: object) -> tuple[object, ...]:
    tiny = (*TINY, "--set", "batch=4", "--set", "validation.every=2", "--steps", 4, "--limit", 4)
    return (
        "benchmark",
        "lidc",
        "-d",
        store.path,
        "-o",
        folder,
        "--preset",
        "small",
        "-m",
        "mheads-gate,dropout",
        *tiny,
        *words,
    )


def test_lidc_prints_tables_and_goes_on(ambiseg: Command, known_truth: Store, tmp_path: Path) -> None:
    words = lidc(known_truth, tmp_path / "out")
    code, printed, notes = ambiseg(*words, "--minutes", 0)
    assert (code, printed) == (130, "")
    assert "Stopped. Nothing is lost; the same command resumes." in notes
    code, printed, notes = ambiseg(*words, "--minutes", 60)
    assert code == 0
    assert "mheads-gate-seed0: measured on val." in notes
    assert [line for line in printed.splitlines() if line.startswith("## ")] == ["## Validation"]
    assert "| `mheads-gate`" in printed
    assert not (tmp_path / "out/results-test.csv").exists()
    code, printed, notes = ambiseg(*words, "--test")
    assert code == 0
    assert "training" not in notes
    assert "## Test" in printed
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "results.csv",
        "results-test.csv",
        "runs",
    }


def test_lidc_lists_what_failed(ambiseg: Command, known_truth: Store, tmp_path: Path) -> None:
    code, printed, notes = ambiseg(*lidc(known_truth, tmp_path / "out"), "--set", "optimiser.learning_rate=1e30")
    assert code == 5
    assert "2 of 2 entries failed: mheads-gate-seed0: The loss is not a finite number" in notes
    assert "- `dropout-seed0` failed: The loss is not a finite number" in printed


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ("-m", "unet"),
            2,
            "No benchmark entry 'unet': expected gated, mose, ssn, gated-ssn, generalized-mixture-full, modal",
        ),
        (("--set", "data.crop=999"), 2, "data.crop is 999 pixels, but the stored crops are"),
        (("--seeds", "one"), 2, "seeds 'one' are not understood"),
        (("--seeds", ","), 2, "seeds ',' are not understood"),
        (("-d", "nowhere"), 3, "nowhere"),
    ],
)
def test_lidc_refuses(
    ambiseg: Command, known_truth: Store, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    found, _, notes = ambiseg(*lidc(known_truth, tmp_path / "out"), *words)
    assert (found, message in notes) == (code, True)
    assert not (tmp_path / "out").exists()


def test_step_prints_a_table(ambiseg: Command) -> None:
    code, printed, _ = ambiseg("benchmark", "step", "-m", "mheads, probunet", *TINY, "--steps", 5)
    assert code == 0
    rows = [line.split() for line in printed.splitlines() if line.startswith(("mheads", "probunet"))]
    assert [row[0] for row in rows] == ["mheads", "probunet"] * 2
    step, arithmetic, ratio = (float(word) for word in rows[1][-3:])
    assert ratio == pytest.approx(step / arithmetic, rel=0.3)
    assert rows[3][-1].endswith("%")
    assert "Limit: the least time for it with arithmetic at" in printed


def test_step_on_a_store_as_json(ambiseg: Command, known_truth: Store) -> None:
    code, printed, _ = ambiseg("benchmark", "step", known_truth.path, "-m", "probunet", *TINY, "--steps", 5, "--json")
    assert code == 0
    (cost,) = json.loads(printed)
    assert cost["method"] == "probunet"
    assert cost["flops"] > 1e6
    assert cost["ratio"] == pytest.approx(cost["seconds"] / cost["arithmetic_seconds"])
    assert [phase["players"] for phase in cost["phases"]] == [["model"]]
    assert cost["reached"] == pytest.approx(cost["limit_seconds"] / cost["seconds"])
    assert cost["gbytes_a_second"] == pytest.approx(cost["bytes"] / cost["seconds"] / 1e9)
    assert cost["device"]["flops_a_second"]["float32"] > 1e8
    assert cost["device"]["bytes_a_second"] > 1e8


@pytest.mark.exhaustive
@pytest.mark.slow
def test_step_of_all_methods(ambiseg: Command) -> None:
    words = ("--set", "data.crop=16", "--set", "batch=2", "--set", "data.readers=1")
    code, printed, _ = ambiseg("benchmark", "step", *words, "--preset", "demo", "--steps", 1, "--json")
    assert code == 0
    assert [cost["method"] for cost in json.loads(printed)] == list(methods())


def test_step_names_an_unknown_method(ambiseg: Command) -> None:
    code, _, notes = ambiseg("benchmark", "step", "-m", "divination")
    assert code == 2
    assert "No method 'divination'" in notes


def test_metrics_prints_seconds_and_the_double_loops(ambiseg: Command) -> None:
    words = ("benchmark", "metrics", "--images", 3, "--samples", 16, "--readers", 3, "--size", 24, "--device", "cpu")
    code, printed, _ = ambiseg(*words)
    assert code == 0
    first, fast = printed.splitlines()
    assert first == "GED and HM-IoU16 of 3 images of 24x24, 16 samples, 3 readers, cpu"
    assert float(fast.split()[-2]) < 5
    code, printed, _ = ambiseg(*words, "--naive", "--json")
    assert code == 0
    cost = json.loads(printed)
    assert cost["difference"] < 1e-12
    assert cost["ratio"] == pytest.approx(cost["naive_seconds"] / cost["seconds"])
    assert cost["ratio"] > 1
    assert "times as long" in ambiseg(*words, "--naive")[1]


def test_metrics_refuses_too_few(ambiseg: Command) -> None:
    code, _, notes = ambiseg("benchmark", "metrics", "--samples", 15)
    assert code == 2
    assert "--samples at least 16" in notes
