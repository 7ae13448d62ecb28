"""The folder of an evaluation: its numbers, and optionally its pictures and a page that shows all of it.

summary.json    what was evaluated, and all figures
cases.csv       one row per case
lesions.csv     one row per lesion, where whole lesions were evaluated
stability.csv   one row per case and change, where stability was measured
*.parquet       the same tables, on request
figures/        the pictures, as PNG
report.html     figures and pictures on one page that needs no network

Each file is whole or absent. Files of an earlier evaluation with these names are removed, so that no picture belongs to other
numbers than those beside it. Other files stay.
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
TABLES = ("cases", "lesions", "stability")
FILES = ("summary.json", *(f"{name}.{kind}" for name in TABLES for kind in ("csv", "parquet")), REPORT)


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
    """Write an evaluation with its pictures and its page into `folder`, in place of an earlier one.

    Everything is drawn before anything is written.

    Args:
        folder: The folder to write; it is created where it does not exist.
        evaluation: The evaluation.
        trained: The model that was evaluated.
        store: The data set on which it was evaluated.
        parquet: Whether to write the tables as Parquet, too.
        on_progress: Called with (pictures drawn, pictures in all).

    Returns:
        The path of the page.

    Raises:
        ResourceError: The folder cannot be written.
        UsageError: `parquet` is wanted, and pyarrow is not installed.
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
    """Allow one writer of a folder at a time."""
    with disk_errors(folder), only_writer(folder / FILES[0], PATIENCE):
        clear_leftovers(folder)
        yield


def _clear(folder: Path) -> None:
    """Remove the files of an earlier evaluation."""
    make_folder(folder)
    with disk_errors(folder):
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / FIGURES, ignore_errors=True)
