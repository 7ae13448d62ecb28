"""GED by the number of draws: it is what single sets of draws give on average, and the picture says so."""

from itertools import combinations

import numpy as np
import pytest

from ambiseg.models.core.overlap import Overlaps
from ambiseg.models.evaluation.stored import read_evaluation
from ambiseg.models.figures.ged_by_draws import DRAWS, NEEDED, courses, draw_ged_by_draws
from ambiseg.models.figures.style import png
from ambiseg.models.metrics.distances import ged

SAMPLES, READERS = 5, 3


def overlaps(seed):
    """IoUs of 5 masks of a model and 3 of readers."""
    rng = np.random.default_rng(seed)

    def own(n):
        table = rng.random((n, n))
        table = (table + table.T) / 2
        np.fill_diagonal(table, 1)
        return table

    return Overlaps(own(SAMPLES), rng.random((SAMPLES, READERS)), own(READERS))


def figures(exact):
    found = [ged(overlaps(seed), draws=None if exact else SAMPLES) for seed in range(4)]
    return {
        name: [getattr(one, short) for one in found]
        for name, short in {
            "overlap": "overlap", "sample_diversity": "sample_diversity", "reader_diversity": "reader_diversity", "ged_u": "u",
        }.items()
    }  # fmt: skip


def test_it_is_the_mean_over_all_sets_of_so_many_draws(stored_run):
    run = stored_run("one", about={"samples": SAMPLES}, **figures(exact=False))
    course = courses([read_evaluation(run, "test")])["one"]
    for n in (1, 2, 4):
        means = []
        for seed in range(4):
            iou = overlaps(seed)
            for some in combinations(range(SAMPLES), n):
                chosen = Overlaps(iou.draws[np.ix_(some, some)], iou.cross[list(some)], iou.readers)
                means.append(ged(chosen, draws=n).v)
        assert course.summaries[DRAWS.index(n)].mean == pytest.approx(np.mean(means))


def test_of_exact_weights_the_draws_are_independent(stored_run):
    run = stored_run("one", about={"samples": SAMPLES, "weights": "exact"}, **figures(exact=True))
    course = courses([read_evaluation(run, "test")])["one"]
    means = []
    for seed in range(4):
        iou = overlaps(seed)
        for some in np.ndindex(SAMPLES, SAMPLES):  # two draws, which may be the same mask
            means.append(ged(Overlaps(iou.draws[np.ix_(some, some)], iou.cross[list(some)], iou.readers), draws=2).v)
    assert course.summaries[DRAWS.index(2)].mean == pytest.approx(np.mean(means))
    apart = np.mean([np.mean(1 - overlaps(seed).readers) * READERS / (READERS - 1) for seed in range(4)])
    assert course.perfect[DRAWS.index(16)] == pytest.approx(apart / 16 + apart / READERS)


@pytest.mark.drawn
def test_the_picture_names_each_run_and_its_ged16(stored_run):
    run = stored_run("one", about={"samples": SAMPLES}, **figures(exact=False))
    found = courses([read_evaluation(run, "test")])
    figure = draw_ged_by_draws(found, "note")
    words = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert words[0] == f"one: {found['one'].summaries[DRAWS.index(16)].mean:.3f} at 16".replace("-", "−")
    assert words[1] == "perfect model"
    assert png(figure).startswith(b"\x89PNG")


def test_without_the_terms_there_is_no_course(stored_run):
    assert courses([read_evaluation(stored_run("one", ged16_v=[0.1, 0.2]), "test")]) == {}
    undefined = {name: [None, None] for name in NEEDED}
    found = courses([read_evaluation(stored_run("two", **undefined), "test")])
    assert "not defined in any case" in [text.get_text() for text in draw_ged_by_draws(found, "").axes[0].texts]
