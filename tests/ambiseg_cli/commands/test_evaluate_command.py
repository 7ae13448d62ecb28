"""`ambiseg evaluate` on a small untrained run: what it prints, what it writes, and its defaults."""

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from ambiseg.commands.evaluate import evaluate
from ambiseg.models.methods.registry import build, check_options
from ambiseg.models.runs.config import TrainConfig
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import DataRecord, RunRecord
from ambiseg.preprocessing.errors import DataError, InputError, ResourceError, UsageError
from ambiseg.preprocessing.store.intensity import HOUNSFIELD
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store
from ambiseg.terminal import console as printed

app = typer.Typer()
app.command()(evaluate)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run folder runs/probunet-001 below the current folder, and its data."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    with write_store(tmp_path / "data", StoreInfo("blobs", "test", HOUNSFIELD), {"p": "test", "q": "test"}) as writer:
        for number in range(4):
            masks = np.zeros((4, 32, 32), np.uint8)
            masks[:, 8 : 16 + number, 8:20] = 1
            image = rng.normal(0, 100, (1, 32, 32)).astype(np.int16)
            writer.add(Crop(image, masks, "pq"[number % 2], f"c{number}"))
    options = check_options("probunet", {"widths": [4, 8]})
    config = TrainConfig(method="probunet", options=options, data={"crop": 32})
    data = DataRecord.of(Store.open(tmp_path / "data"))
    record = RunRecord(version="0", torch=torch.__version__, device="cpu", config=config, data=data)
    run = Run.create(tmp_path / "runs" / "probunet-001", record)
    torch.manual_seed(0)
    run.save_weights(build("probunet", 1, 2, options), step=0)
    return run.path


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_newest_run_gives_a_table_and_a_report(run):
    result = invoke()
    assert result.exit_code == 0
    for label in ("GED16, V-statistic (as in papers)", "GED100, unbiased", "ECE of hypotheses"):
        assert label in result.stdout
    assert "probunet-001 (probunet) on blobs, test: 4 cases" in result.stdout
    folder = run / "evaluation-test"
    assert sorted(os.listdir(folder)) == ["cases.csv", "figures", "report.html", "summary.json"]
    assert f"Written: {folder.relative_to(Path.cwd()) / 'report.html'}" in " ".join(result.stderr.split())
    assert "probunet-001" in (folder / "report.html").read_text(encoding="utf-8")
    assert "Drawing" in result.stderr
    with (folder / "cases.csv").open(newline="") as file:
        assert all(float(row["ged100_v"]) >= 0 for row in csv.DictReader(file))


def test_numbers_alone_in_place_of_a_report(run):
    invoke(run, "--limit", 2)
    invoke(run, "--no-report", "--parquet")
    assert sorted(os.listdir(run / "evaluation-test")) == ["cases.csv", "cases.parquet", "summary.json"]
    invoke(run, "--no-report")
    assert sorted(os.listdir(run / "evaluation-test")) == ["cases.csv", "summary.json"]


def test_a_missing_package_is_told_before_the_work(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="needs pyarrow: run pip install"):
        invoke(run, "--parquet")
    assert not (run / "evaluation-test").exists()


def test_a_place_that_cannot_be_written_is_told_before_the_work(run, tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ResourceError, match="taken is a file, expected a folder"):
        invoke(run, "-o", tmp_path / "taken" / "here")


def test_few_samples_have_no_figures_of_more(run):
    printed = invoke(run, "--no-report", "--samples", 50).stdout
    assert "GED50, unbiased" in printed
    assert "GED100" not in printed
    with pytest.raises(UsageError, match="at least 16 draws per image"):
        invoke(run, "--samples", 15)


def test_no_disagreement_is_noted(run):
    result = invoke(run, "--no-report")
    assert "AUROC of the ambiguity is not defined" in " ".join(result.stdout.split())
    assert "AUROC, ambiguity" not in result.stdout


def test_json_is_what_is_written(run, tmp_path):
    result = invoke(run, "--json", "--samples", 20, "--limit", 2, "-o", tmp_path / "here")
    printed = json.loads(result.stdout)
    assert printed == json.loads((tmp_path / "here" / "summary.json").read_text())
    assert (printed["samples"], printed["cases"], printed["cases_in_split"]) == (20, 2, 4)


def blobs_with_odds(path, masks, group=None, size=32):
    """Two crops of made blobs with equal odds."""
    info = StoreInfo("odds", "test", HOUNSFIELD, group=group)
    with write_store(path, info, {"p": "test", "q": "test"}) as writer:
        for patient in "pq":
            stack = np.zeros((masks, size, size), np.uint8)
            for number in range(masks):
                stack[number, : number + 1] = 1
            image = np.zeros((1, size, size), np.int16)
            writer.add(Crop(image, stack, patient, f"case-{patient}", mask_probabilities=np.full(masks, 1 / masks)))


def test_known_modes_are_a_table_with_the_truth_beside_the_model(run, tmp_path):
    blobs_with_odds(tmp_path / "odds", 4, group="case")
    printed = invoke(run, "--data", tmp_path / "odds", "--no-report").stdout
    assert "Mode probabilities of 4 modes" in printed
    assert "of a perfect model" in printed
    assert "Mode probabilities, abs. error" in printed
    lines = [line.replace("│", " ").split() for line in printed.splitlines()]
    (first,) = (line for line in lines if line[:1] == ["case-p"])
    assert first == ["case-p", "1", "truth", "0.250", "0.250", "0.250", "0.250"]
    model = next(line for line in lines if line[:1] == ["model"])
    written = json.loads((run / "evaluation-test" / "summary.json").read_text())["modes"]["case-p"]
    assert model[1:] == [f"{value:.3f}" for value in (*written["model"], written["mean_absolute_error"])]


def test_many_modes_are_their_error_alone(run, tmp_path):
    blobs_with_odds(tmp_path / "odds", 9)
    printed = invoke(run, "--data", tmp_path / "odds", "--no-report").stdout
    assert "Mode probabilities of 9 modes" in printed
    assert "truth" not in printed
    found = json.loads((run / "evaluation-test" / "summary.json").read_text())["modes"]
    assert list(found) == ["all"]
    assert f"{found['all']['mean_absolute_error']:.4f}" in printed


def test_whole_images(run, tmp_path):
    blobs_with_odds(tmp_path / "odds", 2, size=40)
    for flags, side in (((), 32), (("--whole",), 40)):
        found = json.loads(invoke(run, "--data", tmp_path / "odds", "--json", "--no-report", *flags).stdout)
        assert found["crop"] == [side, side]


def test_other_data_are_noted(run, tmp_path):
    (tmp_path / "data").rename(tmp_path / "moved")
    assert "is not the data" not in invoke(run, "--data", tmp_path / "moved", "--no-report").stderr
    with write_store(tmp_path / "other", StoreInfo("other", "test", HOUNSFIELD), {"p": "test"}) as writer:
        writer.add(Crop(np.zeros((1, 32, 32), np.int16), np.ones((2, 32, 32), np.uint8), "p", "c"))
    assert "is not the data that probunet-001 was trained on" in " ".join(
        invoke(run, "--data", tmp_path / "other", "--no-report").stderr.split()
    )


def test_without_a_run_the_shipped_model_asks_for_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="shared without its data set: give a dataset store as `data`"):
        invoke()


def stacked_blobs(path, *, same_readers=True):
    """Two lesions of three slices each, drawn by four readers of whom one marked nothing."""
    rng = np.random.default_rng(0)
    info = StoreInfo("stacks", "test", HOUNSFIELD, same_readers=same_readers)
    with write_store(path, info, {"p": "test", "q": "test"}) as writer:
        for patient in "pq":
            for z in range(3):
                masks = np.zeros((4, 32, 32), np.uint8)
                masks[:3, 8:18, 8:20] = 1
                image = rng.normal(0, 100, (1, 32, 32)).astype(np.int16)
                writer.add(
                    Crop(image, masks, patient, patient, lesion="1", slice=z, z_mm=2.5 * z, spacing_mm=(0.5, 0.5))
                )
    return path


def test_whole_lesions_are_a_table_of_their_own(run, tmp_path, monkeypatch):
    monkeypatch.setattr(printed._stdout, "width", 140)
    data = stacked_blobs(tmp_path / "stacks")
    result = invoke("-d", data, "--samples", 16)
    assert result.exit_code == 0, result.output
    for words in ("Whole lesions: 2 lesions of 2 patients, 6 slices", "CRPS of volume, mm\u00b3", "likeliest mask"):
        assert words in result.stdout
    folder = run / "evaluation-test"
    assert len((folder / "lesions.csv").read_text(encoding="utf-8").splitlines()) == 3
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Whole lesions" in page
    assert "Brier score of presence" in page
    assert (folder / "figures" / "reliability-lesions.png").is_file()
    assert invoke("-d", data, "--samples", 16, "--by", "slice", "--no-report").exit_code == 0
    assert not (folder / "lesions.csv").exists()


def test_lesions_are_refused_where_there_are_none(run, tmp_path):
    with pytest.raises(DataError, match="change their places"):
        invoke("-d", stacked_blobs(tmp_path / "mixed", same_readers=False), "--samples", 16, "--by", "lesion")


def test_stability_is_a_table_on_request(run, tmp_path, monkeypatch):
    monkeypatch.setattr(printed._stdout, "width", 140)
    data = stacked_blobs(tmp_path / "stacks")
    result = invoke("-d", data, "--samples", 16, "--stability", 1)
    assert result.exit_code == 0, result.output
    for words in ("How far the answer moves: 1 lesion", "How far the answer moves: 1 slice", "another reader"):
        assert words in result.stdout
    folder = run / "evaluation-test"
    assert (folder / "stability.csv").is_file()
    page = (folder / "report.html").read_text(encoding="utf-8")
    for words in ("Stability of lesions", "Stability of slices", "mirrored left to right", "their border repeated"):
        assert words in page
    assert "nan" not in page.lower().split()
