"""trained_on.json: which patients and images trained a model, as hashes, so that an evaluation can tell what it has seen.

A patient's hash is of the identifier, an image's of its stored values. Hashes of identifiers that can be guessed can be looked
up by guessing: they hide names from the eye, and are no protection of them.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.documents import read_json, write_json
from ambiseg.preprocessing.store.store import Store

FILE = "trained_on.json"
DIGITS = 12  # of a hash: two of a million images share one with a chance of .002
CHUNK = 256  # images that are read at a time

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]


class TrainingList(BaseModel):
    """The content of trained_on.json.

    Attributes:
        patients: hashes of the patients' identifiers, ascending; empty where the model was shared without them.
        images: hashes of the images, ascending.
    """

    model_config = ConfigDict(frozen=True)

    schema_number: Literal[1] = 1
    patients: tuple[Hash, ...] = ()
    images: tuple[Hash, ...] = ()

    @classmethod
    def of(cls, store: Store) -> "TrainingList":
        """The list of a store's training crops."""
        rows = store.rows("train")
        return cls(patients=_ordered(_patients(store, rows)), images=_ordered(_images(store, rows)))

    @classmethod
    def read(cls, folder: Path) -> "TrainingList | None":
        """The list in a model's folder; None where there is none, as in models of an earlier version.

        Raises:
            DataError: it is damaged.
        """
        file = folder / FILE
        return read_json(file, cls, "restore it, or remove it") if file.is_file() else None

    def joined(self, other: "TrainingList") -> "TrainingList":
        """What either list holds: for a model that started from another one, or learned from its draws."""
        return TrainingList(
            patients=_ordered((*self.patients, *other.patients)), images=_ordered((*self.images, *other.images))
        )

    def write(self, folder: Path) -> None:
        """Write the list into a model's folder."""
        write_json(folder / FILE, self)


@dataclass(frozen=True)
class Seen:
    """How much of a split a model was trained on.

    Attributes:
        crops: whose image was among the training images.
        of_crops: in the split.
        patients: whose identifier was among those of the training.
        of_patients: in the split.
    """

    crops: int
    of_crops: int
    patients: int
    of_patients: int

    def __bool__(self) -> bool:
        return bool(self.crops or self.patients)

    def sentence(self, split: str) -> str:
        """What it means for figures of the split."""
        crops = f"{self.crops:,} of {counted(self.of_crops, 'crop')} of {split} were in the model's training"
        patients = f"{self.patients:,} of {counted(self.of_patients, 'patient')} by their identifiers"
        if self.crops:
            return f"{crops}, {patients}: figures look better here than on patients that are new to the model."
        return f"{crops}, but {patients}: if these are the same patients, figures look better here than on new ones."


def seen(known: TrainingList, store: Store, rows: NDArray[np.intp]) -> Seen:
    """How much of some rows [N] of a store is on a model's training list."""
    patients, images = set(_patients(store, rows)), frozenset(known.images)
    return Seen(
        crops=sum(image in images for image in _images(store, rows)) if images else 0,
        of_crops=len(rows),
        patients=len(patients.intersection(known.patients)),
        of_patients=len(patients),
    )


def _patients(store: Store, rows: NDArray[np.intp]) -> Iterator[str]:
    for name in {store.index[row].patient.strip() for row in rows}:
        yield _hash(f"patient {name}".encode())


def _images(store: Store, rows: NDArray[np.intp]) -> Iterator[str]:
    for start in range(0, len(rows), CHUNK):
        for image in store.images(rows[start : start + CHUNK]):
            yield _hash(f"{image.dtype.str} {image.shape} ".encode() + np.ascontiguousarray(image).tobytes())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def _ordered(hashes: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(hashes)))
