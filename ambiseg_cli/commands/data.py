"""`ambiseg data info|verify|export|split`: inspect a dataset store, and split it anew."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ambiseg.preprocessing.counted import counted

from ..terminal.console import Meter, console, emit_json, out, progress
from ..terminal.options import SplitFile, SplitSeed, split_sizes

if TYPE_CHECKING:
    from rich.table import Table

    from ambiseg.preprocessing.store.store import Store

data = typer.Typer(help="Inspect a dataset store: counts, hashes, pictures; or split it anew.", no_args_is_help=True)

StorePath = Annotated[
    Path | None,
    typer.Argument(
        metavar="PATH", help="Dataset store. Default: data/lidc, or the only one in data/.", show_default=False
    ),
]


@data.command()
def info(
    path: StorePath = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON instead of tables.")] = False,
) -> None:
    """Show what a store holds: patients, lesions and crops by split, readers, sizes, spacing, intensity, hash."""
    facts = _facts(_open(path))
    if as_json:
        emit_json(facts)
        return
    for table in _tables(facts):
        out(table)


@data.command()
def verify(path: StorePath = None) -> None:
    """Check every file of a store against its hash."""
    from ambiseg.preprocessing.errors import DataError

    store = _open(path)
    with progress() as display:
        damaged = list(store.damaged(Meter(display, "Checking", "files")))
    if damaged:
        raise DataError(
            f"{store.path} is damaged; files are missing or changed: {', '.join(damaged)}. Make the dataset again."
        )
    out(f"{store.path}: all files are as written, {counted(len(store), 'crop')}, hash {store.content_hash}")


@data.command()
def export(
    path: StorePath = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG file to write.")] = Path("mosaic.png"),
    split: Annotated[str, typer.Option("--split", help="Split of the crops: train, val, test or all.")] = "all",
    count: Annotated[int, typer.Option("--count", min=1, max=400, help="Number of crops.")] = 24,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the choice of crops.")] = 0,
) -> None:
    """Draw a mosaic of crops with the outline of every reader. The picture names no patient."""
    from ambiseg.preprocessing.store.mosaic import choose_rows, draw_mosaic

    store = _open(path)
    draw_mosaic(store, choose_rows(store, split, count, seed), output)
    console.print(f"Written: {output}")


@data.command("split")
def split_anew(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the new store, or of the folds' stores.")],
    path: StorePath = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Shares of train, val and test, by patient.", show_default="70,10,20"),
    ] = None,
    seed: SplitSeed = 0,
    split_file: SplitFile = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            min=2,
            help="Make one store per fold of a cross-validation instead: each patient is in the test split of one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Split the crops of a store anew by patient, into a new store or into the folds of a cross-validation.

    Files are shared with the old store, so the new ones take next to no room.
    """
    from ambiseg.preprocessing.errors import UsageError
    from ambiseg.preprocessing.sources.resplit import write_folds, write_split
    from ambiseg.preprocessing.store.splits import SPLITS, USUAL_SPLIT

    given = {"`folds`": folds, "`split`": split, "`split_file`": split_file}
    if len(both := [name for name, value in given.items() if value is not None]) > 1:
        raise UsageError(f"{' and '.join(both)} are given together: give one of them.")
    sizes = USUAL_SPLIT if split is None else split_sizes(split)
    store = _open(path)
    if folds is None:
        written = [write_split(store, output, sizes, seed=seed, split_file=split_file)]
    else:
        written = write_folds(store, output, folds, seed=seed)
    for one in written:
        out(f"{one.path}: " + ", ".join(f"{name} {len(one.rows(name)):,}" for name in SPLITS) + " crops")


def _open(path: Path | None) -> "Store":
    from ambiseg.preprocessing.store.store import Store, default_store

    return Store.open(path or default_store())


def _facts(store: "Store") -> dict[str, Any]:
    from ambiseg.preprocessing.store.store_card import (
        crops_by_marks,
        crops_by_reader,
        masks_text,
        scan_spacing,
        special_facts,
        split_counts,
    )

    manifest = store.manifest
    counts = {split: split_counts(store, split) for split in ("train", "val", "test", "all")}
    return {
        "path": str(store.path),
        "name": manifest.name,
        "source": manifest.source,
        "splits": {
            split: dict(zip(("patients", "lesions", "crops"), count, strict=True)) for split, count in counts.items()
        },
        "readers": store.readers,
        "crops_by_reader": crops_by_reader(store),
        "known_odds": store.manifest.known_odds,
        "masks": masks_text(store),
        "special": special_facts(store),
        "crops_by_readers_who_marked": {str(marked): crops for marked, crops in crops_by_marks(store).items()},
        "crops_with_absent_readers": int((~store.present).any(1).sum()),
        "size": list(store.size),
        "channels": store.channels,
        "classes": list(store.class_names),
        "channel_names": [channel.name for channel in manifest.channels if channel.name],
        "intensity": vars(store.intensity),
        "spacing_mm": store.spacing_mm,
        "scan_spacing_mm": scan_spacing(store),
        "hash": store.content_hash,
    }


def _tables(facts: dict[str, Any]) -> "list[Table]":
    from rich.table import Table

    about = Table(title=f"{facts['name']} ({facts['path']})", show_header=False, title_justify="left")
    about.add_column(no_wrap=True)
    about.add_column(overflow="fold")
    for name, value in _lines(facts).items():
        about.add_row(name, value)
    splits = Table("split", title="Crops by split", title_justify="left")
    what = "non-empty masks" if facts["known_odds"] else "readers who marked"
    marks = Table(what, title=f"Crops by {what}", title_justify="left")
    for table, headings in ((splits, ("patients", "lesions", "crops")), (marks, ("crops", "share"))):
        for heading in headings:
            table.add_column(heading, justify="right")
    for split, counts in facts["splits"].items():
        splits.add_row(split, *(f"{value:,}" for value in counts.values()), end_section=split == "test")
    crops = facts["splits"]["all"]["crops"]
    for marked, count in facts["crops_by_readers_who_marked"].items():
        marks.add_row(marked, f"{count:,}", f"{100 * count / crops:.1f} %")
    readers = Table("reader", title="Crops by reader", title_justify="left")
    readers.add_column("crops read", justify="right")
    for name, count in facts["crops_by_reader"].items():
        readers.add_row(name, f"{count:,}")
    return [about, splits, marks, *([readers] if facts["crops_by_reader"] else [])]


def _lines(facts: dict[str, Any]) -> dict[str, str]:
    """The facts that take one line each, as text."""
    spacing, scans, intensity = facts["spacing_mm"], facts["scan_spacing_mm"], facts["intensity"]
    absent = facts["crops_with_absent_readers"]
    named = f" ({', '.join(facts['channel_names'])})" if facts["channel_names"] else ""
    return {
        "source": facts["source"],
        "size": f"{facts['size'][0]} x {facts['size'][1]} pixels, {counted(facts['channels'], 'channel')}{named}",
        "spacing": f"{spacing:g} mm" if spacing else "as acquired",
        "scans' spacing": f"{scans[0]:.3f} to {scans[2]:.3f} mm, median {scans[1]:.3f}" if scans else "-",
        "intensity": f"{intensity['unit']}, {intensity['low']:g} to {intensity['high']:g}",
        "masks": facts["masks"] + (f", some absent in {counted(absent, 'crop')}" if absent else ""),
        "classes": ", ".join(facts["classes"]),
        **facts["special"],
        "hash": facts["hash"],
    }
