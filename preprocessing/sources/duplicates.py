"""Identical images under two patients in different splits: a test image that was trained on, under another name."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..counted import counted
from ..errors import DataError
from ..store.store_crop import Crop

SHOWN = 3  # pairs in a message


@dataclass
class Duplicates:
    """Watches the crops on their way into a store.

    Attributes:
        by_patient: Each patient's split, which a crop's own split overrides.
        pairs: The repeated images that were found, in words.
    """

    by_patient: Mapping[str, str]
    pairs: list[str] = field(default_factory=list)
    _seen: dict[bytes, tuple[str, str, str]] = field(default_factory=dict)

    def watched(self, crops: Iterator[Crop], allowed: bool = False) -> Iterator[Crop]:
        """The crops as they are.

        Raises:
            DataError: At their end, unless `allowed`, where an image lies under two patients in different splits.
        """
        for crop in crops:
            self._look_at(crop)
            yield crop
        if self.pairs and not allowed:
            raise DataError(f"{self.text} Give both one patient, or keep them by `allow_duplicates`.")

    @property
    def text(self) -> str:
        """What was found, in words; empty where nothing was."""
        if not self.pairs:
            return ""
        named = list(dict.fromkeys(self.pairs))
        more = f" and {len(named) - SHOWN:,} more" if len(named) > SHOWN else ""
        found = counted(len(self.pairs), "image lies", "images lie")
        return f"{found} under two patients in different splits: {'; '.join(named[:SHOWN])}{more}."

    @property
    def warnings(self) -> list[str]:
        """What the images that were kept do to figures."""
        return [f"{self.text} Figures on test come out too good: give both one patient."] if self.pairs else []

    def _look_at(self, crop: Crop) -> None:
        if crop.image.min() == crop.image.max():
            return  # an empty image says nothing about its patient
        key = hashlib.blake2b(crop.image.tobytes(), digest_size=16).digest()  # all images of a store are of one shape
        split = crop.split or self.by_patient.get(crop.patient, "")
        case, patient, side = self._seen.setdefault(key, (crop.case, crop.patient, split))
        if patient != crop.patient and side != split:
            self.pairs.append(f"{_named(case, patient, side)} and {_named(crop.case, crop.patient, split)}")


def _named(case: str, patient: str, split: str) -> str:
    return f"patient {patient} ({split})" if case == patient else f"case {case} of patient {patient} ({split})"
