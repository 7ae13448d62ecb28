"""The pool of a store: parts from which training images are drawn anew in every step, by a game that the manifest names."""

from pathlib import Path

from ..errors import DataError
from .intact import is_intact
from .manifest import POOL
from .store import Store


def pool_file(store: Store) -> Path:
    """The pool of a store that has one, checked against its hash.

    Raises:
        DataError: The file is damaged or missing.
    """
    path = store.path / POOL
    if store.manifest.bank_sha256 is None or not is_intact(path, store.manifest.bank_sha256):
        raise DataError(f"{path} is missing or was changed since it was written: make the dataset again.")
    return path
