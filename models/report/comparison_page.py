"""The page of a comparison: its runs, which run is better in which figure, all differences, and the pictures."""

import math
from collections.abc import Sequence

from ..comparison.comparison import ComparedRun, Comparison, Difference
from ..figures.differences import pair_name
from ..figures.numbers import decimals, p_value, signed, true_minus
from ..figures.picture import Picture
from ..figures.wording import calibration, data_facts, model_masks, short_hash
from ..metrics.catalogue import MEASURES
from .template import render

METHODS = ("interval", "test", "effect")  # of the comparison itself
KINDS = {"second": "second better in", "first": "first better in", "-": "different in", "undecided": "undecided in"}
COLUMNS = ("Figure", "First", "Second", "Difference", "95 % interval", "Effect", "p", "p, Holm", "Better")


def render_comparison(comparison: Comparison, pictures: Sequence[Picture]) -> str:
    """The HTML of a comparison."""
    pairs = _pairs(comparison.differences)
    return render(
        "comparison.html",
        about=comparison,
        estimators=comparison.estimators | {name: getattr(comparison, name) for name in METHODS},
        names=[run.name for run in comparison.runs],
        facts=data_facts(comparison) | {"Bootstrap's seed": str(comparison.seed)},
        notes=comparison.notes,
        runs=[_run(run) for run in comparison.runs],
        found={pair: findings(rows) for pair, rows in pairs.items()},
        columns=COLUMNS,
        pairs={pair: [(row.figure, _label(row.figure), _cells(row)) for row in rows] for pair, rows in pairs.items()},
        tests=len(comparison.differences),
        pictures=pictures,
    )


def findings(rows: Sequence[Difference]) -> str:
    """The figures in which the second or the first run of a pair is better, in which they differ, and the undecided ones."""
    kinds = {name: [row.figure for row in rows if row.verdict == verdict] for verdict, name in KINDS.items()}
    return "; ".join(f"{name} {', '.join(figures)}" for name, figures in kinds.items() if figures)


def _pairs(differences: Sequence[Difference]) -> dict[str, list[Difference]]:
    """The differences of each pair of runs, by the name of the pair."""
    found: dict[str, list[Difference]] = {}
    for row in differences:
        found.setdefault(pair_name(row), []).append(row)
    return found


def _cells(row: Difference) -> tuple[str, ...]:
    """A difference as text, by `COLUMNS` after the first."""
    cells = (
        decimals(row.first_mean),
        decimals(row.second_mean),
        signed(row.difference),
        "-" if math.isnan(row.low) else f"{signed(row.low)} to {signed(row.high)}",
        f"{row.effect:+.2f}",
        p_value(row.p),
        p_value(row.p_holm),
    )
    return *map(true_minus, cells), row.verdict


def _run(run: ComparedRun) -> dict[str, str]:
    """The facts of a run, by the columns of a table."""
    return {
        "Run": run.name,
        "Method": run.method,
        "Weights": short_hash(run.weights_hash).removeprefix("SHA-256 "),
        "Model's masks": model_masks(run),
        "Seed": str(run.seed),
        "Calibration": calibration(run.calibrated).split(":")[0],
    }


def _label(figure: str) -> str:
    return MEASURES[figure].label.format(weights="all masks").strip()
