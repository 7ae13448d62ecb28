"""Warnings about scans for which a model was not trained."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from ambiseg.models.prediction.cautions import cautions, notes
from ambiseg.models.prediction.lesion import Lesion
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.scans.scan import DicomScan, Scan
from ambiseg.preprocessing.volumes.grid import grid_from
from ambiseg.preprocessing.volumes.volume import Volume

Make = Callable[..., Trained]


def scan(array: np.ndarray, spacing: Sequence[float] = (0.7, 0.7, 2.0), modality: str | None = None) -> Scan:
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    dicom = None if modality is None else DicomScan((), "1.2.3", modality)
    return Scan("scan", Volume(array, affine, modality=modality or ""), grid_from(affine, array.shape[::-1]), dicom)


CHEST = np.linspace(-1000, 400, 4 * 6 * 6).reshape(4, 6, 6)


def test_a_chest_ct_raises_none(threshold_model: Make) -> None:
    assert cautions(threshold_model(), scan(CHEST)) == []
    assert cautions(threshold_model(), scan(CHEST, modality="CT")) == []


def test_another_modality_is_named(threshold_model: Make) -> None:
    (caution,) = cautions(threshold_model(), scan(CHEST, modality="MR"))
    assert "the modality of this series is MR" in caution
    assert cautions(threshold_model(unit="relative", low=-1000, high=400), scan(CHEST, modality="MR")) == []


def test_intensities_that_are_no_hounsfield_units(threshold_model: Make) -> None:
    (caution,) = cautions(threshold_model(), scan(np.clip(CHEST, 0, 255)))
    assert "values only range from 0 to 255" in caution


def test_what_is_as_it_should_be_is_a_note_and_no_warning(threshold_model: Make) -> None:
    """A CT in HU for a model of values without a unit is always scaled: nobody can do anything about it."""
    relative = threshold_model(unit="relative", low=0, high=255)
    for modality in (None, "CT"):
        assert cautions(relative, scan(CHEST, modality=modality)) == []
        (note,) = notes(relative, scan(CHEST, modality=modality))
        assert "Each slice was scaled to the model's range by the range that it uses" in note
    assert notes(threshold_model(), scan(CHEST)) == []


def test_intensities_of_another_range_than_a_relative_model_saw(threshold_model: Make) -> None:
    relative = threshold_model(unit="relative", low=0, high=255)
    assert cautions(relative, scan(np.clip(CHEST, 0, 255))) == notes(relative, scan(np.clip(CHEST, 0, 255))) == []
    for other in (scan(CHEST + 1000), scan(CHEST + 1000, modality="MR")):
        (caution,) = cautions(relative, other)
        assert "Each slice was scaled to the model's range by the range that it uses" in caution
        assert "Is this the kind of scan that the model was trained on?" in caution
        assert notes(relative, other) == []


@pytest.mark.parametrize(
    ("spacing", "said"),
    [((0.05, 0.05, 0.05), "0.05 x 0.05 x 0.05"), ((0.7, 3, 1), "0.7 x 3 x 1"), ((0.7, 0.7, 12), "0.7 x 0.7 x 12")],
)
def test_absurd_voxels(threshold_model: Make, spacing: Sequence[float], said: str) -> None:
    (caution,) = cautions(threshold_model(), scan(CHEST, spacing))
    assert f"voxels measure {said} mm, which is unusual for a chest CT" in caution
    assert cautions(threshold_model(), scan(CHEST.reshape(1, 12, 12), (0.7, 0.7, 12))) == []


def test_every_warning_is_given(threshold_model: Make) -> None:
    assert len(cautions(threshold_model(), scan(np.clip(CHEST, 0, 255), (9, 9, 9), "MR"))) == 3


def test_hounsfield_units_are_known_by_modality_or_by_air_and_tissue() -> None:
    assert scan(CHEST).volume.hounsfield
    assert not scan(np.clip(CHEST, 0, 255)).volume.hounsfield
    assert not scan(CHEST, modality="MR").volume.hounsfield
    assert scan(np.clip(CHEST, 0, 255), modality="CT").volume.hounsfield


def test_specks_of_a_mask_are_named_beside_larger_pieces(threshold_model: Make) -> None:
    def lesion(voxels: int) -> Lesion:
        return Lesion((0, 0, 0), roi=np.zeros((voxels, 3), np.intp))

    point = Lesion((0, 0, 0))
    (caution,) = cautions(threshold_model(), scan(CHEST), lesions=[point, lesion(40), lesion(1), lesion(2), lesion(3)])
    assert caution.startswith("The mask has 2 pieces of one or two voxels beside larger ones (the first is lesion 3)")
    for lesions in ([point], [lesion(40), lesion(3)], [lesion(1), lesion(2), point], []):
        assert cautions(threshold_model(), scan(CHEST), lesions=lesions) == []


def test_what_was_passed_over_beside_the_scan_is_told_first(threshold_model: Make) -> None:
    note = "Left out of the series, as no slices of the scan: localizer (1.dcm)."
    found = cautions(threshold_model(), replace(scan(np.clip(CHEST, 0, 255)), notes=(note,)))
    assert found[0] == note
    assert len(found) == 2
