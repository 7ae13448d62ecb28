"""What a run is evaluated on: which store, whether the model can read it, which rows."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.store.store import Store

from ..runs.run_record import RunRecord
from ..runs.trained import Trained


def data_for(record: RunRecord, path: Path | None = None) -> Store:
    """The data set to evaluate a run on: the one at `path`, or the run's own where it lay when the run was trained.

    Raises InputError when there is none, DataError when the run's own is no longer what the run was trained on.
    """
    if path is not None:
        return Store.open(path)
    own = Path(record.data.path)
    if not record.data.path:
        raise InputError("The model was shared without its data set: say with --data which to use.")
    if not own.exists():
        raise InputError(f"The run's data set is no longer at {own}: say with --data where it is.")
    store = Store.open(own)
    if store.content_hash != record.data.content_hash:
        raise DataError(
            f"The data set at {own} has changed since the run was trained on it: restore it, or say with --data {own} "
            "that it is to be evaluated on as other data."
        )
    return store


def check_data(trained: Trained, store: Store) -> None:
    """Raise a DataError when a model cannot read a store: channels, classes, class probabilities, unit of intensity."""
    data = trained.record.data
    if store.channels != data.channels:
        raise DataError(
            f"The model reads {data.channels} channels, the images of {store.path} have {store.channels}: "
            "evaluate on data like the model's own."
        )
    if store.class_names != data.class_names:
        raise DataError(
            f"The model knows the classes {', '.join(data.class_names)}, {store.path} has {', '.join(store.class_names)}: "
            "evaluate on data like the model's own."
        )
    if data.probabilities and not store.manifest.has_class_probabilities:
        raise DataError(
            f"The model reads the class probabilities of another segmenter, {store.path} holds none: make the dataset "
            "with them."
        )
    if store.intensity.unit != data.intensity.unit:
        raise DataError(
            f"The model reads intensities in {data.intensity.unit}, {store.path} holds "
            f"{store.intensity.unit}: evaluate on data like the model's own."
        )


def chosen_rows(store: Store, split: str, limit: int | None = None) -> NDArray[np.intp]:
    """The rows of a split that a reader read, at most `limit` of them, spread evenly; InputError when there are none."""
    if limit is not None and limit < 1:
        raise UsageError(f"The limit must be at least one case, got {limit}.")
    rows = store.rows(split)
    rows = rows[store.present[rows].any(1)]
    if len(rows) == 0:
        raise InputError(f"The split {split!r} of {store.path} has no case: choose another --split.")
    if limit is None or limit >= len(rows):
        return rows
    return rows[np.arange(limit) * len(rows) // limit]
