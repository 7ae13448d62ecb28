"""The folder of an evaluation: its numbers, and if wanted its pictures and a page that shows all of it.

summary.json   what was evaluated and all figures
cases.csv      one row per case; cases.parquet the same, on request
figures/       the pictures, PNG
report.html    figures and pictures on one page that needs no network

Each file is whole or absent. What an earlier evaluation left under these names goes, so that no picture speaks of other
numbers than those beside it; other files stay.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ambiseg.preprocessing.files import (
    PATIENCE,
    clear_leftovers,
    disk_errors,
    make_folder,
    only_writer,
    whole_file,
    whole_folder,
)
from ambiseg.preprocessing.store.store import Store

from ..evaluation.evaluation import Evaluation
from ..figures.pictures import draw_pictures
from ..runs.trained import Trained
from .evaluation_page import render_page

REPORT, FIGURES = "report.html", "figures"
FILES = ("summary.json", "cases.csv", "cases.parquet", REPORT)


def write_numbers(folder: Path, evaluation: Evaluation, *, parquet: bool = False) -> None:
    """Write an evaluation without pictures into `folder`, in place of an earlier one."""
    with _alone(folder):
        _clear(folder)
        evaluation.write(folder, parquet=parquet)


def write_report(
    folder: Path,
    evaluation: Evaluation,
    trained: Trained,
    store: Store,
    *,
    parquet: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write an evaluation of `trained` on `store` with its pictures into `folder`; returns the page's path.

    Everything is drawn before anything is written. Raises ResourceError when the folder cannot be written.
    """
    pictures = draw_pictures(evaluation, trained, store, on_progress)
    page = render_page(evaluation, pictures)
    with _alone(folder):
        write_numbers(folder, evaluation, parquet=parquet)
        with whole_folder(folder / FIGURES) as aside:
            for picture in pictures:
                (aside / f"{picture.name}.png").write_bytes(picture.png)
        with whole_file(folder / REPORT) as file:
            file.write_text(page, encoding="utf-8")
    return folder / REPORT


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One evaluation is written into a folder at a time."""
    with disk_errors(folder), only_writer(folder / FILES[0], PATIENCE):
        clear_leftovers(folder)
        yield


def _clear(folder: Path) -> None:
    """Remove what an earlier evaluation wrote."""
    make_folder(folder)
    with disk_errors(folder):
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / FIGURES, ignore_errors=True)
