"""A synthetic set of ambiguous lesions whose readers are draws from known distributions over whole masks.

Each image shows a bright core inside a faint ring, on noise. A reader draws nothing, the core, or core and ring; how
often depends on the core's brightness, which is the visible cue. So a model of these readers can be checked against truth.
The store holds a few readers' draws, as real data do, or the three masks themselves with their probabilities.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...store.intensity import Intensity
from ...store.splits import split_patients
from ...store.store import Store
from ...store.store_crop import Crop, StoreInfo
from ...store.store_writer import write_store

MODES = ("empty", "core", "whole")
PROBABILITIES = {"faint": (0.6, 0.3, 0.1), "medium": (0.2, 0.2, 0.6), "bright": (0.0, 0.75, 0.25)}
BRIGHTNESS = {"faint": 0.45, "medium": 0.65, "bright": 0.95}
RING, BACKGROUND, NOISE = 0.33, 0.15, 0.04
CASES_A_PATIENT = 4
HABITS = {
    "anna": {"faint": "whole", "other": "whole"},
    "ben": {"faint": "core", "other": "core"},
    "carl": {"faint": "empty", "other": "core"},
}  # what a reader marks of a faint lesion, and of another one


@dataclass(frozen=True)
class Lesion:
    """One made lesion: its cue, centre (y, x) and the radii of core and ring, in pixels."""

    cue: str
    centre: tuple[float, float]
    core: float
    ring: float

    def modes(self, size: int) -> NDArray[np.uint8]:
        """The masks [3, size, size] of `MODES`."""
        y, x = np.ogrid[:size, :size]
        distance = np.hypot(y - self.centre[0], x - self.centre[1])
        empty = np.zeros((size, size), bool)
        return np.stack((empty, distance <= self.core, distance <= self.ring)).astype(np.uint8)

    def frequencies(self, size: int) -> NDArray[np.float64]:
        """How often readers give a pixel each class [2, size, size]."""
        marked = np.tensordot(self.probabilities, self.modes(size).astype(np.float64), 1)
        return np.stack((1 - marked, marked))

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The probabilities [3] of `MODES`."""
        return np.array(PROBABILITIES[self.cue])


def write_habits(path: Path, *, crops: int, size: int = 32, seed: int = 0) -> Store:
    """Make a store of `crops` images of `size` x `size`, each read by two of three named readers with habits of their own.

    anna marks core and ring, ben the core, and carl the core of lesions that are not faint, else nothing.
    """
    rng = np.random.default_rng(seed)
    patients = [f"made-{number // CASES_A_PATIENT:05d}" for number in range(crops)]
    info = StoreInfo(
        name="habits",
        source="made by ambiseg",
        intensity=Intensity("relative", 0.0, 1.0),
        settings={"crops": crops, "size": size, "seed": seed},
        group="cue",
        reader_names=tuple(HABITS),
        same_readers=True,
    )
    with write_store(path, info, split_patients(patients, seed, (60, 20, 20))) as writer:
        for number, patient in enumerate(patients):
            lesion = _lesion(size, rng)
            crop = _crop(lesion, size, 1, patient, number, rng)
            modes = [habit["faint" if lesion.cue == "faint" else "other"] for habit in HABITS.values()]
            present = np.arange(len(HABITS)) != rng.integers(len(HABITS))
            masks = lesion.modes(size)[[MODES.index(mode) for mode in modes]] * present[:, None, None].astype(np.uint8)
            writer.add(replace(crop, masks=masks, present=present))
    return Store.open(path)


def write_known_truth(
    path: Path,
    *,
    crops: int,
    size: int = 32,
    readers: int | None = 4,
    seed: int = 0,
    frequencies: bool = False,
    names: tuple[str, ...] = (),
) -> Store:
    """Make a store of `crops` images of `size` x `size` with `readers` independent readers each.

    None instead of a number of readers: the masks of `MODES` with their known probabilities, in groups by cue. `frequencies`:
    the true frequencies of the classes in each pixel are stored as another segmenter's class probabilities. `names`: of the
    readers, who all draw alike.
    """
    rng = np.random.default_rng(seed)
    patients = [f"made-{number // CASES_A_PATIENT:05d}" for number in range(crops)]
    info = StoreInfo(
        name="known-truth",
        source="made by ambiseg",
        intensity=Intensity("relative", 0.0, 1.0),
        settings={"crops": crops, "size": size, "readers": readers, "seed": seed},
        group="cue",
        reader_names=names,
    )
    with write_store(path, info, split_patients(patients, seed, (60, 20, 20))) as writer:
        for number, patient in enumerate(patients):
            lesion = _lesion(size, rng)
            crop = _crop(lesion, size, readers, patient, number, rng)
            writer.add(replace(crop, class_probabilities=lesion.frequencies(size)) if frequencies else crop)
    return Store.open(path)


def _lesion(size: int, rng: np.random.Generator) -> Lesion:
    y, x = (float(value) for value in size / 2 + rng.uniform(-size / 10, size / 10, 2))
    core = float(rng.uniform(0.1, 0.16) * size)
    return Lesion(str(rng.choice(list(PROBABILITIES))), (y, x), core, core + float(rng.uniform(0.1, 0.16) * size))


def _crop(lesion: Lesion, size: int, readers: int | None, patient: str, number: int, rng: np.random.Generator) -> Crop:
    modes = lesion.modes(size)
    _, core, whole = modes
    image = np.where(core, BRIGHTNESS[lesion.cue], np.where(whole, RING, BACKGROUND))
    image = image + rng.normal(0, NOISE, image.shape)
    known = readers is None
    return Crop(
        image=image[None].astype(np.float32),
        masks=modes if known else modes[rng.choice(len(MODES), readers, p=lesion.probabilities)],
        mask_probabilities=lesion.probabilities if known else None,
        patient=patient,
        case=f"case-{number:05d}",
        lesion="0",
        provenance={
            "cue": lesion.cue,
            "y": lesion.centre[0],
            "x": lesion.centre[1],
            "core": lesion.core,
            "ring": lesion.ring,
            **{f"p_{mode}": p for mode, p in zip(MODES, lesion.probabilities, strict=True)},
        },
    )
