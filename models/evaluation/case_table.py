"""The table of an evaluation's cases, a row a case, as CSV or Parquet."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.tables import write_table

from ..metrics.catalogue import CASE_MEASURES

if TYPE_CHECKING:
    from .evaluation import Case

INDEX_COLUMNS = ("row", "patient", "case", "lesion", "slice")


def case_columns(cases: "Sequence[Case]") -> Mapping[str, list[Any]]:
    """The table by its columns: the store's index, readers, whether they disagree, ambiguity, group, every figure."""
    return {
        "row": [int(case.index["row"]) for case in cases],
        **{name: [case.index[name] for case in cases] for name in INDEX_COLUMNS[1:]},
        "readers": [case.readers for case in cases],
        "disagree": [int(case.disagree) for case in cases],
        "ambiguity": [case.ambiguity for case in cases],
        "group": [case.group for case in cases],
        **{name: [case.scores[name] for case in cases] for name in CASE_MEASURES},
    }


def write_csv(columns: Mapping[str, list[Any]], file: Path) -> None:
    """Write columns as CSV for people; what is not defined stays blank."""
    rows = (dict(zip(columns, map(_text, row), strict=True)) for row in zip(*columns.values(), strict=True))
    write_table(file, rows, list(columns), for_people=True)


def write_parquet(columns: Mapping[str, list[Any]], file: Path) -> None:
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
            'A Parquet table needs pyarrow, which is not installed: run pip install "ambiseg[parquet]", or leave it out.'
        ) from error


def _text(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.9g}"
    return value
