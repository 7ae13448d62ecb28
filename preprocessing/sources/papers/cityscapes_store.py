"""Cityscapes with five classes that flip at random (Kohl et al. 2018, section 4.2) as a dataset store.

The store keeps one class map per image; its 32 modes, all subsets of the flips, follow from it with known probabilities.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from ...store.intensity import BYTES
from ...store.splits import SPLITS
from ...store.store_crop import Crop, StoreInfo
from ...store.store_writer import check_place, write_store
from ...work.engine import Engine, always
from ...work.local_processes import engine_of
from ..packed.crop_values import SourceReport
from .cityscapes_frames import CLASS_NAMES, FLIPS, SCORED, VALIDATION_CITIES, Frame, find_frames, read_frame

Size = Literal["full", "half", "quarter"]
FACTORS: dict[Size, int] = {"full": 1, "half": 2, "quarter": 4}
ATTRIBUTION = (
    "Images and labels: Cityscapes (Cordts et al., CVPR 2016), whose terms allow non-commercial use and no passing on."
)


def preprocess_cityscapes(
    root: Path,
    output: Path,
    *,
    size: Size = "quarter",
    workers: int | Engine | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> SourceReport:
    """Make a dataset store from Cityscapes' official folders leftImg8bit and gtFine.

    The splits are fixed: the official val folder is the test split, three of the training cities are the validation split.
    Nothing here is random: the flips are drawn in training. A frame that cannot be used stops the work, since results on
    a part of the official split cannot be compared with any others.

    Args:
        root: The folder that holds leftImg8bit and gtFine.
        output: The store to make.
        size: "full", "half" or "quarter" (256x512, as in the papers).
        workers: Processes that read images, or the engine that has them; None: as many as save time.
        on_progress: Called as `on_progress(done, images)` after each image.

    Raises:
        InputError: There are no images, or labels are missing.
        DataError: A file is damaged or not the official one.
    """
    check_place(output)
    frames = find_frames(root)
    cities = _split_cities(frames)
    counts = {f"{split} cities": len(names) for split, names in cities.items()}
    info = StoreInfo(
        name="cityscapes",
        source="Cityscapes, fine labels, five classes of which flip at random",
        intensity=BYTES,
        class_names=CLASS_NAMES,
        settings={"size": size},
        counts=counts,
        attribution=ATTRIBUTION,
        scored=SCORED,
        flips=FLIPS,
    )
    splits = {frame.sequence: frame.split for frame in frames}
    with write_store(output, info, splits) as writer:
        crop = always(partial(frame_crop, factor=FACTORS[size]))
        for done, outcome in enumerate(engine_of(workers).outcomes(crop, frames, in_order=True), 1):
            writer.add(outcome.get())
            if on_progress is not None:
                on_progress(done, len(frames))
    return SourceReport(output, len(frames), counts, _notes(cities))


def frame_crop(frame: Frame, factor: int) -> Crop:
    """A frame as a crop: its patient is the recording (a city's sequence), for frames of one recording are alike."""
    image, classes = read_frame(frame, factor)
    return Crop(
        image=image, masks=classes[None], patient=frame.sequence, case=frame.name, provenance={"city": frame.city}
    )


def _split_cities(frames: Sequence[Frame]) -> dict[str, list[str]]:
    """The cities of every split."""
    found = {(frame.split, frame.city) for frame in frames}
    return {split: sorted(city for of, city in found if of == split) for split in SPLITS}


def _notes(cities: Mapping[str, Sequence[str]]) -> list[str]:
    """Notes on the parts of the official set that are missing."""
    lacking = [city for city in VALIDATION_CITIES if city not in cities["val"]]
    validation = f"Validation cities that are not there: {', '.join(lacking)}; the validation split is not the papers'."
    test = "There is no folder val with images: the test split is empty."
    return [validation] * bool(lacking) + [test] * (not cities["test"])
