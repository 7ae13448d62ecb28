"""The dataset card: what a store holds, in words and counts, as its README.md."""

from collections import Counter

import numpy as np

from .store import Store


def dataset_card(store: Store) -> str:
    """Markdown text of the card of an open store."""
    manifest = store.manifest
    lines = [
        f"# Dataset `{manifest['name']}`",
        "",
        f"Source: {manifest['source']}. Content hash `{store.content_hash}`.",
        f"{len(store)} crops of {store.size[0]} x {store.size[1]} pixels, {store.channels} channel(s), "
        f"intensity in {store.intensity.unit}, "
        + (f"resampled to {store.spacing_mm:g} mm a pixel." if store.spacing_mm else "pixel spacing as acquired."),
        f"{store.readers} readers' masks a crop; classes: {', '.join(store.class_names)}.",
        "",
        "| split | patients | lesions | crops |",
        "|---|---|---|---|",
        *(_split_line(store, split) for split in ("train", "val", "test", "all")),
        "",
        "| readers who marked the crop | crops |",
        "|---|---|",
        *(
            f"| {marked} | {count} |"
            for marked, count in sorted(Counter(int(row["marked"]) for row in store.index).items())
        ),
        "",
        *_spacing_lines(store),
        *(f"- {name.replace('_', ' ')}: {value}" for name, value in manifest["counts"].items()),
        "",
        "Settings: " + ", ".join(f"{name} = {value}" for name, value in manifest["settings"].items()) + ".",
    ]
    if manifest["attribution"]:
        lines += ["", manifest["attribution"]]
    return "\n".join(lines) + "\n"


def _split_line(store: Store, split: str) -> str:
    rows = [row for row in store.index if split in (row["split"], "all")]
    patients = len({row["patient"] for row in rows})
    lesions = len({(row["patient"], row["case"], row["lesion"]) for row in rows})
    return f"| {split} | {patients} | {lesions} | {len(rows)} |"


def _spacing_lines(store: Store) -> list[str]:
    spacing = [float(value) for value in store.column("spacing_x_mm") if value]
    if not spacing:
        return []
    low, middle, high = np.percentile(spacing, [0, 50, 100])
    return [f"- pixel spacing of the scans (min, median, max): {low:.3f}, {middle:.3f}, {high:.3f} mm"]
