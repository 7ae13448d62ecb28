"""`ambiseg data readers|consensus`: how far readers agree, and one mask from all of theirs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..terminal.console import Meter, console, emit_json, out, progress
from ..terminal.options import MaskLayout

Masks = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="Dataset store, or a folder of masks as `ambiseg score` takes it.", show_default=False
    ),
]


def readers(
    data: Masks,
    split: Annotated[str, typer.Option(help="Split of a store: train, val, test or all.")] = "all",
    layout: MaskLayout = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the results.")] = Path("readers"),
    as_json: Annotated[bool, typer.Option("--json", help="Print readers.json instead of tables.")] = False,
) -> None:
    """Show how far readers agree: Dice, IoU and sizes of every pair, and Fleiss' kappa of whether there is anything."""
    from rich.table import Table

    from ambiseg.models.scoring.agreement import readers_agreement
    from ambiseg.models.scoring.score_pages import POSITIONS, overall_rows, pair_rows, reader_rows, write_agreement
    from ambiseg.preprocessing.files import check_place

    check_place(output)
    with progress() as display:
        found = readers_agreement(data, split, layout=layout, on_progress=Meter(display, "Comparing", "images"))
    page = write_agreement(output, found)
    if as_json:
        emit_json(found)
    else:
        for title, (headings, *rows) in (
            (f"Readers of {found.data}", overall_rows(found)),
            ("", reader_rows(found)),
            ("", pair_rows(found)),
        ):
            table = Table(title=title or None)
            for number, name in enumerate(headings):
                table.add_column(name, justify="right" if number else "left")
            for row in rows:
                table.add_row(*row)
            out(table)
    if not found.named:
        console.print(f"Note: {POSITIONS}")
    console.print(f"Written: {page} and the files beside it")


def consensus(
    data: Masks,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Store to write, or folder of masks, as the input is.", show_default=False),
    ],
    rule: Annotated[
        Literal["majority", "staple", "mean", "union", "intersection"],
        typer.Option(help="How masks are fused; mean gives soft labels, 0 to 1."),
    ] = "majority",
    layout: MaskLayout = None,
) -> None:
    """Fuse the readers' masks of every image into one: by majority, STAPLE, union, intersection, or as soft labels."""
    from ambiseg.models.scoring.consensus import write_consensus
    from ambiseg.preprocessing.counted import counted

    with progress() as display:
        count = write_consensus(data, output, rule, layout=layout, on_progress=Meter(display, "Fusing", "images"))
    console.print(f"Written: {output}, the {rule} of {counted(count, 'image')}")
    if (output / "manifest.json").is_file():
        console.print(f"Next: ambiseg train -d {output}")
