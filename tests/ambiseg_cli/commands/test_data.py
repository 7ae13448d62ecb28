"""`ambiseg data`: what it says about a store, that it finds damage, and that it draws."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from ambiseg.commands.data import data
from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.store.flips import Flip
from ambiseg.preprocessing.store.intensity import BYTES
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store


def run(*arguments: object) -> Result:
    return CliRunner().invoke(data, [str(each) for each in arguments])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The only store under data/, 20 synthetic lesions of five patients."""
    monkeypatch.chdir(tmp_path)
    return write_known_truth(Path("data/made"), crops=20, size=24)


def test_info_counts(store: Store) -> None:
    facts = json.loads(run("info", "--json").stdout)
    assert facts["splits"]["all"] == {"patients": 5, "lesions": 20, "crops": 20}
    assert [facts["splits"][split]["patients"] for split in ("train", "val", "test")] == [3, 1, 1]
    marked = store.masks(np.arange(20)).any((2, 3)).sum(1)
    counted = {str(value): int((marked == value).sum()) for value in np.unique(marked)}
    assert facts["crops_by_readers_who_marked"] == counted
    assert (facts["readers"], facts["size"], facts["spacing_mm"]) == (4, [24, 24], None)
    assert facts["hash"] == store.content_hash
    assert facts["intensity"] == {"unit": "relative", "low": 0.0, "high": 1.0}


def test_info_as_tables(store: Store) -> None:
    printed = run("info", store.path).stdout
    for text in ("known-truth", "24 x 24 pixels", "as acquired", "relative, 0 to 1", "Crops by split", " %"):
        assert text in printed
    assert store.content_hash in "".join(line.strip("│ ").split("│")[-1].strip() for line in printed.splitlines())


def test_info_of_known_odds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = write_known_truth(Path("data/made"), crops=8, size=24, readers=None)
    facts = json.loads(run("info", "--json").stdout)
    assert (facts["known_odds"], facts["readers"], facts["masks"]) == (
        True,
        3,
        "3 masks of known probability per crop",
    )
    assert facts["special"] == {"mode probabilities are reported by": "cue"}
    printed = run("info").stdout
    assert "3 masks of known probability per crop" in printed
    assert "Crops by non-empty masks" in printed
    assert "- mode probabilities are reported by: cue" in (store.path / "README.md").read_text()


def test_info_of_flips_and_class_probabilities(tmp_path: Path) -> None:
    names = ("sky", "road", "road 2")
    info = StoreInfo("scenes", "made", BYTES, names, flips=(Flip(1, 2, 0.25),), scored=("road", "road 2"), game="game")
    image, mask = np.zeros((1, 6, 5), np.uint8), np.ones((1, 6, 5), np.uint8)
    with write_store(tmp_path / "scenes", info, {"a": "train"}) as writer:
        writer.add(Crop(image, mask, "a", "one", class_probabilities=np.full((3, 6, 5), 1 / 3)))
        writer.put_pool(part=image)
    facts = json.loads(run("info", tmp_path / "scenes", "--json").stdout)
    assert facts["masks"] == "1 label map per crop, from which 1 flip make 2 masks of known probability"
    assert facts["special"] == {
        "flips, with their probabilities": "road to road 2 0.25",
        "scored classes": "road, road 2",
        "class probabilities of another segmenter": "with every crop",
        "training images are drawn anew": "game",
    }
    assert "all files are as written" in run("verify", tmp_path / "scenes").stdout.replace("\n", " ")


def test_verify_finds_damage(store: Store) -> None:
    assert f"20 crops, hash {store.content_hash}" in run("verify").stdout.replace("\n", " ")
    shard = store.path / "masks_000.npy"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    (store.path / "index.csv").unlink()
    failed = run("verify").exception
    assert isinstance(failed, DataError)
    assert "is damaged; files are missing or changed: index.csv, masks_000.npy. Make the dataset again" in str(failed)


@pytest.mark.drawn
def test_export_draws(store: Store) -> None:
    for name, seed in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        result = run("export", "-o", name, "--split", "train", "--count", 4, "--seed", seed)
        assert result.exit_code == 0, result.output
    first, again, other = (Path(name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    assert first == again != other
    assert first.startswith(b"\x89PNG")


def test_no_store_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["info"], ["verify", "nowhere"], ["export", "nowhere"]):
        assert isinstance(run(*arguments).exception, InputError)
    assert list(tmp_path.iterdir()) == []


def test_split_anew(store: Store) -> None:
    printed = run("split", "-o", "data/again", "--split", "60,20,20", "--seed", "2").stdout
    assert printed == "data/again: train 12, val 4, test 4 crops\n"
    printed = run("split", store.path, "-o", "folds", "--folds", "5").stdout.splitlines()
    assert [line.partition(":")[0] for line in printed] == [f"folds/fold-{fold}" for fold in range(1, 6)]
    folds = [Store.open(f"folds/fold-{fold}") for fold in range(1, 6)]
    tested = [row.patient for fold in folds for row in fold.index if row.split == "test"]
    assert sorted(tested) == sorted(row.patient for row in store.index), "each crop is tested once"
    refused = run("split", store.path, "-o", "more", "--folds", "5", "--split-file", "folds/folds.csv")
    assert str(refused.exception) == "`folds` and `split_file` are given together: give one of them."
    assert "`folds` and `split`" in str(run("split", "-o", "more", "--folds", "2", "--split", "1,1,1").exception)
    assert not Path("more").exists()
