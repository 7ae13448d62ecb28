"""`ambiseg calibrate`: fit the correction of a run's probabilities to its validation readers."""

from typing import TYPE_CHECKING, Annotated

import typer

from ambiseg.preprocessing.counted import counted

from ..terminal.console import Meter, console, emit_json, out, progress, warn
from ..terminal.options import Data, Device, FoldRuns, Model, Overwrite

if TYPE_CHECKING:
    from rich.table import Table

    from ambiseg.models.calibration.calibrate_run import Pair
    from ambiseg.models.calibration.fitting import Fitted

    from ..api import Calibrated

FEW = 20  # validation patients
PARTS = {"presence": "a lesion or none, nats per reader", "size": "size of those who mark it, nats per reader"}
LABELS = {
    "nll": "NLL, nats per reader",
    "brier": "Brier score",
    "ece": "ECE of hypotheses",
    "top_ece": "ECE of the top hypothesis",
}


def calibrate(
    model: Model = None,
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
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Save a calibrated copy under this name, which --model finds, or in this folder (with a slash). "
            "Default: the run itself.",
            show_default=False,
        ),
    ] = None,
    fold_runs: FoldRuns = None,
    even_if_worse: Annotated[
        bool, typer.Option("--even-if-worse", help="Use the calibration even if the check got worse.")
    ] = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print fit and check as JSON instead of tables.")] = False,
) -> None:
    """Correct the probability of a lesion and the spread of its size, so that they agree with the validation readers.

    Slices and whole lesions have numbers of their own. A correction is kept only if it helps with patients left out. The
    result is stored in the run, where `predict` and `evaluate` use it, unless the check on other cases got worse.
    A run that was trained on all patients is calibrated on the runs of a cross-validation (--fold-runs).
    """
    from ambiseg.models.runs.hardware import keep_freed_memory, resolve_device

    from ..api import calibrate as fit_run

    if resolve_device(device).type == "cpu":
        keep_freed_memory()
    with progress() as display:
        fitting, checking = Meter(display, "Fitting", "cases"), Meter(display, "Checking", "cases")
        found = fit_run(
            model,
            data,
            check=check,
            samples=samples,
            seed=seed,
            limit=limit,
            output=output,
            fold_runs=fold_runs,
            even_if_worse=even_if_worse,
            overwrite=overwrite,
            device=device,
            on_fit=fitting,
            on_check=checking,
        )
    if as_json:
        emit_json(found.content)
    else:
        _print(found)
    if found.fit.slices.patients < FEW:
        patients = counted(found.fit.slices.patients, "patient")
        console.print(f"Note: the fit is on only {patients}. Other patients might give a different result.")
    _say_what_became_of_it(found, copied=output is not None)


def _say_what_became_of_it(found: "Calibrated", *, copied: bool) -> None:
    """Say what got worse, whether the calibration is used from now on, and where it is."""
    for kind, fitted in (("slices", found.fit.slices), ("lesions", found.fit.lesions)):
        for part, (before, after) in {} if fitted is None else fitted.held_out.items():
            if round(after, 6) >= round(before, 6):
                console.print(
                    f"Note: the correction of {part} of {kind} did not help patients left out: it is not kept."
                )
    worse = _worse(found)
    if worse:
        warn(f"Calibration made this worse on {found.check.split}: {'; '.join(worse)}.")
    if not found.used:
        kept = "nothing was saved" if copied else f"only its check is in {found.place / 'calibration'}"
        warn(f"The model does not use it; {kept}. Use it all the same with `even_if_worse`.")
        return
    console.print(f"Written: {found.place / 'calibration.json'}, {found.place / 'calibration'}")
    if copied:
        from ambiseg.models.bundle import models_folder

        name = found.place.name if found.place.parent == models_folder() else found.place
        console.print(f"Use it: ambiseg predict SCAN --model {name}")


def _worse(found: "Calibrated") -> list[str]:
    """The figures of the check that got worse, with their values."""
    from ambiseg.models.figures.numbers import decimals

    pairs = {"slices": found.check.slices, "lesions": found.check.lesions}
    return [
        f"{LABELS[name]} of {kind} {decimals(pair.before.figures[name].mean)} -> {decimals(pair.after.figures[name].mean)}"
        for kind, names in found.check.worse().items()
        if (pair := pairs[kind]) is not None
        for name in names
    ]


def _print(found: "Calibrated") -> None:
    pairs = (
        ("slices", found.fit.calibration.slices, found.fit.slices, found.check.slices),
        ("lesions", found.fit.calibration.lesions, found.fit.lesions, found.check.lesions),
    )
    for kind, numbers, fitted, pair in pairs:
        if fitted is None:
            split = found.fit.calibration.split
            console.print(f"Note: {split} has no whole lesions of several patients. Volumes use the numbers of slices.")
            continue
        out(_fit_table(kind, fitted, str(numbers)))
        if pair is not None:
            cases, patients = counted(pair.cases, kind.removesuffix("s")), counted(pair.patients, "patient")
            out(_check_table(pair, f"On {found.check.split}: {cases} of {patients}"))
            out(_coverage_table(pair))


def _fit_table(kind: str, fitted: "Fitted", numbers: str) -> "Table":
    """How patients left out are predicted without a correction and with one, and the numbers fitted on all patients."""
    from rich.table import Table

    cases = counted(fitted.events, kind.removesuffix("s"))
    table = Table(title=f"Fitted on val: {cases} of {counted(fitted.patients, 'patient')}", caption=numbers)
    for heading in ("patients left out (lower is better)", "no correction", "corrected"):
        table.add_column(heading, justify="left" if heading.startswith("patients") else "right")
    for name, (before, after) in fitted.held_out.items():
        kept = "" if round(after, 6) < round(before, 6) else " (not kept)"
        table.add_row(PARTS[name] + kept, f"{before:.4f}", f"{after:.4f}")
    return table


def _check_table(pair: "Pair", title: str) -> "Table":
    from rich.table import Table

    from ambiseg.models.figures.numbers import decimals, interval

    table = Table(title=title, caption="95 % bootstrap intervals by patient")
    table.add_column("figure (lower is better)")
    for heading in ("before", "after"):
        table.add_column(heading, justify="right")
        table.add_column("95 % interval", justify="right")
    for name, label in LABELS.items():
        figures = (pair.before.figures[name], pair.after.figures[name])
        table.add_row(label, *(cell for figure in figures for cell in (decimals(figure.mean), interval(figure))))
    return table


def _coverage_table(pair: "Pair") -> "Table":
    """Credible sets: the probability that they state, and how much of the readers' choices they hold."""
    from rich.table import Table

    table = Table(title="Credible sets: the first hypotheses that reach a level", caption="means over the cases")
    for heading in ("level", "stated", "held, before", "stated", "held, after"):
        table.add_column(heading, justify="right")
    for one, other in zip(pair.before.coverage, pair.after.coverage, strict=True):
        table.add_row(
            f"{one.level:.2f}", *(f"{value:.3f}" for value in (one.stated, one.held, other.stated, other.held))
        )
    return table
