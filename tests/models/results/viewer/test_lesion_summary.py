"""The summary of a lesion: its words agree with its figures, and its picture shows each side where its letter says."""

import io

import numpy as np
import pytest
from PIL import Image

from ambiseg.models.prediction.document import Document
from ambiseg.models.results.three_planes import PLANES, outlined, three_planes
from ambiseg.models.results.viewer.lesion_summary import of_readers, summary


@pytest.mark.parametrize("plane", PLANES, ids=lambda plane: plane.name)
def test_each_side_is_where_its_letter_says(plane):
    values = np.zeros((5, 6, 7), int)  # head, back, left
    toward = {"H": (4, 3, 3), "F": (0, 3, 3), "P": (2, 5, 3), "A": (2, 0, 3), "L": (2, 3, 6), "R": (2, 3, 0)}
    for letter, place in toward.items():
        values[place] = ord(letter)
    cut = plane.cut(values, (2, 3, 3)[plane.axis])
    sides = {"left": cut[:, 0], "right": cut[:, -1], "top": cut[0], "bottom": cut[-1]}
    for side, line in sides.items():
        assert ord(getattr(plane, side)) in line, side


@pytest.mark.drawn
@pytest.mark.parametrize("kind", ["block", "flat", "classes", "one"])
def test_the_picture_holds_the_outlines_of_what_is_marked(made, kind):
    prediction = made(kind)
    (result,) = prediction.results
    assert outlined(result) == ([0] if kind == "one" else [0, 1])
    picture = Image.open(io.BytesIO(three_planes(result, prediction.volume, "HU"))).convert("RGB")
    width, height = picture.size
    assert width > (0.5 if kind == "flat" else 2) * height
    colours = np.asarray(picture).astype(int)
    coloured = np.ptp(colours, axis=2) > 60
    panels = np.array_split(coloured, 1 if kind == "flat" else 3, axis=1)
    assert all(panel.any() for panel in panels)


def test_the_figures_are_those_of_the_document(made):
    prediction = made("block")
    lesion = Document.model_validate(prediction.content).lesions[0]
    found = summary(lesion, [0, 1], None)
    assert [(row.name, row.number, row.beside) for row in found.rows[:2]] == [
        ("Marked as a lesion", "90 %", "about 18 of 20 readers"),
        ("No lesion", "10 %", "about 2 of 20 readers"),
    ]
    assert [(row.name, row.number) for row in found.outlines] == [("1", "60 %"), ("2", "30 %")]
    assert found.rest == "0 %"


@pytest.mark.parametrize(
    ("probability", "said"),
    [
        (0.0, "no reader"), (0.0002, "hardly any reader"), (0.02, "hardly any reader"), (0.03, "about 1 of 20 readers"),
        (0.5, "about 10 of 20 readers"), (0.97, "about 19 of 20 readers"), (0.98, "nearly all readers"), (1.0, "all readers"),
    ],
)  # fmt: skip
def test_probabilities_in_words(probability, said):
    assert of_readers(probability) == said
