"""Learning from a teacher: a trained model draws masks for each training crop, once, and a student learns from these.

The masks lie in the folder `teacher` of the student's run, in parts of a few crops. Each part is written whole, and its
draws follow from the seed, so that drawing may stop at any time. `masks.json`, which comes last, has the hash of all parts.
"""

import hashlib
import io
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ambiseg.preprocessing.documents import read_json, write_json
from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.files import clear_leftovers, only_writer, whole_file
from ambiseg.preprocessing.store.store import IGNORE, Store
from ambiseg.preprocessing.volumes.planes import centre_crop, centre_start

from ..core.predictive import harden
from ..core.randomness import generator_for
from ..runs.config import TrainConfig
from ..runs.run_folder import Run
from ..runs.trained import Trained, load_trained
from .checkpoint import UNREADABLE
from .crop_source import Crops, CropSource, Share
from .interrupt import stop_requests

FOLDER, DOCUMENT = "teacher", "masks.json"
ROWS_A_PART = 16  # crops; a request to stop is heard between two parts
NEAR = 0.01  # by which pixel sizes may differ, as a share

OnProgress = Callable[[int, int], None]


class TeacherRecord(BaseModel):
    """The content of teacher/masks.json: who drew the masks, and how.

    Attributes:
        name: of the teacher's run folder.
        method: of the teacher.
        weights_hash: SHA-256 of its file of weights.
        trained_on: content hash of the data set that it learned from.
        data: content hash of the data set whose training crops it drew masks for.
        seed: of the draws.
        draws: masks per crop.
        crops: how many.
        size: side of the masks in pixels, in the middle of the stored crops.
        masks_sha256: of the files of all parts, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_number: Literal[1] = 1
    name: str
    method: str
    weights_hash: str
    trained_on: str
    data: str
    seed: int
    draws: int
    crops: int
    size: int
    masks_sha256: str


def with_teacher(config: TrainConfig, store: Store) -> TrainConfig:
    """The settings of a run that is about to start, with the hash of its teacher's weights; as they are without a teacher.

    Raises:
        InputError: there is no such model.
        UsageError: the teacher has other weights than `teacher.weights`, or learned from another data set and
            `teacher.other_data` does not allow it, or its crops are too small or too large.
        DataError: the teacher reads other channels, classes, intensities or pixel sizes than the data have.
    """
    if not config.teacher.model:
        return config
    teacher = _loaded(config, torch.device("cpu"))
    _check_data(teacher, config, store)
    settings = config.teacher.model_copy(update={"weights": teacher.weights_hash})
    return config.model_copy(update={"teacher": settings})


@dataclass(frozen=True)
class TaughtMasks:
    """The masks that a teacher drew for training crops.

    Attributes:
        masks: labels [rows, N, h, w] (uint8), of the middle of each crop.
        readers: share of the masks that still are readers'.
    """

    masks: NDArray[np.uint8]
    readers: float

    def instead(self, crops: Crops, which: NDArray[np.intp]) -> Crops:
        """Crops of the training rows `which`, with these masks in the readers' place, or mixed with theirs.

        What lies outside of the middle is ignored.
        """
        own = torch.from_numpy(np.ascontiguousarray(self.masks[which])).to(crops.images.device)
        shape = (*own.shape[:2], *crops.images.shape[-2:])
        masks = torch.full(shape, IGNORE, dtype=torch.uint8, device=own.device)
        row, column = (centre_start(*sides) for sides in zip(shape[-2:], own.shape[-2:], strict=True))
        masks[..., row : row + own.shape[-2], column : column + own.shape[-1]] = own
        chances = crops.chances.new_full(own.shape[:2], (1 - self.readers) / own.shape[1])
        if not self.readers:
            return replace(crops, masks=masks, chances=chances, known=False, flips=())
        theirs = self.readers * crops.chances / crops.chances.sum(1, keepdim=True).clamp_min(1e-9)
        both, odds = torch.cat((masks, crops.masks), 1), torch.cat((chances, theirs), 1)
        return replace(crops, masks=both, chances=odds, known=True)


class TaughtSource:
    """The crops of another source, with the masks of a teacher."""

    def __init__(self, source: CropSource, taught: TaughtMasks, share: Share):
        self.source, self.taught, self.share = source, taught, share

    def fetch(self, step: int) -> Crops:
        """The crops of a step."""
        which = self.share.positions(step, len(self.taught.masks))
        return self.taught.instead(self.source.fetch(step), which)

    def settle(self) -> None:
        """Wait until nothing is being read."""
        self.source.settle()


def taught_masks(
    run: Run,
    store: Store,
    device: torch.device,
    on_progress: OnProgress = lambda done, total: None,
    *,
    alone: bool = True,
) -> TaughtMasks | None:
    """The masks of a run's teacher, drawn first where they are missing; None for a run without a teacher.

    Args:
        run: the student's run.
        store: its data.
        device: where the teacher computes.
        on_progress: called with (crops done, crops in all).
        alone: whether this process may draw; of several ones, which must not draw the same masks at once, none may.

    Raises:
        KeyboardInterrupt: a signal asked to stop; the parts that are drawn are kept.
        InputError: the teacher is no longer where it was, and not all of its masks are drawn.
        UsageError: its weights have changed, or masks are missing and this process is not `alone`.
        DataError: the masks have changed since they were drawn.
    """
    config = run.record.config
    if not config.teacher.model:
        return None
    folder, crops = run.path / FOLDER, len(store.rows("train"))
    parts = [folder / f"part-{number:05d}.npz" for number in range(-(-crops // ROWS_A_PART))]
    if not (folder / DOCUMENT).is_file():
        if not alone:
            raise UsageError(
                f"The teacher's masks for {run.path} are not drawn yet: start the run in one process first, and continue it in "
                "several."
            )
        with only_writer(folder, remedy="stop it"):
            clear_leftovers(folder)
            _draw(run, store, device, parts, on_progress)
    record = read_json(folder / DOCUMENT, TeacherRecord, f"remove {folder} to have the masks drawn again")
    if any(not part.is_file() for part in parts) or _hash_of(parts) != record.masks_sha256:
        raise DataError(f"The teacher's masks in {folder} have changed since they were drawn: remove {folder}.")
    return TaughtMasks(np.concatenate([_read(part) for part in parts]), config.teacher.readers)


def _draw(run: Run, store: Store, device: torch.device, parts: list[Path], on_progress: OnProgress) -> None:
    """Draw what is missing of the masks, then write the document."""
    config, rows = run.record.config, store.rows("train")
    teacher = _loaded(config, device)
    _check_data(teacher, config, store)
    shape = (config.teacher.draws, *(min(side, teacher.record.crop) for side in store.size))
    with ExitStack() as held:
        stop = held.enter_context(stop_requests())
        for number, part in enumerate(parts):
            some = rows[number * ROWS_A_PART : (number + 1) * ROWS_A_PART]
            on_progress(number * ROWS_A_PART, len(rows))
            if not _is_part(part, (len(some), *shape)):
                generator = generator_for(config.seed, "teacher", number, device=device)
                _write(part, _drawn(teacher, store, some, config.teacher.draws, generator))
            if stop():
                raise KeyboardInterrupt
        on_progress(len(rows), len(rows))
    document = TeacherRecord(
        name=teacher.name,
        method=teacher.record.method,
        weights_hash=teacher.weights_hash,
        trained_on=teacher.record.data.content_hash,
        data=store.content_hash,
        seed=config.seed,
        draws=config.teacher.draws,
        crops=len(rows),
        size=shape[1],
        masks_sha256=_hash_of(parts),
    )
    write_json(parts[0].parent / DOCUMENT, document)


@torch.inference_mode()
def _drawn(
    teacher: Trained, store: Store, rows: NDArray[np.intp], draws: int, generator: torch.Generator
) -> NDArray[np.uint8]:
    """Masks [N, draws, h, w] of the middle of the given crops. A pixel that all readers ignore stays ignored."""
    size = teacher.record.crop
    images = centre_crop(store.images(rows), size)
    extra = (centre_crop(store.class_probabilities(rows), size),) if teacher.record.data.probabilities else ()
    labels, _ = harden(teacher.predictive(images, *extra).sample(draws, generator))
    masks: NDArray[np.uint8] = labels.cpu().numpy()
    present: NDArray[np.bool_] = np.asarray(store.present)[rows][..., None, None]
    ignored = ((centre_crop(store.masks(rows), size) == IGNORE) | ~present).all(1) & present.any(1)
    masks[np.broadcast_to(ignored[:, None], masks.shape)] = IGNORE
    return masks


def _write(part: Path, masks: NDArray[np.uint8]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, masks=masks)
    with whole_file(part) as file:
        file.write_bytes(content.getvalue())


def _read(part: Path) -> NDArray[np.uint8]:
    with part.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        masks: NDArray[np.uint8] = arrays["masks"]
        return masks


def _is_part(part: Path, shape: tuple[int, ...]) -> bool:
    """Whether a part is there, of that shape."""
    try:
        return part.is_file() and _read(part).shape == shape
    except UNREADABLE:
        return False


def _hash_of(parts: list[Path]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part.read_bytes()).digest())
    return digest.hexdigest()


def _loaded(config: TrainConfig, device: torch.device) -> Trained:
    """The teacher of a run. Raises UsageError where its weights are not those of the settings."""
    path, expected = Path(config.teacher.model), config.teacher.weights
    try:
        teacher = load_trained(path, device, calibrated=False)
    except InputError as error:
        raise InputError(f"The teacher cannot be used. {error}") from error
    if expected and teacher.weights_hash != expected:
        raise UsageError(
            f"The teacher {path} has other weights than the run was started with, SHA-256 {teacher.weights_hash[:12]} instead "
            f"of {expected[:12]}: restore them, or start a new run."
        )
    return teacher


def _check_data(teacher: Trained, config: TrainConfig, store: Store) -> None:
    data, crop = teacher.record.data, teacher.record.crop
    if store.manifest.deal is not None:
        raise UsageError(
            f"{store.path} draws new images for every step, so a teacher has no training crops to draw masks for: leave out "
            "`teacher`."
        )
    data.check_reads(store, "choose another `teacher`", "The teacher")
    if data.content_hash != store.content_hash and not config.teacher.other_data:
        raise UsageError(
            f"The teacher learned from {data.name}, which is not the data set {store.path}, and may have seen its test cases: "
            "choose another `teacher`, or set teacher.other_data=true."
        )
    if data.spacing_mm and store.spacing_mm and abs(data.spacing_mm / store.spacing_mm - 1) > NEAR:
        raise DataError(
            f"The teacher reads pixels of {data.spacing_mm:g} mm, but those of {store.path} have {store.spacing_mm:g} mm: "
            "choose another `teacher`."
        )
    if not config.data.crop <= crop <= min(store.size):
        raise UsageError(
            f"The teacher sees crops of {crop} pixels: expected data.crop, which is {config.data.crop}, to be at most that, "
            f"and the stored crops, of {min(store.size)}, to be at least that."
        )
    if config.teacher.readers and store.manifest.flips:
        raise UsageError(
            f"The masks of {store.path} are made by flips and cannot be mixed: leave teacher.readers at 0."
        )
