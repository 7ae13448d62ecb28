"""The pictures of a report show the numbers that they are given, and draw whatever is or is not defined."""

import numpy as np
import pytest

from ambiseg.models.core.hypotheses import Hypotheses
from ambiseg.models.figures.chosen import Panel, case_name, chosen_cases, sorting_figure
from ambiseg.models.figures.distribution import Spread, draw_distributions, letter_values
from ambiseg.models.figures.diversity import draw_diversity, terms
from ambiseg.models.figures.mode_bars import draw_modes
from ambiseg.models.figures.numbers import decimals, interval
from ambiseg.models.figures.panels import draw_cases
from ambiseg.models.figures.reliability_diagram import draw_reliability
from ambiseg.models.figures.style import png
from ambiseg.models.metrics.modes import Group
from ambiseg.models.metrics.outcomes import Outcome
from ambiseg.models.metrics.reliability import binned
from ambiseg.models.metrics.summary import Figure
from ambiseg.models.report.table import table

pytestmark = pytest.mark.drawn

NAN = float("nan")
UNDEFINED = Figure(NAN, NAN, NAN, NAN, 0)


def texts(figure):
    """All words of a figure that are seen."""
    from matplotlib.text import Text

    return [found.get_text() for found in figure.findobj(Text) if found.get_visible() and found.get_text()]


def is_png(content):
    return content.startswith(b"\x89PNG") and len(content) > 1000


def test_letter_values_hold_halves_of_what_is_left():
    boxes = letter_values(np.arange(1025) / 1024)
    np.testing.assert_allclose(boxes[:3], [[1 / 4, 3 / 4], [1 / 8, 7 / 8], [1 / 16, 15 / 16]])
    assert len(boxes) == 6  # beyond the last lie 1025 / 128 = 8 values on each side
    assert len(letter_values(np.array([0.3]))) == 1


@pytest.mark.parametrize("values", [[0.5], [0.1, 0.2, NAN], list(np.linspace(0, 1, 300))])
def test_distributions_of_any_number_of_cases(values):
    mean = float(np.nanmean(values))
    figure = draw_distributions(
        {"one": Spread(np.array(values), Figure(mean, NAN, NAN, NAN, 1)), "none": Spread(np.array([NAN]), UNDEFINED)},
        "title", "note", "GED",
    )  # fmt: skip
    assert is_png(png(figure))
    assert {"title", "note", "GED", "one", f"{mean:.3f}"} <= set(texts(figure))
    assert "none" not in texts(figure)


def test_a_distribution_shows_interval_and_floor():
    spread = Spread(np.linspace(0, 1, 30), Figure(0.5, 0.3, 0.4, 0.6, 30), floor=0.2)
    figure = draw_distributions({"one": spread}, "title", "note", "GED")
    lines = [line.get_xdata() for line in figure.axes[0].lines]
    assert any(list(line) == [0.4, 0.6] for line in lines)
    assert any(list(line) == [0.2] for line in lines)
    assert "perfect model" in texts(figure)


def test_nothing_defined_is_said(made):
    assert "not defined in any case" in texts(
        draw_distributions({"one": Spread(np.array([NAN]), UNDEFINED)}, "", "", "")
    )
    assert "not defined: a single reader per case" in texts(draw_diversity(made(defined=False)))


def test_diversities_are_without_self_pairs(made):
    """GED_U = 2 overlap - model's - readers' diversity, all of them unbiased: the picture's heights are GED_U / 2."""
    evaluation = made(5)
    model, readers, overlap = terms(evaluation)
    assert list(model) == [case.ambiguity for case in evaluation.cases]
    np.testing.assert_allclose(overlap - (model + readers) / 2, [case.scores["ged_u"] / 2 for case in evaluation.cases])
    points = next(line for line in draw_diversity(evaluation).axes[1].lines if len(line.get_xdata()) == 5)
    np.testing.assert_allclose(points.get_ydata() - points.get_xdata(), np.arange(5) / 20)


def test_reliability_shows_frequencies_counts_and_ece():
    bins = binned(np.repeat([0.1, 0.9], 20), np.repeat([0.3, 0.9], 20))
    figure = draw_reliability({"before": bins, "after": bins}, "title", "note", events="hypotheses")
    diagram, _, counts, _ = figure.axes
    points = sorted(
        (x, y) for line in diagram.lines if line.get_marker() == "o" for x, y in zip(*line.get_data(), strict=True)
    )
    np.testing.assert_allclose(points, [(0.1, 0.3), (0.9, 0.9)])
    assert [bar.get_height() for bar in counts.patches] == [20, 20]
    assert texts(figure).count("ECE 0.100") == 2
    assert is_png(png(figure))
    assert is_png(png(draw_reliability({"one": bins}, "title", "note", events="pixels")))


def test_reliability_of_nothing_is_said():
    nothing = binned(np.zeros(0), np.zeros(0))
    figure = draw_reliability({"one": nothing, "two": nothing}, "title", "note", events="pixels")
    assert texts(figure).count("no pixels") == 2
    assert is_png(png(figure))


def test_mode_probabilities_are_bars_beside_the_truth():
    groups = {"faint": Group(3, np.array([0.25, 0.75]), np.array([0.5, 0.4]))}
    panel = draw_modes(groups, "cue").axes[0]
    np.testing.assert_allclose([bar.get_height() for bar in panel.patches], [0.5, 0.4, 0.1])
    (lines,) = panel.collections
    np.testing.assert_allclose([segment[0, 1] for segment in lines.get_segments()], [0.25, 0.75])


def test_many_modes_are_points():
    truth, model = np.full(32, 1 / 32), np.linspace(0, 1 / 16, 32)
    panel = draw_modes({"all": Group(3, truth, model)}, "case").axes[0]
    points = next(line for line in panel.lines if len(line.get_xdata()) == 32)
    np.testing.assert_allclose(points.get_xydata(), np.stack((truth, model), 1))


def test_best_median_and_worst_by_unbiased_ged(made):
    kinds = chosen_cases(made(20))
    rows = {kind: [int(case.index["row"]) for case in cases] for kind, cases in kinds.items()}
    assert rows == {"best": [0, 1, 2], "median": [8, 9, 10], "worst": [17, 18, 19]}


@pytest.mark.parametrize(("cases", "numbers"), [(1, [1]), (2, [1, 1]), (4, [1, 2, 1]), (9, [3, 3, 3])])
def test_no_case_is_shown_twice(made, cases, numbers):
    kinds = chosen_cases(made(cases))
    assert [len(found) for found in kinds.values()] == numbers
    rows = [case.index["row"] for found in kinds.values() for case in found]
    assert len(set(rows)) == len(rows)


def test_single_readers_are_sorted_by_the_v_statistic(made):
    evaluation = made(9, defined=False)
    assert sorting_figure(evaluation) == "ged_v"
    best = chosen_cases(evaluation)["best"][0]
    assert best.scores["ged_v"] == min(case.scores["ged_v"] for case in evaluation.cases)


def test_a_name_that_tells_the_patient_is_left_out(made):
    case = made(1).cases[0]
    assert case_name(case) == "row 0, crop-0"
    index = dict(case.index)
    for name in ("SECRET-0", "SECRET-0-left", "SECRET"):
        case.index["case"] = name
        assert case_name(case) == "row 0"
    case.index.update(index)


@pytest.mark.parametrize("classes", [1, 3, 8])
@pytest.mark.parametrize("colour", [False, True])
def test_panels_of_any_number_of_classes(classes, colour):
    masks = np.zeros((3, 20, 30), np.uint8)
    masks[1, 4:12, 4:12] = 1
    masks[2, 4:12, 12:28] = np.arange(16) % (classes + 1)
    probabilities = np.array([0.6, 0.3])
    panel = Panel(
        name="row 7, made",
        distance=-0.125,
        image=np.zeros((20, 30, 3) if colour else (20, 30)),
        step_mm=None if colour else (0.5, 1.0),
        known=False,
        masks=masks,
        truth=np.array([0.5, 0.25, 0.25]),
        hypotheses=Hypotheses(masks[:2], probabilities, None, 0.1, 100),
        outcome=Outcome(np.array([0.6, 0.3, 0.1]), np.array([0.5, 0.25, 0.25]), np.array([True, False, False])),
        marginal=np.full((20, 30), 0.3),
    )
    figure = draw_cases([panel, panel], "title", "note")
    words = set(texts(figure))
    assert {"60 %", "30 %", "readers 50 %", "readers 25 %", "nothing marked", "row 7\nmade"} <= words
    assert ("10 mm" in words) != colour
    assert is_png(png(figure))


def test_the_same_figure_gives_the_same_bytes(made):
    assert png(draw_diversity(made())) == png(draw_diversity(made()))


def rows_of(evaluation):
    return {row.measure.name: row for rows in table(evaluation).values() for row in rows}


def test_the_table_leaves_out_what_is_not_defined(made):
    assert "mode_error" not in rows_of(made())
    assert "Known truth" not in table(made())
    assert {"ged16_v", "hypothesis_ece", "ambiguity_auroc", "top_surface_mm"} <= set(rows_of(made()))
    some = rows_of(made(defined=False))
    assert not {"ged16_u", "ged100_v", "top_surface_mm"} & set(some)


def test_the_table_does_not_say_the_same_twice(made):
    """100 draws of equal weight: the weighted figures are those at 100 draws."""
    assert "ged_u" not in rows_of(made())
    assert rows_of(made())["ot_iou"].label == "Optimal-transport IoU, 100 draws"
    assert rows_of(made(samples=60))["ged_u"].label == "GED, 60 draws, unbiased"
    assert rows_of(made(exact=True))["ged_u"].label == "GED, exact weights, unbiased"


def test_the_table_has_the_floor_of_known_truth(made):
    rows = rows_of(made(known=True))
    diversity = rows["reader_diversity"].figure.mean
    assert rows["ged16_v"].floor == pytest.approx(diversity / 16)
    assert rows["hm_iou16"].floor is None
    assert rows["mode_error"].figure.cases == 12


def test_numbers_for_people():
    assert [decimals(value) for value in (-0.12345, -0.0004, NAN)] == ["-0.123", "0.000", "-"]
    assert interval(Figure(0, 0, -0.1, 0.2, 3)) == "-0.100 to 0.200"
    assert interval(UNDEFINED) == "-"
