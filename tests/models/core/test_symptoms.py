"""What is said of models that have not learned a distribution, and that nothing is said of one that has."""

from dataclasses import replace

import numpy as np
import pytest

from ambiseg.models.core.symptoms import MaskSets, symptoms

WELL = MaskSets(
    diversity=0.39,
    reader_diversity=0.40,
    empty=0.35,
    reader_empty=0.33,
    empty_spread=0.30,
    reader_empty_spread=0.38,
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, ""),
        ({"diversity": 0.1}, ""),
        ({"diversity": 0.0, "reader_diversity": 0.0}, ""),
        ({"empty": 1.0, "reader_empty": 0.99}, ""),
        (
            {"empty": 1.0, "diversity": 0.0, "empty_spread": 0.0},
            "Nearly all masks are empty (100 %; of the readers' 33 %)",
        ),
        ({"diversity": 0.002}, "All masks of an image are alike (diversity 0.002; readers 0.40)"),
        (
            {"empty_spread": 0.003},
            "The probability of an empty mask is the same for all images (0.35, standard deviation",
        ),
        ({"empty_spread": 0.003, "reader_empty_spread": 0.05}, ""),
    ],
)
def test_each_sign_has_its_sentence(changes: dict[str, float], sentence: str) -> None:
    found = symptoms(replace(WELL, **changes))
    assert [one.startswith(sentence) for one in found] == [True] * bool(sentence), found


def test_figures_of_images_give_means_and_spreads() -> None:
    nan = float("nan")
    found = MaskSets.of(
        {
            "sample_diversity": [0.2, 0.4],
            "reader_diversity": [nan, 0.3],
            "empty_model": [0.0, 1.0],
            "empty_readers": [0.5, 0.5],
        }
    )
    assert found == MaskSets(pytest.approx(0.3), 0.3, 0.5, 0.5, 0.5, 0.0)
    assert MaskSets.of(
        dict.fromkeys(("sample_diversity", "reader_diversity", "empty_model", "empty_readers"), np.full(2, nan))
    )
