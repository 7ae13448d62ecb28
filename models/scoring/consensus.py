"""One mask from those of several readers: by vote, by STAPLE, their union or intersection; or their mean as soft labels."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image

from ambiseg.preprocessing.errors import DataError, UsageError
from ambiseg.preprocessing.files import only_writer, whole_file, whole_folder
from ambiseg.preprocessing.scans.formats.nifti_volume import write_on_grid
from ambiseg.preprocessing.store.store import IGNORE, Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store

from .mask_sets import Layout, MaskSet, Progress, folder_cases, read_masks

Rule = Literal["majority", "staple", "mean", "union", "intersection"]
RULES: tuple[Rule, ...] = get_args(Rule)
CHUNK = 64  # crops that are read at a time


def consensus(masks: NDArray[np.uint8], rule: Rule = "majority") -> NDArray[np.uint8] | NDArray[np.float32]:
    """Fuse the masks of one image.

    Args:
        masks: Label maps of the readers [R, ...], 255 where a pixel counts for nothing.
        rule: "majority": the label of more than half of the readers, else background. "staple": the true mask as estimated
            with each reader's sensitivity and specificity (Warfield et al. 2004), where its probability is above 1/2, or for
            several labels the most probable one. "union" and "intersection": what any or all readers mark, of one label.
            "mean": the share of readers who mark a pixel.

    Returns:
        A label map [...], 255 where a reader ignores the pixel; for "mean" float32 from 0 to 1, 0 there.

    Raises:
        UsageError: There is no such rule, or it fuses one label alone and there are several.

    Example:
        >>> consensus(np.array([[[1, 1, 0]], [[1, 0, 0]], [[1, 1, 0]]], np.uint8)).tolist()
        [[1, 1, 0]]
    """
    if rule not in RULES:
        raise UsageError(f"No `rule` {rule!r}: expected {', '.join(RULES)}.")
    ignored = (masks == IGNORE).any(0)
    seen = np.where(ignored, 0, masks).astype(np.uint8)
    labels = [int(label) for label in np.unique(seen) if label]
    if len(labels) > 1 and rule in ("mean", "union", "intersection"):
        raise UsageError(
            f"The rule {rule!r} fuses masks of one label, but there are {len(labels)}: choose majority or staple."
        )
    if rule == "mean":
        return (seen > 0).mean(0, dtype=np.float32)
    found = _fused(seen, labels, rule)
    return np.where(ignored, IGNORE, found).astype(np.uint8)


def staple_probability(masks: NDArray[np.uint8]) -> NDArray[np.float64]:
    """STAPLE's probability [...] that a pixel belongs to the true mask, from masks [R, ...] of one label.

    Masks that are all alike, such as all empty, are the true mask themselves: STAPLE has nothing to estimate from them.
    """
    marked = masks > 0
    if (marked == marked[:1]).all():
        return marked[0].astype(np.float64)
    images = [sitk.GetImageFromArray(one.astype(np.uint8)) for one in marked]
    probability: NDArray[np.float64] = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
    return probability


def write_consensus(
    source: Path | str,
    output: Path | str,
    rule: Rule = "majority",
    *,
    layout: Layout | None = None,
    on_progress: Progress = lambda done, total: None,
) -> int:
    """Fuse the masks of every image of a store or folder.

    Args:
        source: A store, or a folder of masks (see `mask_sets`).
        output: The store to write, with the fused mask as that of its one reader; or the folder of CASE.nii.gz, CASE.png or
            CASE.npz, as the masks were. Soft labels are float32 in NIfTI and npz, and 0 to 255 in PNG.
        rule: As for `consensus`.
        layout: How a folder of masks is to be read; None: as the names tell.
        on_progress: Called with (images done, images in all).

    Returns:
        The number of images.

    Raises:
        UsageError: The rule does not suit, or the output is the input, or a folder that exists; a store is replaced by a store.
        InputError: There is nothing to fuse.
        DataError: Masks are damaged.
    """
    source, output = Path(source), Path(output)
    if rule not in RULES:
        raise UsageError(f"No `rule` {rule!r}: expected {', '.join(RULES)}.")
    if output.resolve() == source.resolve():
        raise UsageError(f"{output} holds the masks themselves: choose another `output`.")
    if (source / "manifest.json").is_file():
        return _store(Store.open(source), output, rule, on_progress)
    if output.exists():
        raise UsageError(f"{output} already exists: choose another `output`.")
    cases = folder_cases(source, layout)
    with only_writer(output), whole_folder(output) as folder:
        for done, (case, files) in enumerate(cases.items(), 1):
            masks = read_masks(case, files)
            _write(folder, masks, consensus(masks.masks, rule))
            on_progress(done, len(cases))
    return len(cases)


def _fused(seen: NDArray[np.uint8], labels: Sequence[int], rule: Rule) -> NDArray[np.uint8]:
    """The label map [...] of masks [R, ...] without ignored pixels."""
    found = np.zeros(seen.shape[1:], np.uint8)
    if rule in ("union", "intersection"):
        marked = (seen > 0).any(0) if rule == "union" else (seen > 0).all(0)
        found[marked] = labels[0] if labels else 0
        return found
    if rule == "staple" and len(labels) > 1:
        images = [sitk.GetImageFromArray(one) for one in seen]
        most = int(max(labels)) + 1
        merged: NDArray[np.uint8] = sitk.GetArrayFromImage(sitk.MultiLabelSTAPLE(images, most)).astype(np.uint8)
        return np.where(merged == most, 0, merged).astype(np.uint8)
    for label in labels:
        share = staple_probability(seen == label) if rule == "staple" else (seen == label).mean(0)
        found[share > 0.5] = label
    return found


def _store(store: Store, output: Path, rule: Rule, on_progress: Progress) -> int:
    """Write a store whose one reader is the consensus."""
    about = store.manifest
    if rule == "mean":
        raise UsageError(
            "Training on all readers fits the mean of their masks already: choose a rule that gives a mask."
        )
    if about.known_odds or about.flips:
        raise DataError(f"{store.path} holds all masks that can be drawn, and no readers: choose data with readers.")
    if about.has_class_probabilities:
        raise DataError(f"{store.path} holds the class probabilities of another segmenter, which would be lost.")
    info = StoreInfo(
        name=f"{about.name}-{rule}",
        source=f"{about.source}; the {rule} of the readers' masks",
        intensity=store.intensity,
        class_names=store.class_names,
        spacing_mm=store.spacing_mm,
        settings={"consensus": rule, "of": store.content_hash},
        attribution=about.attribution,
        same_readers=True,
        channels=about.channels,
    )
    rows = np.flatnonzero(store.present.any(1))
    splits = {store.index[row].patient: store.index[row]["split"] for row in rows}
    with write_store(output, info, splits) as writer:
        for done, crop in enumerate(_crops(store, rows, rule), 1):
            writer.add(crop)
            on_progress(done, len(rows))
    return len(rows)


def _crops(store: Store, rows: NDArray[np.intp], rule: Rule) -> Iterator[Crop]:
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        for row, image, masks in zip(some, store.images(some), store.masks(some), strict=True):
            index = store.index[row]
            yield Crop(
                image=image,
                masks=np.asarray(consensus(masks[store.present[row]], rule), np.uint8)[None],
                patient=index.patient,
                case=index["case"],
                lesion=index["lesion"],
                slice=int(index["slice"]),
                z_mm=index.z_mm,
                spacing_mm=index.spacing_mm,
                split=index["split"],
            )


def _write(folder: Path, masks: MaskSet, fused: NDArray[np.uint8] | NDArray[np.float32]) -> None:
    """Write a consensus as a file of the kind that the masks were."""
    name, soft = masks.case or "consensus", fused.dtype == np.float32
    if masks.like is not None:
        write_on_grid(folder / f"{name}.nii.gz", fused.reshape((-1, *fused.shape[-2:])), masks.like)
        return
    if fused.ndim == 2:
        pixels = np.round(fused * 255).astype(np.uint8) if soft else fused if fused.max() > 1 else fused * 255
        with whole_file(folder / f"{name}.png") as aside:
            Image.fromarray(pixels.astype(np.uint8)).save(aside)
        return
    with whole_file(folder / f"{name}.npz") as aside, aside.open("wb") as file:
        np.savez_compressed(file, masks=fused[None])
