"""`ambiseg benchmark lidc`: every method on a dataset store of real readers, trained, calibrated and evaluated alike."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ambiseg.preprocessing.errors import Interrupted, PartialError

from ...terminal.console import console, out, progress
from ...terminal.options import Entries, entry_names
from ...terminal.options import seeds as seeds_of
from .benchmark_watch import Watch


def lidc(
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="The dataset store.", show_default="data/lidc, or the only one in data/"),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="Folder of the runs and the results. An earlier benchmark there is resumed."
        ),
    ] = Path("benchmarks/lidc"),
    preset: Annotated[
        str | None, typer.Option(help="Settings of all entries.", show_default="paper on CUDA, small on a CPU")
    ] = None,
    method: Entries = None,
    seeds: Annotated[str, typer.Option(help="Seeds to train each entry from, separated by commas.")] = "0",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps of every entry.", show_default="the preset's")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="One setting of all entries, e.g. batch=8; repeatable.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Stop after this many minutes. The same command resumes.", show_default="no limit"),
    ] = None,
    test: Annotated[
        bool, typer.Option("--test", help="When all is done on val, evaluate the test split, too: once, at the end.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Measure only this many cases of a split, to try it.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Train every method on one dataset store with equal budgets, calibrate and evaluate it on val, and print tables.

    You may stop it at any time; the same command resumes.
    """
    from ambiseg.models.benchmarks.trials.entries import LIDC_ENTRIES, choose_entries
    from ambiseg.models.benchmarks.trials.lidc_tables import write_results
    from ambiseg.models.benchmarks.trials.lidc_trials import Work, plan, run_benchmark
    from ambiseg.models.runs.hardware import resolve_device
    from ambiseg.models.training.loop import BudgetSpent
    from ambiseg.preprocessing.files import check_place
    from ambiseg.preprocessing.store.store import Store, default_store

    chosen = resolve_device(device)
    wanted = entry_names(method)
    entries = choose_entries(wanted, LIDC_ENTRIES) if wanted else LIDC_ENTRIES
    store = Store.open(data or default_store())
    check_place(output)
    preset = preset or ("paper" if chosen.type == "cuda" else "small")
    trials = plan(output, entries, store, preset, seeds=seeds_of(seeds), steps=steps, settings=settings or [])
    try:
        with progress() as display:
            watch = Watch(display, len(trials) * (1 + test))
            work = Work(store, chosen, limit, _deadline(minutes), watch.begin)
            for trial, split in run_benchmark(trials, work, test=test):
                watch.done()
                console.print(f"{trial.path.name}: measured on {split}.")
                write_results(output, limit=limit)
    except (KeyboardInterrupt, BudgetSpent):
        raise Interrupted("Stopped. Nothing is lost; the same command resumes.") from None
    except PartialError:
        out(*write_results(output, limit=limit).splitlines())
        raise
    out(*write_results(output, limit=limit).splitlines())
    console.print(f"Written: {output / 'results.csv'} and the run folders beside it")


def _deadline(minutes: float | None) -> Callable[[], bool]:
    """A function that says whether this many minutes from now have passed."""
    end = None if minutes is None else time.monotonic() + 60 * minutes
    return lambda: end is not None and time.monotonic() > end
