"""`ambiseg score`: masks of any program against the masks of readers."""

from pathlib import Path
from typing import Annotated

import typer

from ..terminal.console import Meter, console, emit_json, out, progress
from ..terminal.options import MaskLayout


def score(
    readers: Annotated[
        Path,
        typer.Option(
            help="Folder of the readers' masks: CASE/NAME.png, NAME/CASE.png, CASE_NAME.png or CASE.npz; NIfTI as well.",
            show_default=False,
        ),
    ],
    masks: Annotated[Path, typer.Option(help="Folder of the masks to score, with the same cases.", show_default=False)],
    weights: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with the columns case,mask,weight: the masks' probabilities. Default: draws of equal weight.",
            show_default=False,
        ),
    ] = None,
    layout: MaskLayout = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the results.")] = Path("score"),
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap, and of draws from weighted masks.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print scores.json instead of a table.")] = False,
) -> None:
    """Score masks of any program against readers' masks: GED, HM-IoU, D_max, collective insight, Dice, sizes and ECE."""
    from rich.table import Table

    from ambiseg.models.scoring.mask_scores import score as score_masks
    from ambiseg.models.scoring.score_pages import score_rows, write_scores
    from ambiseg.preprocessing.counted import counted
    from ambiseg.preprocessing.files import check_place

    check_place(output)
    with progress() as display:
        found = score_masks(
            readers, masks, weights, layout=layout, seed=seed, on_progress=Meter(display, "Scoring", "cases")
        )
    page = write_scores(output, found)
    if as_json:
        emit_json(found)
    else:
        headings, *rows = score_rows(found)
        table = Table(title=f"{masks} against {readers}: {counted(len(found.cases), 'case')}")
        for number, name in enumerate(headings):
            table.add_column(name, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        out(table)
    console.print(f"Written: {page} and the files beside it")
