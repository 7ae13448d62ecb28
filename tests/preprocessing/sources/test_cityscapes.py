"""Multimodal Cityscapes, on a tiny synthetic set in the official layout: splits, resolution, labels, the 32 modes, refusals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.sources.papers.cityscapes_frames import CLASS_NAMES, SCORED, classes_of_ids
from ambiseg.preprocessing.sources.papers.cityscapes_store import Size, preprocess_cityscapes
from ambiseg.preprocessing.store.store import IGNORE, Store

HEIGHT, WIDTH = 64, 128
FRAMES = {  # official folder -> frames
    "train": (
        *("aachen_000000_000019", "aachen_000001_000019", "bochum_000000_000313", "bochum_000000_000600"),
        *("darmstadt_000003_000019", "monchengladbach_000000_000076", "ulm_000005_000019"),
    ),
    "val": ("frankfurt_000000_000294", "munster_000002_000019"),
    "test": ("berlin_000000_000019",),
}
ROAD, SIDEWALK, BUILDING, VEGETATION, SKY, PERSON, CAR, EGO, PARKING, CARAVAN = 7, 8, 11, 21, 23, 24, 26, 1, 9, 29


def made_frame(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A street scene's image [H, W, 3] and label ids [H, W]; every colour follows from the label, with noise."""
    rng = np.random.default_rng(number)
    ids = np.full((HEIGHT, WIDTH), SKY, np.uint8)
    ids[16:, : WIDTH // 2] = BUILDING
    ids[20:, WIDTH // 2 :] = VEGETATION
    ids[40:] = ROAD
    ids[40:, : rng.integers(20, 40)] = SIDEWALK
    ids[44:48, 100:] = PARKING
    ids[30:38, 120:] = CARAVAN
    left = rng.integers(40, 90)
    ids[36:48, left : left + 20] = CAR
    ids[32:52, 10:14] = PERSON
    ids[60:] = EGO
    image = np.stack((ids * 7, 255 - ids * 5, ids * 3), axis=2) + rng.integers(0, 12, (HEIGHT, WIDTH, 3))
    return image.clip(0, 255).astype(np.uint8), ids


def write_cityscapes(root: Path, frames: dict[str, tuple[str, ...]] | None = None) -> Path:
    """A tiny set in the official layout; as there, the test folder's labels say nothing (all 0)."""
    for folder, names in (frames or FRAMES).items():
        for number, name in enumerate(names):
            image, ids = made_frame(number)
            city = name.split("_")[0]
            for place, suffix, pixels in (
                ("leftImg8bit", "leftImg8bit", image),
                ("gtFine", "gtFine_labelIds", ids * (folder != "test")),
            ):
                path = root / place / folder / city / f"{name}_{suffix}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic set that tests only read."""
    return write_cityscapes(tmp_path_factory.mktemp("cityscapes"))


@pytest.fixture(scope="module")
def store(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The synthetic set at quarter resolution, 16 x 32."""
    return made_store(root, tmp_path_factory.mktemp("store") / "cityscapes")


def made_store(root: Path, out: Path, size: Size = "quarter", workers: int = 1) -> Store:
    return Store.open(preprocess_cityscapes(root, out, size=size, workers=workers).store)


def test_splits_are_the_papers(store: Store) -> None:
    """The official val is the test split, three cities of train are the validation split, the official test is not used."""
    found = {split: [store.index[row]["case"] for row in store.rows(split)] for split in ("train", "val", "test")}
    assert found == {"train": list(FRAMES["train"][:4]), "val": list(FRAMES["train"][4:]), "test": list(FRAMES["val"])}
    recordings = ["aachen_000000", "aachen_000001", "bochum_000000", "bochum_000000"]
    assert store.column("patient")[store.rows("train")].tolist() == recordings
    assert store.column("city")[store.rows("val")].tolist() == ["darmstadt", "monchengladbach", "ulm"]


def test_the_24_classes(store: Store) -> None:
    assert store.class_names == CLASS_NAMES
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == 24
    assert {CLASS_NAMES[label] for label in store.manifest.scored_labels or ()} == {
        *("sidewalk", "person", "car", "vegetation", "road"),
        *("sidewalk2", "person2", "car2", "vegetation2", "road2"),
    }
    assert CLASS_NAMES[0] == "sky"
    assert 0 not in (store.manifest.scored_labels or ())
    assert set(SCORED) <= set(CLASS_NAMES)


def test_label_ids_become_classes() -> None:
    ids = np.arange(34, dtype=np.uint8)
    names = ["ignored" if label == IGNORE else CLASS_NAMES[label] for label in classes_of_ids(ids, "made")]
    assert names == [
        *["ignored"] * 7,
        *("road", "sidewalk", "ignored", "ignored", "building", "wall", "fence", "ignored", "ignored", "ignored"),
        *("pole", "ignored", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider"),
        *("car", "truck", "bus", "ignored", "ignored", "train", "motorcycle", "bicycle"),
    ]
    assert classes_of_ids(np.array([255], np.uint8), "made").tolist() == [IGNORE]
    with pytest.raises(DataError, match=r"made holds the label id 34: expected Cityscapes' ids 0\.\.33"):
        classes_of_ids(np.array([[7, 34]], np.uint8), "made")


@pytest.mark.parametrize(("size", "factor"), [("full", 1), ("half", 2), ("quarter", 4)])
def test_images_are_averaged_and_labels_picked(size: Size, factor: int, root: Path, tmp_path: Path) -> None:
    store = made_store(root, tmp_path / "out", size)
    image, ids = made_frame(1)  # the second of each official folder
    rows = np.array([1, 8])
    assert store.size == (HEIGHT // factor, WIDTH // factor)
    squares = image.reshape(HEIGHT // factor, factor, WIDTH // factor, factor, 3).mean((1, 3)).transpose(2, 0, 1)
    middle = np.array(
        [[ids[y + factor // 2, x + factor // 2] for x in range(0, WIDTH, factor)] for y in range(0, HEIGHT, factor)]
    )
    for row in rows:
        np.testing.assert_allclose(store.images(np.array([row]))[0], squares, atol=0.5)
        np.testing.assert_array_equal(store.labels(np.array([row]))[0, 0], classes_of_ids(middle, "made"))


def test_the_32_modes_and_their_odds(store: Store) -> None:
    """By their definition: each of five classes becomes a second one or not, independently of the others."""
    rows = store.rows("test")
    masks, odds, base = store.masks(rows), store.truth.probabilities(rows), store.labels(rows)[:, 0]
    assert masks.shape == (2, 32, HEIGHT // 4, WIDTH // 4)
    assert odds[0].max() == pytest.approx(9 * 10 * 11 * 12 * 13 / 17**5)  # unflipped, 10.9 %
    assert odds[0].min() == pytest.approx(8 * 7 * 6 * 5 * 4 / 17**5)  # all flipped, 0.5 %
    np.testing.assert_allclose(odds.sum(1), 1)
    chances = {"sidewalk": 8, "person": 7, "car": 6, "vegetation": 5, "road": 4}
    seen = set()
    for mode in range(32):
        expected, probability, flipped = base[0].copy(), 1.0, []
        for name, chance in chances.items():
            second = CLASS_NAMES.index(f"{name}2")
            applied = bool((masks[0, mode] == second).any())
            expected[applied & (base[0] == CLASS_NAMES.index(name))] = second
            probability *= chance / 17 if applied else 1 - chance / 17
            flipped += [name] * applied
        np.testing.assert_array_equal(masks[0, mode], expected)
        assert odds[0, mode] == pytest.approx(probability)
        seen.add(tuple(flipped))
    assert len(seen) == 32
    assert (masks[:, :, -1] == IGNORE).all()  # the ego vehicle counts for nothing in any mode


def test_workers_change_nothing(root: Path, store: Store, tmp_path: Path) -> None:
    assert made_store(root, tmp_path / "out", workers=2).content_hash == store.content_hash


def test_progress_is_told(root: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    preprocess_cityscapes(root, tmp_path / "out", workers=1, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 9) for done in range(1, 10)]


def test_a_part_of_the_set_is_noted(tmp_path: Path) -> None:
    part = write_cityscapes(tmp_path / "part", {"train": ("aachen_000000_000019", "ulm_000005_000019")})
    report = preprocess_cityscapes(part, tmp_path / "out", workers=1)
    assert report.counts == {"train cities": 1, "val cities": 1, "test cities": 0}
    assert report.notes == [
        "Validation cities that are not there: darmstadt, monchengladbach; the validation split is not the papers'.",
        "There is no folder val with images: the test split is empty.",
    ]


@pytest.fixture
def spoil(tmp_path: Path) -> Callable[[str, NDArray | bytes | None], Path]:
    """A function that makes a set with one file of aachen (image or labelIds) replaced, or without it."""

    def make(which: str, content: NDArray | bytes | None) -> Path:
        root = write_cityscapes(tmp_path / "spoilt")
        (file,) = root.glob(f"*/train/aachen/aachen_000001_000019_*{which}.png")
        file.unlink()
        if isinstance(content, bytes):
            file.write_bytes(content)
        elif content is not None:
            Image.fromarray(content).save(file)
        return root

    return make


WRONG: list[tuple[str, NDArray | bytes | None, type[Exception], str]] = [
    (
        "labelIds",
        None,
        InputError,
        r"1 of 9 images have no labels, such as leftImg8bit/train/aachen/aachen_000001_000019_",
    ),
    (
        "labelIds",
        np.full((HEIGHT, WIDTH), 77, np.uint8),
        DataError,
        r"aachen/aachen_000001_000019_gtFine_labelIds\.png holds the label id 77",
    ),
    ("labelIds", np.zeros((HEIGHT, 100), np.uint8), DataError, "has 64x100 pixels, its image 64x128"),
    ("labelIds", np.zeros((HEIGHT, WIDTH, 3), np.uint8), DataError, "is a picture of the kind RGB, expected L"),
    ("labelIds", b"\x89PNG\r\n", DataError, r"^gtFine/train/aachen/.* is not a whole PNG file"),
    ("leftImg8bit", np.zeros((HEIGHT, WIDTH), np.uint8), DataError, "is a picture of the kind L, expected RGB"),
    ("leftImg8bit", b"no picture", DataError, r"^leftImg8bit/train/aachen/.* is not a whole PNG file"),
]


@pytest.mark.parametrize(("which", "content", "error", "message"), WRONG, ids=[message[-24:] for *_, message in WRONG])
def test_what_cannot_be_used_is_told(
    which: str,
    content: NDArray | bytes | None,
    error: type[Exception],
    message: str,
    spoil: Callable[[str, NDArray | bytes | None], Path],
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        preprocess_cityscapes(spoil(which, content), tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()


def test_sizes_that_do_not_fit_are_told(spoil: Callable[[str, NDArray | bytes | None], Path], tmp_path: Path) -> None:
    root = spoil("leftImg8bit", np.zeros((62, WIDTH, 3), np.uint8))
    Image.fromarray(np.zeros((62, WIDTH), np.uint8)).save(
        root / "gtFine/train/aachen/aachen_000001_000019_gtFine_labelIds.png"
    )
    with pytest.raises(DataError, match="has 62x128 pixels, which do not divide into squares of 4"):
        preprocess_cityscapes(root, tmp_path / "out", workers=1)
    with pytest.raises(DataError, match="crops of one store have one shape"):
        preprocess_cityscapes(root, tmp_path / "out", size="half", workers=1)


def test_another_layout_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No Cityscapes images in .*: expected leftImg8bit/train/CITY/"):
        preprocess_cityscapes(tmp_path, tmp_path / "out")


def test_the_command(root: Path, tmp_path: Path, ambiseg: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = ambiseg("preprocess", "cityscapes", root, "-o", tmp_path / "out", "--size", "half", "--workers", 1)
    assert (code, out) == (0, f"{tmp_path / 'out'}: images 9, cities in train 2, in val 3, in test 2\n")
    assert "Note" not in err
