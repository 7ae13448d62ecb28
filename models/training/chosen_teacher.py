"""The choice of a teacher: which trained model may draw masks for which data."""

from pathlib import Path

import torch

from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.store.store import Store

from ..runs.config import TrainConfig
from ..runs.trained import Trained, load_trained

NEAR = 0.01  # by which pixel sizes may differ, as a share


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
    teacher = load_teacher(config, torch.device("cpu"))
    check_teacher(teacher, config, store)
    settings = config.teacher.model_copy(update={"weights": teacher.weights_hash})
    return config.model_copy(update={"teacher": settings})


def load_teacher(config: TrainConfig, device: torch.device) -> Trained:
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


def check_teacher(teacher: Trained, config: TrainConfig, store: Store) -> None:
    """That a teacher can draw masks for the training crops of a store, as the settings want; raises as `with_teacher` does."""
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
