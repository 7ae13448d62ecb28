"""The data of an evaluation: the store, whether the model can read it, and the rows of a split."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.store.splits import spread_evenly
from ambiseg.preprocessing.store.store import Store

from ..runs.run_record import RunRecord
from ..runs.trained import Trained
from .scaled_store import as_the_model_reads


def data_for(record: RunRecord, path: Path | None = None) -> Store:
    """Open the data set to evaluate a run on.

    Args:
        record: The run's record.
        path: A dataset store; None for the one that the run was trained on, at the place where it was then.

    Returns:
        The opened store.

    Raises:
        InputError: There is no store at that place.
        DataError: The run's own store has changed since the training.
    """
    if path is not None:
        return Store.open(path)
    own = Path(record.data.path)
    if not record.data.path:
        raise InputError("The model was shared without its data set: give a dataset store as `data`.")
    if not own.exists():
        raise InputError(f"The run's data set is no longer at {own}: give its place as `data`.")
    store = Store.open(own)
    if store.content_hash != record.data.content_hash:
        raise DataError(
            f"The data set at {own} has changed since the run was trained on it: restore it, or give {own} as `data` to "
            "evaluate on the changed data."
        )
    return store


def readable(trained: Trained, store: Store) -> Store:
    """A store as the model reads it (see `as_the_model_reads`).

    Raises:
        DataError: Channels, classes, class probabilities or the unit of intensity differ.
    """
    data = trained.record.data
    store = as_the_model_reads(data, store)
    data.check_reads(store, "evaluate on data like the model's own")
    return store


def chosen_rows(store: Store, split: str, limit: int | None = None) -> NDArray[np.intp]:
    """Choose the rows of a split that at least one reader read.

    Args:
        store: The data set.
        split: "train", "val", "test" or "all".
        limit: The most rows to choose, spread evenly over the split; None for all.

    Returns:
        Row numbers [N], ascending.

    Raises:
        UsageError: `limit` is below 1.
        InputError: The split has no such row.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"`limit` must be at least 1, got {limit}.")
    rows = store.rows(split)
    rows = rows[store.present[rows].any(1)]
    if len(rows) == 0:
        raise InputError(f"The split {split!r} of {store.path} has no case: choose another `split`.")
    return rows if limit is None else rows[spread_evenly(limit, len(rows))]
