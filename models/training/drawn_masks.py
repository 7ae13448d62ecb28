"""The masks that a teacher draws for each training crop, once.

The masks lie in the folder `teacher` of the student's run, in parts of a few crops. Each part is written whole, and its
draws follow from the seed, so that drawing may stop at any time. `masks.json`, which comes last, has the hash of all parts.
"""

import hashlib
import io
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ambiseg.preprocessing.documents import read_json, write_json
from ambiseg.preprocessing.errors import DataError, UsageError
from ambiseg.preprocessing.files import clear_leftovers, only_writer, whole_file
from ambiseg.preprocessing.store.store import IGNORE, Store
from ambiseg.preprocessing.volumes.planes import centre_crop

from ..core.predictive import harden
from ..core.randomness import generator_for
from ..runs.run_folder import Run
from ..runs.trained import Trained
from .checkpoint import UNREADABLE
from .chosen_teacher import check_teacher, load_teacher
from .crops.taught_crops import TaughtMasks
from .interrupt import stop_requests

FOLDER, DOCUMENT = "teacher", "masks.json"
ROWS_A_PART = 16  # crops; a request to stop is heard between two parts

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
    teacher = load_teacher(config, device)
    check_teacher(teacher, config, store)
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
    labels, _ = harden(teacher.predictive(*teacher.record.crops(store, rows)).sample(draws, generator))
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
