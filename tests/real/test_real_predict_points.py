"""Shipped models at many places of a real chest CT: vessels, bone, air, edges and corners; every prediction is complete."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import ambiseg
from ambiseg.models.bundle.installed import known_models
from ambiseg.models.runs.trained import load_trained

pytestmark = [pytest.mark.real, pytest.mark.slow]

POINTS = [
    (-35.0, 150.0, 690.0),  # in the hilum: hypotheses longer than the region that the page shows
    (-20.0, 180.0, 660.0),
    (0.0, 150.0, 660.0),  # the heart
    (45.1, 209.9, 631.9),  # a dense spot in the lung
    (60.0, 200.0, 700.0),  # the lung
    (-5.0, 115.0, 640.0),  # the spine
    (-109.0, 200.0, 700.0),  # an edge
    (71.6, 255.6, 742.7),  # a corner
    (-110.4, 103.5, 575.6),  # the opposite one, half a voxel out
]


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("lidc-gated", [POINTS[0], POINTS[8]]),
        *(pytest.param(name, POINTS, marks=pytest.mark.exhaustive) for name in ("lidc-gated", "lidc-mixture")),
    ],
)
def test_everything_is_made_at_every_place(
    real_data: Path, tmp_path: Path, name: str, points: list[tuple[float, float, float]]
) -> None:
    model = load_trained(known_models()[name], torch.device("cpu"))
    scan = real_data / "chest_ct" / "pulmonary_ct_cropped.nii.gz"
    found = ambiseg.predict(scan, model, at=points, draws=64)
    assert list(found.save(tmp_path / "out", formats=["seg-nrrd"])) == []
    assert found.figures["warnings"] == []
    written = json.loads((tmp_path / "out" / "hypotheses.json").read_text())
    assert written == found.figures
    for lesion, point in zip(written["lesions"], points, strict=True):
        assert lesion["centre_mm"] == list(point)
        assert (tmp_path / "out" / lesion["preview"]).is_file()
        for entry in lesion["hypotheses"]:
            mask = nib.load(tmp_path / "out" / entry["file"])
            assert mask.shape == (122, 102, 112)
            assert entry["empty"] == (not np.asarray(mask.dataobj).any())
