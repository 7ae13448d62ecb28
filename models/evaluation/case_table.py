"""The tables of an evaluation, one row per case, as CSV for people and as Parquet."""

import math
from collections.abc import Mapping
from pathlib import Path

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.tables import write_table

Cell = int | float | str
Columns = Mapping[str, list[Cell]]


def write_csv(columns: Columns, file: Path) -> None:
    """Write columns as CSV for people; what is not defined stays blank."""
    rows = (dict(zip(columns, map(_text, row), strict=True)) for row in zip(*columns.values(), strict=True))
    write_table(file, rows, list(columns), for_people=True)


def write_parquet(columns: Columns, file: Path) -> None:
    """Write columns as Parquet; what is not defined is null. Raises UsageError without the package that writes it."""
    check_parquet()
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({name: pyarrow.array(values, from_pandas=True) for name, values in columns.items()})
    with whole_file(file) as path:
        pyarrow.parquet.write_table(table, path)


def check_parquet() -> None:
    """Raise a UsageError where the package that writes Parquet is missing, before the work that it would lose."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise UsageError(
            'A Parquet table needs pyarrow: run pip install "ambiseg[parquet]", or leave out `parquet`.'
        ) from error


def _text(value: Cell) -> Cell:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.9g}"
    return value
