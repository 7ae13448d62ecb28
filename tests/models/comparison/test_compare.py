"""Comparisons of evaluations: known differences, intervals that cover, notes, and every refusal."""

import csv
import json
import math

import numpy as np
import pytest

from ambiseg.models.comparison.compare_runs import compare
from ambiseg.models.evaluation.stored import read_evaluations
from ambiseg.models.metrics.summary import bootstrap_interval
from ambiseg.preprocessing.errors import DataError, UsageError

EIGHT = [0.5, 0.4, 0.3, 0.6, 0.2, 0.7, 0.35, 0.45]


@pytest.fixture
def compared(stored_run):
    """Two runs, the second with other figures or another summary, compared."""

    def run(first=None, second=None, *, figures=("ged16_v",), about=None, **options):
        first = first or {"ged16_v": EIGHT}
        runs = [stored_run("one", **first), stored_run("two", **(second or first), about=about)]
        return compare(read_evaluations(runs, "test"), figures, **options)

    return run


def test_identical_runs_do_not_differ(compared):
    (found,) = compared().differences
    assert (found.difference, found.low, found.high, found.effect) == (0, 0, 0, 0)
    assert (found.p, found.p_holm, found.better, found.significant) == (1, 1, None, False)


def test_a_better_run_is_found(compared):
    """Eight patients, all lower by .1: p = 2 / 2^8, correlation -1."""
    (found,) = compared(second={"ged16_v": [value - 0.1 for value in EIGHT]}).differences
    assert found.difference == pytest.approx(-0.1)
    assert (found.low, found.high) == pytest.approx((-0.1, -0.1))
    assert found.effect == -1
    assert found.better == "two"
    assert found.cases == found.patients == 8


def test_which_way_is_better_is_the_catalogues(compared):
    figures = dict.fromkeys(("hm_iou16", "sample_diversity16"), EIGHT)
    more = {name: [value + 0.01 * n for n, value in enumerate(EIGHT, 1)] for name in figures}
    matched, diversity = compared(figures, more, figures=tuple(figures)).differences
    assert matched.better == "two"
    assert diversity.better is None
    assert matched.p == pytest.approx(2 / 2**8)
    assert matched.p_holm == pytest.approx(4 / 2**8)


def test_patients_count_once_in_the_test(compared):
    """Sixteen slices of two patients: the test sees two numbers, of which no p can be small."""
    patients = ["a"] * 8 + ["b"] * 8
    first = {"ged16_v": EIGHT * 2, "patients": patients}
    second = {"ged16_v": [value - 0.1 - 0.01 * n for n, value in enumerate(EIGHT * 2)], "patients": patients}
    found = compared(first, second)
    assert (found.differences[0].patients, found.differences[0].cases) == (2, 16)
    assert found.differences[0].p == 0.5
    assert "With 2 patients and one test no corrected p can go below 0.5: too few patients" in found.notes[0]


def test_the_interval_by_patient_covers_where_one_by_case_does_not():
    """Differences of runs with a patient effect: 30 patients of 6 slices, true mean 0."""
    rng = np.random.default_rng(7)
    patients = np.arange(30).repeat(6)
    covered = {"patient": 0, "case": 0}
    for _ in range(100):
        values = rng.normal(size=30).repeat(6) + rng.normal(0, 0.3, 180)
        for kind, groups in (("patient", patients), ("case", np.arange(180))):
            low, high = bootstrap_interval(values, groups, rng)
            covered[kind] += low <= 0 <= high
    assert covered["patient"] >= 88
    assert covered["case"] < 75


def test_undefined_cases_are_left_out_in_pairs(compared):
    first = {"ged16_v": [None, 0.5, 0.5, 0.5]}
    second = {"ged16_v": [0.1, None, 0.6, 0.8]}
    found = compared(first, second)
    (row,) = found.differences
    assert (row.cases, row.left_out) == (2, 2)
    assert row.difference == pytest.approx(0.2)
    assert any("not defined for both runs: 2 for ged16_v." in note for note in found.notes)


def test_a_figure_that_no_case_has(compared):
    with pytest.raises(DataError, match="one and two have no case in which ged16_v is defined"):
        compared({"ged16_v": [None, 0.5]}, {"ged16_v": [0.5, None]})


def test_pairs(stored_run):
    runs = [
        stored_run(name, ged16_v=[value + shift for value in EIGHT])
        for name, shift in zip("abc", (0, 1, 2), strict=True)
    ]
    evaluations = read_evaluations(runs, "test")
    to_first = compare(evaluations, ["ged16_v"]).differences
    assert [(row.first, row.second) for row in to_first] == [("a", "b"), ("a", "c")]
    every = compare(evaluations, ["ged16_v"], all_pairs=True).differences
    assert [(row.first, row.second) for row in every] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [row.p_holm for row in every] == pytest.approx([3 * row.p for row in every])


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("ged16", "There is no figure 'ged16': did you mean ged16_"),
        ("zzz", "There is no figure 'zzz': did you mean ged16_v or ged16_u or hm_iou16"),
        ("hypothesis_ece", "hypothesis_ece is a figure of the whole split, which no single case has"),
    ],
)
def test_unknown_and_pooled_figures(compared, figure, message):
    with pytest.raises(UsageError, match=message):
        compared(figures=[figure])


def test_an_older_evaluation_lacks_a_figure(compared):
    with pytest.raises(DataError, match="has no column 'top_dice' in its cases: run `ambiseg evaluate` again"):
        compared(figures=["top_dice"])


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"data_hash": "e" * 64}, r"differ in their data \(content hash\), d{64} and e{64}"),
        ({"split": "val"}, "differ in their split, test and val"),
        ({"crop": [64, 64]}, r"evaluated crop \(pixels\), \[32, 32\] and \[64, 64\]"),
        ({"spacing_mm": 0.7}, r"pixel spacing \(mm\), 0.5 and 0.7"),
        ({"scored": ["lesion"]}, r"scored classes, None and \['lesion'\]"),
        ({"known_odds": True}, "knowledge of the masks' probabilities, False and True"),
        ({"estimators": {"ged*_v": "another"}}, 'estimator of ged\\*_v, "squared GED, V-statistic" and "another"'),
        ({"estimators": {}}, 'estimator of ged\\*_v, "squared GED, V-statistic" and none'),
    ],
)
def test_what_differs_is_named(compared, about, message):
    with pytest.raises(DataError, match=message):
        compared(about=about)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"ged16_v": EIGHT[:7]}, "number of cases, 8 and 7: evaluate both with the same `limit`"),
        ({"ged16_v": EIGHT, "patients": ["q"] * 8}, "patient of row 0, p0 and q"),
    ],
)
def test_other_cases_are_refused(compared, second, message):
    with pytest.raises(DataError, match=message):
        compared(second=second)


def test_other_rows_are_refused(compared, stored_run):
    runs = [stored_run(name, ged16_v=EIGHT) for name in "ab"]
    cases = runs[1] / "evaluation-test" / "cases.csv"
    cases.write_text(cases.read_text().replace("\n3,", "\n9,"))
    with pytest.raises(DataError, match=r"case 4 \(row of the data set\), 3 and 9"):
        compare(read_evaluations(runs, "test"), ["ged16_v"])


def test_samples_matter_to_the_figures_of_all_samples(compared, stored_run):
    found = compared(about={"samples": 50})
    assert any(
        "numbers of samples differ, but these figures do not depend on them: 100, 50." in note for note in found.notes
    )
    runs = [stored_run(name, top_dice=EIGHT, about={"samples": n}) for name, n in (("a", 16), ("b", 100))]
    with pytest.raises(
        DataError, match="number of samples, 16 and 100: evaluate both with the same `samples`, or leave out top"
    ):
        compare(read_evaluations(runs, "test"), ["top_dice"])


def test_exact_weights_and_draws_share_only_unbiased_figures(stored_run):
    figures = dict.fromkeys(("ged_v", "ged_u", "ged16_v"), EIGHT)
    runs = [stored_run(name, **figures, about={"weights": name}) for name in ("draws", "exact")]
    evaluations = read_evaluations(runs, "test")
    assert len(compare(evaluations, ["ged_u", "ged16_v"]).differences) == 2
    with pytest.raises(DataError, match="weights, draws and exact: ged_v depends on them, choose ged_u or overlap"):
        compare(evaluations, ["ged_v"])


def test_an_evaluation_that_does_not_say_is_refused(stored_run):
    runs = [stored_run(name, ged16_v=EIGHT) for name in "ab"]
    file = runs[0] / "evaluation-test" / "summary.json"
    about = json.loads(file.read_text())
    del about["data_hash"]
    file.write_text(json.dumps(about))
    with pytest.raises(DataError, match="`data_hash` is missing; run `ambiseg evaluate` again"):
        compare(read_evaluations(runs, "test"), ["ged16_v"])


def test_seeds_and_calibration_may_differ(compared):
    notes = compared(about={"seed": 3, "calibrated": {"slices": {"presence_shift": 0.4}, "split": "val"}}).notes
    assert "The draws' seeds differ: 0, 3." in notes
    assert "Not all runs are calibrated, only two." in notes


def test_written_files_say_what_was_found(compared, tmp_path):
    found = compared({"ged16_v": [0.5]}, {"ged16_v": [0.25]})
    found.write(tmp_path / "out")
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert written == found.model_dump(mode="json")
    assert (written["differences"][0]["difference"], written["differences"][0]["low"]) == (-0.25, None)
    assert math.isnan(found.differences[0].low)
    with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["figure"], row["first"], row["second"], row["low"]) == ("ged16_v", "one", "two", "")
    assert float(row["p"]) == 1


def test_the_seed_settles_the_intervals(compared, stored_run):
    runs = [stored_run(n, ged16_v=[v * f for v in EIGHT]) for n, f in (("a", 1), ("b", 2))]
    evaluations = read_evaluations(runs, "test")
    assert compare(evaluations, ["ged16_v"], seed=1) == compare(evaluations, ["ged16_v"], seed=1)
    one, two = (compare(evaluations, ["ged16_v"], seed=seed).differences[0] for seed in (1, 2))
    assert one.low != two.low
