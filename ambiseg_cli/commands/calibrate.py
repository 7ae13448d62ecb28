"""`ambiseg calibrate`: fit the correction of a run's probabilities to its validation readers."""

from typing import TYPE_CHECKING, Annotated

import typer

from ambiseg.preprocessing.counted import counted

from ..terminal.console import Meter, console, emit_json, out, progress
from ..terminal.options import Data, Device, Run

if TYPE_CHECKING:
    from rich.table import Table

    from ambiseg.models.evaluation.calibrate_run import Fit
    from ambiseg.models.evaluation.judgement import Judgement

    from ..api import Calibrated

FEW = 20  # validation patients
LABELS = {
    "nll": "NLL, nats per reader",
    "brier": "Brier score",
    "ece": "ECE of hypotheses",
    "top_ece": "ECE of the top hypothesis",
}


def calibrate(
    run: Run = None,
    samples: Annotated[
        int, typer.Option(help="Number of masks drawn per image; best as many as `predict` draws.", min=1)
    ] = 256,
    seed: Annotated[int, typer.Option(help="Seed of the draws.", min=0)] = 0,
    data: Data = None,
    check: Annotated[
        str, typer.Option(help="Split on which before and after are compared. The fit is always on val.")
    ] = "test",
    limit: Annotated[
        int | None,
        typer.Option(help="Use only this number of cases of each split, spread over it.", show_default=False),
    ] = None,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print fit and check as JSON instead of tables.")] = False,
) -> None:
    """Fit a temperature to the validation readers' choices, with shifts of the empty mask and of "none of these" if they help.

    The result is stored in the run, where `predict` and `evaluate` use it.
    """
    from ambiseg.models.runs.hardware import keep_freed_memory, resolve_device
    from ambiseg.models.runs.run_folder import newest_run

    from ..api import calibrate as fit_run

    run = run or newest_run()
    if resolve_device(device).type == "cpu":
        keep_freed_memory()
    with progress() as display:
        fitting, checking = Meter(display, "Fitting", "cases"), Meter(display, "Checking", "cases")
        found = fit_run(
            run,
            data,
            check=check,
            samples=samples,
            seed=seed,
            limit=limit,
            device=device,
            on_fit=fitting,
            on_check=checking,
        )
    if as_json:
        emit_json(found.content)
    else:
        _print(found)
    if found.fit.patients < FEW:
        console.print(
            f"Note: the fit is on only {counted(found.fit.patients, 'patient')}. Other patients might give a different result."
        )
    console.print(f"Written: {run / 'calibration.json'}, {run / 'calibration'}")


def _print(found: "Calibrated") -> None:
    cases, patients = counted(found.cases, "case"), counted(found.patients, "patient")
    out(_fit_table(found.fit))
    out(_check_table(found.before, found.after, f"On {found.split}: {cases} of {patients}"))
    out(_coverage_table(found.before, found.after))


def _fit_table(fit: "Fit") -> "Table":
    """Which choice predicts patients left out best, and the numbers fitted on all patients."""
    from rich.table import Table

    numbers = fit.calibration
    table = Table(
        title=f"Fitted on val: {counted(fit.cases, 'case')} of {counted(fit.patients, 'patient')}",
        caption=f"temperature {numbers.temperature:.3f}, empty {numbers.empty:+.3f}, none {numbers.none:+.3f} nats",
    )
    table.add_column("fitted")
    table.add_column("NLL of patients left out", justify="right")
    for name, value in fit.held_out.items():
        table.add_row(name + (" (chosen)" if name == fit.chosen else ""), f"{value:.4f}")
    return table


def _check_table(before: "Judgement", after: "Judgement", title: str) -> "Table":
    from rich.table import Table

    from ambiseg.models.figures.numbers import decimals, interval

    table = Table(title=title, caption="95 % bootstrap intervals by patient")
    table.add_column("figure (lower is better)")
    for heading in ("before", "after"):
        table.add_column(heading, justify="right")
        table.add_column("95 % interval", justify="right")
    for name, label in LABELS.items():
        figures = (before.figures[name], after.figures[name])
        table.add_row(label, *(cell for figure in figures for cell in (decimals(figure.mean), interval(figure))))
    return table


def _coverage_table(before: "Judgement", after: "Judgement") -> "Table":
    """Credible sets: the probability that they state, and how much of the readers' choices they hold."""
    from rich.table import Table

    table = Table(title="Credible sets: the first hypotheses that reach a level", caption="means over the cases")
    for heading in ("level", "stated", "held, before", "stated", "held, after"):
        table.add_column(heading, justify="right")
    for one, other in zip(before.coverage, after.coverage, strict=True):
        table.add_row(
            f"{one.level:.2f}", *(f"{value:.3f}" for value in (one.stated, one.held, other.stated, other.held))
        )
    return table
