"""The lesions of a whole batch as tables: one row per hypothesis, one per lesion, one per case that failed.

Rows are written as cases are read, so that the memory does not grow with the batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.tables import table_writer

from ..metrics.size_forecast import mean_diameter
from ..prediction.document import Document, HypothesisEntry, LesionEntry
from ..prediction.inference import Ranking
from .doubts import doubts

if TYPE_CHECKING:
    import pyarrow

Cell = str | int | float | None
Row = Mapping[str, Cell]
Write = Callable[[Mapping[str, object]], None]
Kind = type[str] | type[int] | type[float]
Columns = Mapping[str, Kind]
PLACE: Columns = {
    "scan": str, "lesion": int, "name": str, "x_mm": float, "y_mm": float, "z_mm": float,
}  # fmt: skip
RESULTS: Columns = {
    **PLACE, "rank": int, "probability": float, "low": float, "high": float, "volume_mm3": float, "area_mm2": float,
    "mean_diameter_mm": float, "long_axis_mm": float, "short_axis_mm": float, "slices": int, "agreement": float,
    "flags": str, "file": str,
}  # fmt: skip
LESION: Columns = {
    **PLACE, "score": float, "no_lesion": float, "ambiguity": float, "residual": float, "hypotheses": int,
}  # fmt: skip
MEASURES = ("volume_mm3", "area_mm2", "mean_diameter_mm", "long_axis_mm", "short_axis_mm")
NUMBERS = ("median", "low_50", "high_50", "low_90", "high_90")
FAILURES: Columns = {"case": str, "kind": str, "reason": str}
NOTHING: Columns = {"case": str, "reason": str}
TOGETHER = 20_000  # rows that are packed together in Parquet


def lesion_columns(ranking: Ranking) -> Columns:
    """The columns of lesions.csv for these thresholds."""
    sizes = {f"{measure}_{number}": float for measure in MEASURES for number in NUMBERS}
    thresholds = [_threshold("mean_diameter_mm", value) for value in sorted(set(ranking.diameters_mm))]
    thresholds += [_threshold("volume_mm3", value) for value in sorted(set(ranking.volumes_mm3))]
    return {**LESION, **sizes, **dict.fromkeys(thresholds, float), "cut": float, "flags": str, "folder": str}


def _threshold(measure: str, value: float) -> str:
    return f"p_{measure}_at_least_{value:g}"


def hypothesis_rows(scan: str, place: str, document: Document) -> Iterator[Row]:
    """One row for each hypothesis of a scan; `place`: its folder, as seen from the batch's."""
    for lesion in document.lesions:
        for entry in lesion.hypotheses:
            yield {**_place(scan, lesion), **_hypothesis(entry), "file": f"{place}/{entry.file}"}


def _place(scan: str, lesion: LesionEntry) -> Row:
    x, y, z = lesion.centre_mm
    return {"scan": scan, "lesion": lesion.number, "name": lesion.name, "x_mm": x, "y_mm": y, "z_mm": z}


def _hypothesis(entry: HypothesisEntry) -> Row:
    low, high = entry.interval or (None, None)
    return {
        "rank": entry.rank,
        "probability": entry.probability,
        "low": low,
        "high": high,
        "volume_mm3": entry.volume_mm3,
        "area_mm2": entry.area_mm2,
        "mean_diameter_mm": float(mean_diameter(entry.long_axis_mm, entry.short_axis_mm)),
        "long_axis_mm": entry.long_axis_mm,
        "short_axis_mm": entry.short_axis_mm,
        "slices": entry.slices,
        "agreement": entry.agreement,
        "flags": " ".join(flag for flag in ("empty", "cut_off", "at_border") if getattr(entry, flag)),
    }


def lesion_row(scan: str, place: str, document: Document, lesion: LesionEntry) -> Row:
    """A lesion's row: its place, its probabilities, its size as a distribution, and what is doubtful about it."""
    row: dict[str, Cell] = {
        **_place(scan, lesion),
        "score": lesion.score,
        "no_lesion": lesion.no_lesion,
        "ambiguity": lesion.ambiguity,
        "residual": lesion.residual,
        "hypotheses": len(lesion.hypotheses),
        "flags": " ".join(doubts(lesion, document)),
        "folder": f"{place}/{lesion.folder}".rstrip("/"),
    }
    if lesion.size is not None:
        for measure in MEASURES:
            spread = getattr(lesion.size.if_marked, measure)
            row |= {} if spread is None else {f"{measure}_{number}": getattr(spread, number) for number in NUMBERS}
        row |= {_threshold(each.measure, each.at_least): each.probability for each in lesion.size.thresholds}
        row["cut"] = lesion.size.cut
    return row


@dataclass(frozen=True)
class Tables:
    """What takes the rows of each table."""

    result: Write
    lesion: Write
    failure: Write
    nothing: Write


@contextmanager
def cohort_tables(folder: Path, ranking: Ranking) -> Iterator[Tables]:
    """Write the tables of a batch, each whole or not at all: as CSV, and as Parquet where pyarrow is installed.

    The tables of failures and of cases with nothing to predict are absent where they would be empty.
    """
    with ExitStack() as held:
        yield Tables(
            result=held.enter_context(_table(folder / "results", RESULTS)),
            lesion=held.enter_context(_table(folder / "lesions", lesion_columns(ranking))),
            failure=held.enter_context(_if_any(folder / "failures.csv", FAILURES)),
            nothing=held.enter_context(_if_any(folder / "nothing.csv", NOTHING)),
        )


@contextmanager
def _table(stem: Path, columns: Columns) -> Iterator[Write]:
    """A table as CSV for people and, where possible, as Parquet."""
    parquet = stem.with_name(f"{stem.name}.parquet")
    with ExitStack() as held:
        writes = [held.enter_context(table_writer(stem.with_name(f"{stem.name}.csv"), list(columns), for_people=True))]
        if find_spec("pyarrow") is None:
            parquet.unlink(missing_ok=True)  # it would tell of former cases
        else:
            writes.append(held.enter_context(_parquet(parquet, columns)))

        def write_all(row: Mapping[str, object]) -> None:
            for write in writes:
                write(row)

        yield write_all


@contextmanager
def _if_any(path: Path, columns: Columns) -> Iterator[Write]:
    """A table as CSV for people, which is removed where nobody writes a row."""
    with ExitStack() as held:
        writes: list[Write] = []

        def write(row: Mapping[str, object]) -> None:
            if not writes:
                writes.append(held.enter_context(table_writer(path, list(columns), for_people=True)))
            writes[0](row)

        yield write
    if not writes:
        path.unlink(missing_ok=True)


@contextmanager
def _parquet(path: Path, columns: Columns) -> Iterator[Write]:
    """A table as Parquet; what is not defined is null."""
    import pyarrow
    import pyarrow.parquet

    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    waiting: list[Mapping[str, object]] = []
    with whole_file(path) as aside, pyarrow.parquet.ParquetWriter(aside, schema) as writer:

        def write(row: Mapping[str, object]) -> None:
            waiting.append(row)
            if len(waiting) >= TOGETHER:
                writer.write_table(_packed(waiting, schema))
                waiting.clear()

        yield write
        writer.write_table(_packed(waiting, schema))


def _packed(rows: Sequence[Mapping[str, object]], schema: "pyarrow.Schema") -> "pyarrow.Table":
    import pyarrow

    return pyarrow.Table.from_pydict({name: [row.get(name) for row in rows] for name in schema.names}, schema=schema)
