"""Evaluations read back from their folders, and each way in which that can fail."""

import json

import numpy as np
import pytest

from ambiseg.models.evaluation.about import estimators
from ambiseg.models.evaluation.stored import read_evaluation, read_evaluations
from ambiseg.preprocessing.errors import DataError, InputError, UsageError


@pytest.fixture
def run(stored_run):
    return stored_run("one", ged16_v=[0.5, None, 0.25])


def test_a_run_and_its_evaluation_are_the_same(run):
    by_run, by_folder = read_evaluation(run, "test"), read_evaluation(run / "evaluation-test", "val")
    assert by_run.name == by_folder.name == "one"
    assert by_run.folder == by_folder.folder == run / "evaluation-test"
    assert by_run.rows == ("0", "1", "2")
    assert by_run.patients == ("p0", "p1", "p2")
    np.testing.assert_array_equal(by_run.scores["ged16_v"], [0.5, np.nan, 0.25])


def test_runs_of_one_name_are_called_by_their_folders(stored_run, tmp_path):
    first, second = (stored_run("one", folder=tmp_path / name, ged16_v=[0.5]) for name in "ab")
    assert [one.name for one in read_evaluations([first, second], "test")] == [str(first), str(second)]


def test_one_run_is_no_comparison(run):
    with pytest.raises(UsageError, match=r"needs two runs or more, got 1\."):
        read_evaluations([run], "test")
    with pytest.raises(UsageError, match="evaluation-test is given twice"):
        read_evaluations([run, run / "evaluation-test"], "test")


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="There is no folder"):
        read_evaluation(tmp_path / "nowhere", "test")


def test_a_run_that_was_not_evaluated_says_how(run):
    (run / "run.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"not been evaluated on 'val': run `ambiseg evaluate .*one` first, with 'val' as `split`"
    ):
        read_evaluation(run, "val")


def test_neither_run_nor_evaluation(tmp_path):
    with pytest.raises(InputError, match="is neither a run nor an evaluation"):
        read_evaluation(tmp_path, "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "summary.json is damaged"),
        ("[]", "`the whole`: expected a valid dictionary or .*, got a list"),
        ("{}", "`ambiseg` is missing"),
    ],
)
def test_damaged_summary(run, text, message):
    (run / "evaluation-test" / "summary.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_evaluation(run, "test")


@pytest.mark.parametrize(
    ("name", "value"), [("seed", -1), ("estimators", "x"), ("calibrated", 5), ("weights", "some"), ("run", None)]
)
def test_a_summary_of_other_values(run, name, value):
    file = run / "evaluation-test" / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    with pytest.raises(
        DataError, match=f"summary.json is damaged .*`{name}`: expected .*; run `ambiseg evaluate` again"
    ):
        read_evaluation(run, "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,patient,ged16_v\n", "holds no case"),
        ("patient,ged16_v\np,1\n", "has no column 'row'"),
        ("row,patient,ged16_v\n0,p\n", "cases.csv, line 2: 2 cells, expected 3"),
        ("row,patient,ged16_v\n0,p,1,2\n", "cases.csv, line 2: 4 cells, expected 3"),
        ("row,patient,ged16_v\n0,p,x\n", "line 2, column 'ged16_v': expected a number"),
        ("row,patient,ged16_v\n0,p,1\n0,q,1\n", "holds a case twice"),
        ("row,patient,ged16_v\nx,p,1\n", "line 2, column 'row': expected a whole number"),
        ("row,patient,ged16_v\n0,p,1e999\n", "line 2, column 'ged16_v': expected a number"),
    ],
)
def test_damaged_cases(run, text, message):
    (run / "evaluation-test" / "cases.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_evaluation(run, "test")


def test_about_is_the_summary(run):
    found = read_evaluation(run, "test")
    assert found.about.model_dump(mode="json") == json.loads((run / "evaluation-test" / "summary.json").read_text())


def test_estimators_of_version_0_1_0_are_in_todays_words(stored_run):
    earlier = " ".join(("of so many", "draws", "an image; of exact weights resampled"))
    run = stored_run("one", ged16_v=[0.5])
    file = run / "evaluation-test" / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"estimators": {"*16, *50, *100": earlier}}))
    assert read_evaluation(run, "test").about.estimators == {"*16, *50, *100": estimators(False)["*16, *50, *100"]}
