"""Crops in pickles as Knegt's Probabilistic U-Net reads them: {key: {"image", "masks", "series_uid"}}.

`image` is an array [H, W] or [C, H, W], `masks` a list of arrays [H, W] or one array [R, H, W]. A list may stand in the dict's
place. The pickle is read as data alone (see `pickle_reader`), crop by crop.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...counted import counted
from ...errors import DataError, InputError
from ...lidc.lidc_store import ATTRIBUTION
from ...store.store_crop import Crop
from .crop_values import image_values, mask_values
from .lidc_identity import lidc_identities, mose_split
from .pack import Pack, PackSettings, check_values, name_within
from .pickle_reader import Pickled, PickledArray, Span, read_pickle


@dataclass(frozen=True)
class _Entry:
    file: Pickled
    key: str
    image: PickledArray
    masks: Sequence[PickledArray]
    series: str


def pickle_pack(paths: Sequence[Path], settings: PackSettings, name: str) -> Pack:
    """The crops of all pickles, in their order; patients come from the series where LIDC-IDRI's database has them."""
    entries = [entry for path in paths for entry in _entries(read_pickle(path))]
    identities = lidc_identities([entry.series for entry in entries], [entry.key for entry in entries], paths[0].name)

    def crops() -> Iterator[Crop]:
        for entry, patient in zip(entries, identities.patients, strict=True):
            yield _crop(entry, patient, settings)

    named = all(entry.series for entry in entries)
    return Pack(
        name=name,
        source="packed crops (pickle)",
        patients=identities.patients,
        crops=crops,
        notes=identities.notes,
        attribution=ATTRIBUTION if identities.is_lidc else "",
        published={"mose": mose_split([entry.series for entry in entries])} if named else {},
    )


def _entries(pickled: Pickled) -> list[_Entry]:
    value = pickled.value
    items = list(value.items()) if isinstance(value, dict) else _numbered(pickled) if _is_list(value) else []
    if not items:
        raise _unknown(pickled, f"{'an empty ' if _is_list(value) or value == {} else 'a '}{type(value).__name__}")
    return [_entry(pickled, _text(key), item) for key, item in items]


def _numbered(pickled: Pickled) -> list[tuple[str, object]]:
    """The parts of a list, named by their numbers."""
    parts = pickled.value if isinstance(pickled.value, list | tuple) else []
    return [(f"{name_within(pickled.path)}-{number:05d}", item) for number, item in enumerate(parts)]


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _entry(pickled: Pickled, key: str, item: object) -> _Entry:
    if not isinstance(item, dict):
        raise _unknown(pickled, f"a {type(item).__name__} under {key[:80]!r}")
    lowered = {_text(name).lower(): value for name, value in item.items()}
    image, masks = lowered.get("image"), lowered.get("masks")
    listed = [masks] if isinstance(masks, PickledArray) else masks
    arrays = [mask for mask in listed if isinstance(mask, PickledArray)] if isinstance(listed, list | tuple) else []
    if not isinstance(image, PickledArray) or not arrays or len(arrays) != len(listed):  # type: ignore[arg-type]
        raise _unknown(pickled, f"the keys {', '.join(list(lowered)[:8])[:200]} under {key[:80]!r}")
    return _Entry(pickled, key, image, arrays, _text(lowered.get("series_uid", "")).strip())


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, tuple):
        return "_".join(map(_text, value))
    return "" if isinstance(value, Span | PickledArray) or value is None else str(value)


def _unknown(pickled: Pickled, found: str) -> InputError:
    return InputError(
        f"{pickled.path} is a sound pickle of another kind, with {found}: expected a dict whose values are dicts with the "
        "keys image, masks and series_uid; or save its arrays as npz."
    )


def _crop(entry: _Entry, patient: str, settings: PackSettings) -> Crop:
    what = f"{entry.key} in {entry.file.path}"
    image = _channels_first(entry.file.array(entry.image))
    arrays = [entry.file.array(mask) for mask in entry.masks]
    planes = arrays[0] if len(arrays) == 1 and arrays[0].ndim == 3 else _stacked(arrays, what)
    if image.ndim != 3 or planes.ndim != 3 or image.shape[1:] != planes.shape[1:]:
        raise DataError(
            f"{what}: image {list(image.shape[1:])} and masks {list(planes.shape)} do not fit; expected an image [H, W] and "
            "masks [H, W] of its size."
        )
    check_values(image, what, settings)
    masks, present = mask_values(planes, len(settings.class_names), f"A mask of {what}")
    return Crop(
        image=image_values(image, settings.intensity),
        masks=masks,
        patient=patient,
        case=entry.key,
        present=present,
        provenance={"series_uid": entry.series} if entry.series else {},
    )


def _channels_first(image: NDArray[np.generic]) -> NDArray[np.generic]:
    if image.ndim == 3 and image.shape[-1] in (1, 3):
        return image.transpose(2, 0, 1)
    return image[None] if image.ndim == 2 else image


def _stacked(arrays: Sequence[NDArray[np.generic]], what: str) -> NDArray[np.generic]:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise DataError(f"{what}: its {counted(len(arrays), 'mask')} have different shapes; expected one.")
    return np.stack(arrays)
