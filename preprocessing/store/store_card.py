"""The dataset card: the content of a store in words and counts, as its README.md."""

from collections import Counter

import numpy as np

from ..counted import counted
from .intensity import Channel
from .store import Store

_UNITS = {"HU": "intensity in HU", "relative": "relative grey values"}


def dataset_card(store: Store) -> str:
    """The card of an open store, as Markdown."""
    manifest = store.manifest
    lines = [
        f"# Dataset `{manifest.name}`",
        "",
        f"Source: {manifest.source}. Content hash `{store.content_hash}`.",
        f"{counted(len(store), 'crop')} of {store.size[0]} x {store.size[1]} pixels, {counted(store.channels, 'channel')}, "
        f"{_UNITS[store.intensity.unit]}, "
        + (f"resampled to {store.spacing_mm:g} mm per pixel." if store.spacing_mm else "pixel spacing as acquired."),
        f"{masks_text(store)}; classes: {', '.join(store.class_names)}.",
        "",
        "| split | patients | lesions | crops |",
        "|---|---|---|---|",
        *(_split_line(store, split) for split in ("train", "val", "test", "all")),
        "",
        f"| {'masks that mark something' if manifest.known_odds else 'readers who marked the crop'} | crops |",
        "|---|---|",
        *(f"| {marked} | {count} |" for marked, count in crops_by_marks(store).items()),
        "",
        *_readers_table(store),
        *(f"- {name}: {value}" for name, value in special_facts(store).items()),
        *(f"- {text}" for text in channel_texts(store)),
        *_spacing_line(store),
        *_diameter_line(store),
        *(f"- {name.replace('_', ' ')}: {value}" for name, value in manifest.counts.items()),
        "",
        "Settings: " + ", ".join(f"{name} = {value}" for name, value in manifest.settings.items()) + ".",
    ]
    if manifest.attribution:
        lines += ["", manifest.attribution]
    return "\n".join(lines) + "\n"


def masks_text(store: Store) -> str:
    """How many masks each crop has, and whether they are readers' or have known probabilities."""
    flips = store.manifest.flips
    if flips:
        made = f"{counted(len(flips), 'flip')} make {counted(store.readers, 'mask')} of known probability"
        return f"1 label map per crop, from which {made}"
    return (
        f"{counted(store.readers, 'mask')} of known probability per crop"
        if store.manifest.known_odds
        else f"{store.readers} readers' masks per crop"
    )


def special_facts(store: Store) -> dict[str, str]:
    """Features of few stores, in words: flips, scored classes, grouped modes, class probabilities, a pool."""
    manifest, names = store.manifest, store.class_names
    flips = (f"{names[flip.source]} to {names[flip.target]} {flip.probability:.3g}" for flip in manifest.flips)
    facts = {
        "flips, with their probabilities": ", ".join(flips),
        "scored classes": ", ".join(manifest.scored or ()),
        "mode probabilities are reported by": manifest.group if manifest.known_odds else None,
        "class probabilities of another segmenter": "with every crop" if manifest.has_class_probabilities else None,
        "training images are drawn anew": manifest.deal,
    }
    return {name: text for name, text in facts.items() if text}


def channel_texts(store: Store) -> list[str]:
    """The range of values that each channel uses; nothing where the source does not say."""
    channels = store.manifest.channels
    names = [channel.name or str(number) for number, channel in enumerate(channels, 1)]
    whose = [f"channel {name}" for name in names] if len(channels) > 1 else ["the images"]
    return [
        f"values of {who}: {channel.low:g} to {channel.high:g}{_strays(channel)}"
        for who, channel in zip(whose, channels, strict=False)
    ]


def _strays(channel: Channel) -> str:
    """What lies outside the range that a channel uses."""
    if channel.low <= channel.least and channel.most <= channel.high:
        return ""
    return (
        f" (some lie far outside, {channel.least:g} to {channel.most:g} in all; the range ends at the last value no farther "
        "beyond the quantiles at 0.5 % and 99.5 % than these are apart)"
    )


def split_counts(store: Store, split: str) -> tuple[int, int, int]:
    """Patients, lesions and crops of a split ("train", "val", "test" or "all")."""
    rows = [row for row in store.index if split in (row.split, "all")]
    patients = {row.patient for row in rows}
    lesions = {row.lesion for row in rows}
    return len(patients), len(lesions), len(rows)


def crops_by_marks(store: Store) -> dict[int, int]:
    """How many crops were marked by how many readers."""
    return dict(sorted(Counter(row.marked for row in store.index).items()))


def crops_by_reader(store: Store) -> dict[str, int]:
    """How many crops each named reader read, in the order of the masks; empty where the data do not say who drew."""
    read = store.present.sum(0) if store.reader_names else ()
    return {name: int(count) for name, count in zip(store.reader_names, read, strict=False) if name}


def scan_spacing(store: Store) -> tuple[float, float, float] | None:
    """Least, median and largest pixel spacing of the scans along x, in mm; None where no crop has one."""
    spacing = [float(row["spacing_x_mm"]) for row in store.index if row["spacing_x_mm"]]
    if not spacing:
        return None
    low, middle, high = np.percentile(spacing, [0, 50, 100])
    return float(low), float(middle), float(high)


def _split_line(store: Store, split: str) -> str:
    patients, lesions, crops = split_counts(store, split)
    return f"| {split} | {patients} | {lesions} | {crops} |"


def _readers_table(store: Store) -> list[str]:
    """How many crops each named reader read, as a table; nothing where there are no names."""
    read = crops_by_reader(store)
    if not read:
        return []
    return ["| reader | crops read |", "|---|---|", *(f"| {name} | {count} |" for name, count in read.items()), ""]


def _spacing_line(store: Store) -> list[str]:
    spacing = scan_spacing(store)
    if spacing is None:
        return []
    return ["- pixel spacing of the scans (min, median, max): {:.3f}, {:.3f}, {:.3f} mm".format(*spacing)]


def _diameter_line(store: Store) -> list[str]:
    """The sizes of the lesions, where the source gives each reader's diameter (`;` separates readers, `+` one's pieces)."""
    lesions = {row.lesion[1:]: row.get("diameter_mm", "") for row in store.index}
    found = [float(value) for text in lesions.values() for value in text.replace("+", ";").split(";") if value]
    if not found:
        return []
    low, middle, high = np.percentile(found, [0, 50, 100])
    return [f"- diameter of the readers' outlines (min, median, max): {low:.1f}, {middle:.1f}, {high:.1f} mm"]
