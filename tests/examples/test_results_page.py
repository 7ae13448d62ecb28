"""The page of the benchmark on real readers: its tables and curves, and which entry is in bold."""

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from curves import read_curves
from PIL import Image
from results_page import best_known, main, write_page
from winners import winners

from ambiseg.models.audit.published_figures import read_published
from ambiseg.models.benchmarks.trials.entries import Entry
from ambiseg.models.benchmarks.trials.lidc_trials import Work, plan, run_benchmark
from ambiseg.models.evaluation.stored import StoredEvaluation, read_evaluation
from ambiseg.models.runs.run_folder import Run
from ambiseg.preprocessing.store.store import Store

pytestmark = pytest.mark.drawn

SMALL = ["data.crop=16", "options.widths=[4,6]", "options.convs=1", "batch=4", "validation.every=15"]
TWO = (Entry("mheads-gate", "mheads", {"gate": "learned"}), Entry("probunet", "probunet"))
PUBLISHED = Path(__file__).parents[2] / "examples" / "studies" / "lidc_page" / "published_lidc.csv"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, known_truth: Store) -> Path:
    """The folder of a finished benchmark of two entries, tested too, with its tables and its page."""
    folder = tmp_path_factory.mktemp("lidc")
    trials = plan(folder, TWO, known_truth, "small", steps=30, settings=SMALL)
    for _ in run_benchmark(trials, Work(known_truth, torch.device("cpu"), limit=6), test=True):
        pass
    write_page(folder, limit=6, published=read_published(PUBLISHED), command="ambiseg benchmark lidc --test")
    return folder


@pytest.mark.parametrize(
    ("tested", "shown"), [((), "val"), (("mheads-gate",), "val"), (("mheads-gate", "probunet"), "test")]
)
def test_the_first_figures_are_of_test_once_every_entry_was_tested(tested: tuple[str, ...], shown: str) -> None:
    runs = {
        split: [SimpleNamespace(entry=name, split=split) for name in names]
        for split, names in (("val", ("mheads-gate", "probunet")), ("test", tested))
    }
    assert {run.split for run in best_known(runs)} == {shown}


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_page_shows_all_of_it(finished: Path) -> None:
    folder = finished
    page = (folder / "results.md").read_text()
    titles = [line for line in page.splitlines() if line.startswith("## ")]
    assert titles == [
        "## At a glance",
        "## Validation",
        "## Test",
        "## Curves",
        "## Runs",
        "## Beside published figures",
    ]
    assert "Made by `ambiseg benchmark lidc --test`." in page
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    glance, second, third, *_ = (number for number, line in enumerate(lines) if line[0] == "entry")
    means = [float(line[1].split()[0]) for line in lines[glance + 2 : second]]
    assert means == sorted(means)  # the best entry first
    assert {line[0] for line in lines[glance + 2 : second]} == {"`mheads-gate`", "`probunet`"}
    table = lines[second:third]
    means = [float(line[2].split()[0].strip("*")) for line in table[3:]]
    assert means == sorted(means)
    assert (
        "Dashed: CCDM, the best published GED16 without a visible leak (by scan, 250 network passes per mask)" in page
    )
    assert (folder / "at-a-glance.png").read_bytes().startswith(b"\x89PNG")
    assert [line for line in lines if line[0] == "MoSE"] == [
        ["MoSE", "v1", "by scan", "none seen", "few", "Gao et al. 2023, at second hand", ".218", "", ".189", ".624"]
    ]
    ours = next(line for line in lines if line[:2] == ["`probunet`", "known-truth, test, 16 x 16 pixels"])
    assert (ours[2], ours[3], ours[4].split()[1], ours[5]) == ("by patient", "none", "ms", "this benchmark")
    own = {row["entry"]: row for row in rows(folder / "results-test.csv")}["probunet"]
    assert float(ours[6]) == pytest.approx(float(own["ged16_v"]), abs=0.0005)
    assert float(ours[9]) == pytest.approx(float(own["hm_iou16"]), abs=0.0005)


def test_a_perfect_model_is_what_readers_would_score(finished: Path) -> None:
    """Four readers: d_YY (1/16 + 1/4), and d_YY is 4/3 of the diversity that counts self-pairs."""
    folder = finished
    diversity = float(rows(folder / "results.csv")[0]["reader_diversity"])
    line = next(line for line in (folder / "results.md").read_text().splitlines() if "a perfect model" in line)
    assert float(line.split("|")[3]) == pytest.approx(diversity * 4 / 3 * (1 / 16 + 1 / 4), abs=0.0006)
    assert float(line.split("|")[6]) == 0


def test_curves_are_the_validations_of_the_log(finished: Path) -> None:
    folder = finished
    curves = read_curves(folder)
    assert set(curves) == {"mheads-gate", "probunet"}
    for name, (curve,) in curves.items():
        log = Run.open(folder / "runs" / f"{name}-seed0").read_log()
        assert curve == [(entry["step"], entry["ged"]) for entry in log if entry["kind"] == "validation"]
        assert [step for step, _ in curve] == [15, 30]
    with Image.open(folder / "curves.png") as image:
        assert (np.asarray(image.convert("RGB")) == (0x2B, 0x6C, 0xB0)).all(-1).sum() > 50


def test_only_a_clear_winner_is_bold(stored_run: Callable[..., Path]) -> None:
    """Twelve patients: always .1 better wins; better in half of them does not; a mean over seeds decides."""
    level = [0.3 + 0.01 * case for case in range(12)]

    def stored(name: str, *figures: list[float]) -> list[StoredEvaluation]:
        runs = [stored_run(f"{name}-seed{seed}", ged16_v=values) for seed, values in enumerate(figures)]
        return [read_evaluation(path, "test") for path in runs]

    base, half = stored("base", level), stored("half", [v + (-0.1 if n % 2 else 0.1) for n, v in enumerate(level)])
    good = stored("good", [v - 0.3 for v in level], [v + 0.1 for v in level])
    assert winners({"base": base, "good": good}, ["ged16_v"]) == {"ged16_v": "good"}
    assert winners({"base": base, "half": half}, ["ged16_v"]) == {}
    assert winners({"base": base}, ["ged16_v"]) == {}


def test_the_script_needs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["results_page.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="holds no runs"):
        main()
