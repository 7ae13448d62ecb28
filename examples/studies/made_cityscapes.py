"""A synthetic street set in Cityscapes' official layout: the multimodal game of 24 classes without Cityscapes.

    python examples/studies/made_cityscapes.py made --frames 400
    ambiseg preprocess cityscapes made --size full -o data/made-cityscapes
    ambiseg train --data data/made-cityscapes --preset known-truth --method hpu --seed 0 -o runs/made-cityscapes \
        --steps 1200 --set augment.flip=horizontal
    ambiseg evaluate runs/made-cityscapes --samples 64
    python examples/studies/made_cityscapes.py runs/made-cityscapes/evaluation-test --frequencies

Every frame is 32 x 64 pixels and has sky, buildings, a pole and the five classes that flip: road, sidewalk, vegetation, a car
and a person. The colour of a pixel follows from its label, with noise, so that segmentation is easy and the modes are all that
there is to learn: 32 label maps per frame, whose probabilities are known (docs/how-to/cityscapes.md). Nothing in a frame tells
which flips it has. --frequencies prints for each class how often it flips: the truth, then the evaluated model. Cityscapes
itself is not needed, and what is learned here says nothing about streets.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ambiseg.models.evaluation.summary_document import EvaluationSummary
from ambiseg.preprocessing.sources.papers.cityscapes_frames import FLIPPED, LABEL_IDS, VALIDATION_CITIES, Frame
from ambiseg.terminal.console import plain_errors

HEIGHT, WIDTH = 32, 64
CITIES = {"train": ("aachen", "bochum", "bremen", *VALIDATION_CITIES), "val": ("frankfurt",)}
NOISE = 12
IDS = {name: np.uint8(number) for name, number in LABEL_IDS.items()}


def street(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A frame's image [H, W, 3] and its label ids [H, W]. All five classes that flip lie in its middle 32 columns."""
    ids = np.full((HEIGHT, WIDTH), IDS["sky"])
    horizon, kerb = rng.integers(12, 16), rng.integers(22, 27)
    border = rng.integers(24, 41)
    ids[rng.integers(4, 8) : horizon, :border] = IDS["building"]
    ids[rng.integers(6, 10) : horizon, border:] = IDS["vegetation"]
    ids[horizon:] = IDS["road"]
    ids[kerb:] = IDS["sidewalk"]
    ids[5 : horizon + 2, rng.integers(17, 47)] = IDS["pole"]
    left, top = rng.integers(30, 38), horizon + rng.integers(0, 3)
    ids[top : top + 7, left : left + 10] = IDS["car"]
    left, top = rng.integers(17, 25), horizon + rng.integers(2, 5)
    ids[top : top + 9, left : left + 5] = IDS["person"]
    shades = np.stack((ids * 7, 255 - ids * 5, ids * 3), 2) + rng.integers(-NOISE, NOISE + 1, (HEIGHT, WIDTH, 3))
    return shades.clip(0, 255).astype(np.uint8), ids


def frames(root: Path, count: int) -> Iterator[Frame]:
    """So many frames of the set: every fourth is a test frame, the others go round the training cities, validation's too."""
    for number in range(count):
        folder = "val" if number % 4 == 3 else "train"
        cities: Sequence[str] = CITIES[folder]
        city = cities[number % len(cities)]
        yield Frame(root, folder, city, f"{city}_{number:06d}_000019")


def write_made_cityscapes(root: Path, count: int, seed: int = 0) -> None:
    """Write the set, images and label ids as PNG, into `root`."""
    rng = np.random.default_rng(seed)
    for frame in frames(root, count):
        image, ids = street(rng)
        for place, pixels in ((frame.image, image), (frame.labels, ids)):
            path = root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def flip_frequencies(modes: Sequence[float]) -> dict[str, float]:
    """How often each class flips, of the probabilities of the 32 modes in the store's order, as shares of their sum.

    >>> flip_frequencies([0.5, 0.5, *[0.0] * 30])["sidewalk"]
    0.5
    """
    shares = np.array(modes) / np.sum(modes)
    flipped = np.arange(len(shares))[:, None] >> np.arange(len(FLIPPED)) & 1
    return dict(zip(FLIPPED, (shares @ flipped).tolist(), strict=True))


def print_frequencies(evaluation: Path) -> None:
    """A line per class: the truth and the model's."""
    modes = EvaluationSummary.read(evaluation).modes
    if not modes:
        raise SystemExit(f"{evaluation} holds no probabilities of modes.")
    (found,) = modes.values()
    for name, frequency in flip_frequencies(found.model).items():
        print(f"{name:12s}{FLIPPED[name]:8.3f}{frequency:8.3f}")


def main() -> None:
    """Write the set into a folder, or print what a model learned of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--frequencies", action="store_true", help="the folder is an evaluation: print how often classes flip"
    )
    given = parser.parse_args()
    if given.frequencies:
        print_frequencies(given.folder)
        return
    write_made_cityscapes(given.folder, given.frames, given.seed)
    print(f"{given.frames} frames of {HEIGHT} x {WIDTH} pixels in {given.folder}")


if __name__ == "__main__":
    with plain_errors():
        main()
