"""Detections of MONAI: all forms of its files give the same places; what is no list of detections is named."""

import json
from pathlib import Path

import pytest

from ambiseg.preprocessing.errors import AmbisegError
from ambiseg.preprocessing.scans.point_files import read_points

BOXES = [[10.5, -20, 30, 8, 8, 6], [40, 50, 60, 5, 5, 5]]
PLACES = [((-40.0, -50.0, 60.0), ""), ((-10.5, 20.0, 30.0), "")]  # in RAS, the higher score first
ENTRY = {"image": "/data/LUNA16/case-1.nii.gz", "label": [0, 0], "box": BOXES, "label_scores": [0.4, 0.9]}
OTHER = {"image": "/data/LUNA16/case-2.nii.gz", "label": [0], "box": BOXES[:1], "label_scores": [0.7]}
TUTORIAL = {"image": "case-1.mhd", "label": [0, 0], "box": BOXES, "score": [0.4, 0.9]}


@pytest.mark.parametrize("content", [[ENTRY, OTHER], [ENTRY], ENTRY, {"validation": [OTHER, TUTORIAL]}])
def test_all_forms_give_the_same_places(tmp_path: Path, content: object) -> None:
    (tmp_path / "result.json").write_text(json.dumps(content, indent=1))
    assert read_points(tmp_path / "result.json", ["case-1"]) == PLACES
    assert read_points(tmp_path / "result.json", ["case-1"], min_score=0.5) == PLACES[:1]
    assert read_points(tmp_path / "result.json", ["case-1"], of_many=True) == PLACES


def test_a_probability_of_luna16_is_a_score_too(tmp_path: Path) -> None:
    table = "seriesuid,coordX,coordY,coordZ,probability\n1.2.3,10.5,-20,30,.4\n1.2.3,40,50,60,.9\n"
    (tmp_path / "found.csv").write_text(table)
    assert read_points(tmp_path / "found.csv", ["1.2.3"], min_score=0.5) == PLACES[:1]
    with pytest.raises(AmbisegError, match=r"no point of this scan with a probability of 0.95 or more"):
        read_points(tmp_path / "found.csv", ["1.2.3"], min_score=0.95)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            [OTHER, {**OTHER, "image": "case-3.nii"}],
            'has boxes for 2 images, but none for this scan; its key "image" must',
        ),
        ([{**ENTRY, "box": []}, OTHER], "has 0 boxes and 2 scores of an image"),
        ([{"box": BOXES}, {"box": BOXES}], 'does not say which scan its boxes belong to: add the key "image"'),
        ([{**ENTRY, "box": [[1, 2, 3]]}], r"`box.0.3` is missing; expected the \"box\""),
        ([{**ENTRY, "box": [[10, 20, 30, 4, 5, -6]], "label_scores": [1]}], "has a box of the size 4, 5, -6: expected"),
        ({"image": "case-1.nii"}, "holds no detections"),
        ([], "holds no detections"),
        ("[{", "is damaged, no JSON from here on"),
    ],
)
def test_what_is_no_list_of_detections_is_named(tmp_path: Path, content: object, says: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(AmbisegError, match=says):
        read_points(tmp_path / "result.json", ["case-1"])


def test_detections_are_in_mm(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps([ENTRY]))
    with pytest.raises(AmbisegError, match=r"is a list of detections, whose places are in mm: leave out `voxel`"):
        read_points(tmp_path / "result.json", ["case-1"], voxels=True)
