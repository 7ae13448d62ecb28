"""Fused masks: each rule on pixels that are known, STAPLE against a careless reader, and stores that can be trained on."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ambiseg.models.scoring.consensus import RULES, consensus, staple_probability, write_consensus
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.store.store import IGNORE, Store

VOTES = np.array([[[1, 1, 1, 0]], [[1, 1, 0, 0]], [[1, 0, 0, 0]]], np.uint8)


def test_each_rule_on_known_votes() -> None:
    found = {rule: consensus(VOTES, rule)[0].tolist() for rule in RULES if rule not in ("staple", "mean")}
    assert found == {"majority": [1, 1, 0, 0], "union": [1, 1, 1, 0], "intersection": [1, 0, 0, 0]}
    np.testing.assert_allclose(consensus(VOTES, "mean")[0], [1, 2 / 3, 1 / 3, 0], rtol=1e-6)


def test_a_tie_is_background_and_what_one_ignores_counts_for_nothing() -> None:
    assert consensus(VOTES[:2], "majority")[0].tolist() == [1, 1, 0, 0]
    ignoring = VOTES.copy()
    ignoring[2, 0, 0] = IGNORE
    assert consensus(ignoring, "majority")[0].tolist() == [IGNORE, 1, 0, 0]


def test_several_labels_are_voted_for_one_by_one() -> None:
    masks = np.array([[[1, 2, 2]], [[1, 2, 1]], [[2, 2, 0]]], np.uint8)
    assert consensus(masks, "majority")[0].tolist() == [1, 2, 0]
    assert consensus(masks, "staple").shape == (1, 3)
    with pytest.raises(UsageError, match="fuses masks of one label, but there are 2"):
        consensus(masks, "union")
    with pytest.raises(UsageError, match="No `rule` 'vote'"):
        consensus(masks, "vote")  # type: ignore[arg-type]


def test_staple_trusts_the_careful_readers() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((40, 40), np.uint8)
    truth[10:30, 12:28] = 1
    careful = [np.where(rng.random(truth.shape) < 0.03, 1 - truth, truth) for _ in range(3)]
    careless = [np.where(rng.random(truth.shape) < 0.45, 1 - truth, truth) for _ in range(4)]
    masks = np.stack([*careful, *careless]).astype(np.uint8)
    wrong = {rule: (consensus(masks, rule) != truth).mean() for rule in ("staple", "majority")}
    assert wrong["staple"] < 0.01 < wrong["majority"]


def test_staple_of_masks_that_are_alike_is_that_mask() -> None:
    assert not staple_probability(np.zeros((3, 4, 4), np.uint8)).any()
    assert (staple_probability(VOTES[:1]) == VOTES[0]).all()


def test_a_store_of_consensus_has_one_reader_and_the_same_split(known_truth: Store, tmp_path: Path) -> None:
    assert write_consensus(known_truth.path, tmp_path / "fused", "majority") == len(known_truth)
    store = Store.open(tmp_path / "fused")
    assert (store.readers, len(store), store.content_hash != known_truth.content_hash) == (1, len(known_truth), True)
    assert store.column("split").tolist() == known_truth.column("split").tolist()
    rows = np.array([3, 5])
    np.testing.assert_array_equal(store.images(rows), known_truth.images(rows))
    np.testing.assert_array_equal(store.masks(rows)[0, 0], consensus(known_truth.masks(rows)[0], "majority"))
    with pytest.raises(UsageError, match="fits the mean of their masks already"):
        write_consensus(known_truth.path, tmp_path / "mean", "mean")
    with pytest.raises(UsageError, match="holds the masks themselves"):
        write_consensus(known_truth.path, known_truth.path, "union")
    write_consensus(known_truth.path, tmp_path / "fused", "union")  # a store takes the place of a store
    assert Store.open(tmp_path / "fused").manifest.name.endswith("-union")
    assert not (tmp_path / "mean").exists()


def test_files_are_fused_into_files_of_their_kind(tmp_path: Path) -> None:
    for number, mask in enumerate(VOTES):
        (tmp_path / "png" / "a").mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask * 255).save(tmp_path / "png" / "a" / f"{number}.png")
        (tmp_path / "nifti" / "b").mkdir(parents=True, exist_ok=True)
        image = nib.Nifti1Image(mask.T[:, :, None], np.diag([0.7, 0.7, 2, 1]))
        nib.save(image, tmp_path / "nifti" / "b" / f"{number}.nii.gz")
    write_consensus(tmp_path / "png", tmp_path / "p", "mean")
    assert np.asarray(Image.open(tmp_path / "p" / "a.png")).tolist() == [[255, 170, 85, 0]]
    write_consensus(tmp_path / "nifti", tmp_path / "n", "majority")
    fused = nib.load(tmp_path / "n" / "b.nii.gz")
    assert np.asarray(fused.dataobj).ravel().tolist() == [1, 1, 0, 0]
    np.testing.assert_allclose(np.abs(np.diag(fused.affine)), [0.7, 0.7, 2, 1], rtol=1e-6)
