"""Masks of any program, scored: known figures, every layout of folders, weights, and refusals that write nothing."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import ambiseg
from ambiseg.models.scoring.mask_scores import insight, score
from ambiseg.models.scoring.mask_sets import folder_cases
from ambiseg.preprocessing.errors import DataError, InputError, UsageError

Masks = NDArray[np.uint8]


def squares(*sides: int) -> Masks:
    """Squares of these sides in a corner of 8 x 8 pixels; 0 is an empty mask."""
    masks = np.zeros((len(sides), 8, 8), np.uint8)
    for mask, side in zip(masks, sides, strict=True):
        mask[:side, :side] = 1
    return masks


def test_figures_of_a_case_that_is_known() -> None:
    """Readers draw 4 and 16 pixels, the program 4 and nothing: all IoUs can be written down."""
    found = {name: one.mean for name, one in score(squares(2, 4), squares(2, 0)).figures.items()}
    overlap = 1 - (1 + 0.25 + 0 + 0) / 4
    own, readers = 1 / 2, 0.75 / 2
    assert found["ged_v"] == pytest.approx(2 * overlap - own - readers)
    assert found["ged_u"] == pytest.approx(2 * overlap - 2 * own - 2 * readers)
    assert found["hm_iou"] == pytest.approx((1 + 0) / 2)
    assert found["d_max"] == pytest.approx((1 + 0.4) / 2)
    assert found["dice"] == pytest.approx((1 + 0.4) / 4)
    assert (found["volume_masks"], found["volume_readers"]) == (2, 10)
    assert (found["empty_masks"], found["empty_readers"]) == (0.5, 0)
    assert found["ged16_v"] is None
    sensitivity, agreement = 4 / 16, 1 - (abs(1 - 0.6) + abs(1 - 0.6)) / 2
    assert found["combined_sensitivity"] == pytest.approx(sensitivity)
    assert found["diversity_agreement"] == pytest.approx(agreement)
    total = sensitivity + 0.7 + agreement
    assert found["collective_insight"] == pytest.approx(3 * sensitivity * 0.7 * agreement / total)


def test_one_mask_has_no_diversity_and_nothing_anywhere_is_found() -> None:
    alone = insight(squares(2), squares(2, 4), np.ones((1, 2)))
    assert np.isnan(alone["diversity_agreement"])
    nothing = insight(squares(0, 0), squares(0, 0), np.ones((2, 2)))
    assert (nothing["combined_sensitivity"], nothing["collective_insight"]) == (1, 1)


def test_weights_are_used_and_calibrated_ones_have_no_error() -> None:
    readers = squares(3, 0, 0, 0)
    right, wrong = (score(readers, squares(3, 0), weights).figures for weights in ([0.25, 0.75], [0.75, 0.25]))
    assert right["ged_v"].mean == pytest.approx(0, abs=1e-12)
    assert right["hypothesis_ece"].mean == pytest.approx(0)
    assert wrong["hypothesis_ece"].mean == pytest.approx(1 / 3)  # and none of these: 0, rightly
    assert right["ged50_v"].mean is not None  # drawn from the weights
    assert "hypothesis_ece" not in score(readers, squares(3, 0)).figures


def layouts(folder: Path, masks: Masks, layout: str) -> None:
    """Two cases, each of the masks, in one of the layouts."""
    for case in ("a", "b"):
        for number, mask in enumerate(masks):
            place = {
                "case": f"{case}/r{number}.png",
                "name": f"r{number}/{case}.png",
                "flat": f"{case}_r{number}.png",
            }.get(layout)
            if place is not None:
                path = folder / place
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask * 255).save(path)
        if layout == "npz":
            folder.mkdir(exist_ok=True)
            np.savez(folder / f"{case}.npz", masks=masks)


@pytest.mark.parametrize("readers", ["case", "name", "flat", "npz"])
@pytest.mark.parametrize("masks", ["case", "npz"])
def test_every_layout_of_folders_gives_the_same(tmp_path: Path, readers: str, masks: str) -> None:
    layouts(tmp_path / "readers", squares(2, 4, 3), readers)
    layouts(tmp_path / "masks", squares(2, 0), masks)
    found = score(tmp_path / "readers", tmp_path / "masks")
    alone = score(squares(2, 4, 3), squares(2, 0))
    assert [(one.case, one.readers, one.masks) for one in found.cases] == [("a", 3, 2), ("b", 3, 2)]
    assert found.figures["ged_u"].mean == alone.figures["ged_u"].mean
    assert set(folder_cases(tmp_path / "readers")) >= {"a", "b"} or readers in ("case", "name")


def test_volumes_in_mm(tmp_path: Path) -> None:
    for folder, sides in (("readers", (2, 4)), ("masks", (2, 0, 3))):
        for number, mask in enumerate(squares(*sides)):
            (tmp_path / folder / "x").mkdir(parents=True, exist_ok=True)
            volume = np.repeat(mask.T[..., None], 3, 2)
            nib.save(nib.Nifti1Image(volume, np.diag([0.5, 0.5, 2, 1])), tmp_path / folder / "x" / f"m{number}.nii.gz")
    found = ambiseg.score(str(tmp_path / "readers"), str(tmp_path / "masks"))
    assert (found.unit, found.figures["volume_readers"].mean) == ("mm³", pytest.approx(30 * 0.5))


def test_another_label_is_another_structure_and_white_is_one() -> None:
    """A case in which only label 2 of several is drawn is no mask of label 1."""
    one = squares(3)
    assert score(one, one * 2).figures["iou"].mean == 0
    assert score(one * 2, one * 2).figures["iou"].mean == 1
    assert score(one, one * 255).figures["iou"].mean == 1


def test_weights_of_arrays_are_one_for_each_mask() -> None:
    with pytest.raises(DataError, match="Got 3 weights for 2 masks: give one for each"):
        score(squares(2, 4), squares(2, 0), [0.5, 0.5, 0.0])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a,r0,0.5\na,r1,0.6\nb,r0,1\nb,r1,0\n", r"weights of case 'a' have the sum 1\.1"),
        ("a,r0,1.5\na,r1,-0.5\nb,r0,1\nb,r1,0\n", r"least -0\.5: expected none below 0"),
        ("a,r0,1\nb,r0,1\nb,r1,0\n", r"weights of case 'a' do not fit its 2 masks \('r1'\)"),
        ("a,r0,1\na,r0,0\n", r"'r0' has a weight already"),
    ],
)
def test_weights_that_cannot_be_are_named(tmp_path: Path, rows: str, words: str) -> None:
    layouts(tmp_path / "readers", squares(2, 4), "case")
    layouts(tmp_path / "masks", squares(2, 0), "case")
    (tmp_path / "w.csv").write_text("case,mask,weight\n" + rows)
    with pytest.raises(DataError, match=words):
        score(tmp_path / "readers", tmp_path / "masks", tmp_path / "w.csv", layout="case/mask")


def test_what_does_not_belong_together_is_one_sentence(tmp_path: Path) -> None:
    layouts(tmp_path / "readers", squares(2, 4), "case")
    with pytest.raises(InputError, match="There is no folder"):
        score(tmp_path / "readers", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no masks: expected NIfTI, PNG or npz"):
        score(tmp_path / "readers", tmp_path / "empty")
    (tmp_path / "other" / "z").mkdir(parents=True)
    Image.fromarray(squares(2)[0]).save(tmp_path / "other" / "z" / "q.png")
    with pytest.raises(InputError, match="No case is in both"):
        score(tmp_path / "readers", tmp_path / "other")
    np.savez(tmp_path / "other" / "a.npz", masks=np.zeros((1, 9, 9), np.uint8))
    with pytest.raises(DataError, match=r"masks of a have the shape \[9, 9\], the readers' \[8, 8\]"):
        score(tmp_path / "readers", tmp_path / "other")
    np.savez(tmp_path / "other" / "a.npz", masks=np.full((1, 8, 8), 0.3))
    with pytest.raises(DataError, match=r"numbers that are no labels, such as 0\.3"):
        score(tmp_path / "readers", tmp_path / "other")
    layouts(tmp_path / "same", squares(2, 4), "case")
    with pytest.raises(InputError, match="can be read in two ways"):
        score(tmp_path / "readers", tmp_path / "same")
    assert len(score(tmp_path / "readers", tmp_path / "same", layout="case/mask").cases) == 2
    with pytest.raises(InputError, match="cannot be read as case_mask"):
        score(tmp_path / "readers", tmp_path / "same", layout="case_mask")
    with pytest.raises(UsageError, match="two folders, or two arrays"):
        score(squares(2), tmp_path / "other")
