"""Small changes of what a model is shown, each with the way back: moved, mirrored, turned, noisier, of other pixels.

A change that alters nothing of the lesion should alter little of what a model says about it. Every view gives the model
slices of the size that it is used to. Its masks are then put back on the unchanged pixels, so that they can be compared.

Shifts move the window by whole pixels over the stored crop, so that no pixel is invented while the crop is larger than the
window. Beyond the stored crop its border is repeated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.store.intensity import LUNG_WINDOW, Intensity
from ambiseg.preprocessing.volumes.planes import centre_start
from ambiseg.preprocessing.volumes.resample import PlaneGrid, majority
from ambiseg.preprocessing.volumes.scanner_noise import LUNG_HU, scanner_noise

SHIFTS_MM = (1, 2, 3)
SHIFTS_SLICES = (1, 2)
OFFSET_HU = 20.0
PIXELS_MM = (0.5, 1.0, 1.5)
BEYOND_HU = {  # by how much the darkest and the brightest thing of a crop go beyond all else
    "brighter corner": (0.0, 600.0),  # bone or a bright vessel in a crop of lung
    "metal in a corner": (0.0, 2600.0),
    "filling in a corner": (1000.0, 0.0),
}
RANGE_HU = LUNG_WINDOW[1] - LUNG_WINDOW[0]  # how many HU the whole range of relative grey values is taken to be

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """The slices of a lesion, of which a model sees the centre.

    Attributes:
        images: whole stored crops [Z, C, H, W], float32, in the stored unit.
        size: height and width of the window that the model sees, in pixels.
        intensity: what the images' numbers are.
        pixel_mm: pixel size (y, x) in mm; None where it is not known.
        fixed_mm: pixel size of the model's training data; None where crops kept their scans' pixels.
    """

    images: NDArray[np.float32]
    size: int
    intensity: Intensity
    pixel_mm: tuple[float, float] | None
    fixed_mm: float | None = None

    @property
    def reach(self) -> int:
        """The largest shift, in pixels."""
        return 1 if self.pixel_mm is None else max(1, math.ceil(max(SHIFTS_MM) / min(self.pixel_mm)))

    @property
    def padded(self) -> bool:
        """Whether a window moved by `reach` goes beyond the stored crop."""
        return min(self.images.shape[2:]) < self.size + 2 * self.reach

    @property
    def per_hu(self) -> float:
        """One HU in the stored unit: relative values count as `RANGE_HU` from end to end."""
        return 1.0 if self.intensity.unit == "HU" else (self.intensity.high - self.intensity.low) / RANGE_HU

    def frame(self, side: int) -> NDArray[np.float32]:
        """The central `side` pixels of the slices [Z, C, side, side]; beyond the stored crop its border is repeated."""
        starts = [centre_start(length, self.size) - (side - self.size) // 2 for length in self.images.shape[2:]]
        rows, columns = (
            np.clip(np.arange(start, start + side), 0, length - 1)
            for start, length in zip(starts, self.images.shape[2:], strict=True)
        )
        return self.images[:, :, rows[:, None], columns]

    @property
    def side(self) -> int:
        """Height and width of the frame on which masks are compared, in pixels: the window with all its shifts."""
        return self.size + 2 * self.reach


@dataclass(frozen=True)
class View:
    """What the model is shown, and how its masks are put back.

    Attributes:
        images: [Z, C, size, size].
        back: from masks [S, Z, size, size] of these images to masks [S, Z, side, side] on the scene's frame.
        slices: which slices of the lesion are shown; None: all.
        seed: 1 where only the random numbers of the model's draws are others.
    """

    images: NDArray[np.float32]
    back: Callable[[Flags], Flags]
    slices: slice | None = None
    seed: int = 0


Change = Callable[[Scene, np.random.Generator], View | None]  # None where the scene does not allow it


def unchanged(scene: Scene) -> View:
    """The window at the centre."""
    return _window(scene, 0, 0)


def _window(scene: Scene, y: int, x: int) -> View:
    """The window moved by (y, x) pixels, at most the scene's reach."""
    place = tuple(slice(scene.reach + move, scene.reach + move + scene.size) for move in (y, x))

    def back(masks: Flags) -> Flags:
        found = np.zeros((*masks.shape[:2], scene.side, scene.side), bool)
        found[:, :, place[0], place[1]] = masks
        return found

    return View(scene.frame(scene.side)[:, :, place[0], place[1]], back)


def _moved(scene: Scene, rng: np.random.Generator, pixels: tuple[float, float]) -> View:
    """The window moved by that many pixels (y, x) in a random direction, rounded, by one pixel at least."""
    angle = rng.uniform(0, 2 * math.pi)
    y, x = round(pixels[0] * math.sin(angle)), round(pixels[1] * math.cos(angle))
    return _window(scene, y, x) if y or x else _window(scene, 0, 1)


def _by_a_pixel(scene: Scene, rng: np.random.Generator) -> View:
    return _moved(scene, rng, (1.0, 1.0))


def _by_mm(length: float) -> Change:
    def change(scene: Scene, rng: np.random.Generator) -> View | None:
        if scene.pixel_mm is None:
            return None
        return _moved(scene, rng, (length / scene.pixel_mm[0], length / scene.pixel_mm[1]))

    return change


def _by_slices(count: int) -> Change:
    """The stack moved by some slices: those at one end are left out, as nothing is stored beyond the other."""

    def change(scene: Scene, rng: np.random.Generator) -> View | None:
        if len(scene.images) <= count:
            return None
        kept = slice(count, None) if rng.random() < 0.5 else slice(None, -count)
        plain = unchanged(scene)
        return View(plain.images[kept], plain.back, kept)

    return change


def _turned(turn: Callable[[NDArray[Any]], NDArray[Any]], back: Callable[[NDArray[Any]], NDArray[Any]]) -> Change:
    """The window under a symmetry of the square, and the symmetry that undoes it; both act on the last two axes."""

    def change(scene: Scene, rng: np.random.Generator) -> View:
        plain = unchanged(scene)
        return View(np.ascontiguousarray(turn(plain.images)), lambda masks: plain.back(back(masks)))

    return change


def _quarter(array: NDArray[Any], times: int = 1) -> NDArray[Any]:
    return np.rot90(array, times, (-2, -1))


def _valued(scene: Scene, images: NDArray[np.float32]) -> View:
    """Other values in the same place, within the range of the data."""
    return View(images.clip(scene.intensity.low, scene.intensity.high), unchanged(scene).back)


def _offset(hounsfield: float) -> Change:
    def change(scene: Scene, rng: np.random.Generator) -> View:
        return _valued(scene, unchanged(scene).images + np.float32(hounsfield * scene.per_hu))

    return change


def _beyond(darker: float, brighter: float) -> Change:
    """Crops that were scaled by their own extremes, as if something in a corner were so many HU darker or brighter than all
    else: metal, bright vessels, filling. In HU nothing would change.
    """

    def change(scene: Scene, rng: np.random.Generator) -> View | None:
        if scene.intensity.unit == "HU":
            return None
        low, kept = np.float32(scene.intensity.low), np.float32(RANGE_HU / (darker + RANGE_HU + brighter))
        return _valued(scene, low + (unchanged(scene).images - low + np.float32(darker * scene.per_hu)) * kept)

    return change


def _second_scan(scene: Scene, rng: np.random.Generator) -> View:
    images = unchanged(scene).images
    noise = np.stack([scanner_noise(rng, images.shape[2:]) for _ in range(len(images) * images.shape[1])])
    return _valued(scene, images + np.float32(LUNG_HU * scene.per_hu) * noise.reshape(images.shape).astype(np.float32))


def _resampled(pixel: float) -> Change:
    """Slices of other pixels. A model of crops that keep their pixels sees these. For a model of fixed pixels they are
    resampled again to its own, as in prediction: what the coarser pixels lost stays lost.
    """

    def change(scene: Scene, rng: np.random.Generator) -> View | None:
        if scene.pixel_mm is None:
            return None
        step = (pixel / scene.pixel_mm[0], pixel / scene.pixel_mm[1])
        wide = math.ceil(scene.size * max(*step, 1.0)) + 4
        wide += (wide - scene.size) % 2  # the same centre
        middle = ((wide - 1) / 2, (wide - 1) / 2)
        grid = PlaneGrid(scene.size, middle, step)
        plane = scene.frame(wide)
        if scene.fixed_mm is not None:
            coarse = PlaneGrid(math.ceil(wide / min(step)), middle, step)
            again = ((coarse.size - 1) / 2, (coarse.size - 1) / 2)
            own = PlaneGrid(scene.size, again, (1 / step[0], 1 / step[1]))
            low = scene.intensity.low
            return View(own.image(coarse.image(plane, low), low), unchanged(scene).back)
        on_frame = PlaneGrid(scene.size, ((scene.side - 1) / 2, (scene.side - 1) / 2), step)

        def back(masks: Flags) -> Flags:
            return majority(on_frame.coverage_back(masks, (scene.side, scene.side)))

        return View(grid.image(plane, scene.intensity.low), back)

    return change


def _other_draws(scene: Scene, rng: np.random.Generator) -> View:
    plain = unchanged(scene)
    return View(plain.images, plain.back, seed=1)


CHANGES: dict[str, Change] = {
    "other draws": _other_draws,
    "shift 1 pixel": _by_a_pixel,
    **{f"shift {length} mm": _by_mm(length) for length in SHIFTS_MM},
    **{f"shift {count} slice{'s' if count > 1 else ''}": _by_slices(count) for count in SHIFTS_SLICES},
    "mirrored left to right": _turned(lambda array: array[..., ::-1], lambda array: array[..., ::-1]),
    "mirrored front to back": _turned(lambda array: array[..., ::-1, :], lambda array: array[..., ::-1, :]),
    "turned by 90 degrees": _turned(_quarter, lambda array: _quarter(array, -1)),
    "turned by 180 degrees": _turned(lambda array: _quarter(array, 2), lambda array: _quarter(array, 2)),
    f"{OFFSET_HU:+g} HU": _offset(OFFSET_HU),
    f"{-OFFSET_HU:+g} HU": _offset(-OFFSET_HU),
    **{name: _beyond(*hounsfield) for name, hounsfield in BEYOND_HU.items()},
    "second scan": _second_scan,
    **{f"pixels of {pixel:g} mm": _resampled(pixel) for pixel in PIXELS_MM},
}
