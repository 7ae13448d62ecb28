"""`ambiseg benchmark lidc`: every method on a dataset store of real readers, trained, calibrated and evaluated alike."""

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ambiseg.preprocessing.errors import Interrupted, PartialError, UsageError

from ...terminal.console import console, out, progress
from ...terminal.options import names
from ...terminal.options import seeds as seeds_of
from .benchmark_watch import Watch

if TYPE_CHECKING:
    from ambiseg.models.benchmarks.trials.trials import Trial

WORDS = {  # of the parts of the work, and their units
    "training": ("training", "step"),
    "sampling": ("timing", "mask"),
    "calibration": ("calibrating", "case"),
    "evaluation": ("evaluating", "case"),
}


def lidc(
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="The dataset store.", show_default="data/lidc, or the only one in data/"),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the runs and the results; goes on where it stands.")
    ] = Path("benchmarks/lidc"),
    preset: Annotated[
        str | None, typer.Option(help="Settings of all entries.", show_default="paper on CUDA, small on a CPU")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            help="Only these entries, repeated or parted by commas; a method (or an ablation's base) is all of its own.",
            show_default="all",
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds to train each entry from, parted by commas.")] = "0",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps of every entry.", show_default="the preset's")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="One setting of all entries, e.g. batch=8; repeatable.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after so long; the same command goes on.", show_default="no end")
    ] = None,
    test: Annotated[
        bool, typer.Option("--test", help="When all is done on val, evaluate the test split, too: once, at the end.")
    ] = False,
    ablations: Annotated[
        bool,
        typer.Option("--ablations", help="Change one thing at a time of a few entries instead, and see what it makes."),
    ] = False,
    published: Annotated[
        Path | None,
        typer.Option(
            help="CSV of published figures to set beside these, as `ambiseg audit` reads it.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Measure only so many cases of a split, to try it.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Train every method on one dataset store with equal budgets, calibrate and evaluate it on val, and make tables.

    It may be stopped or killed at any time; the same command goes on.
    """
    from ambiseg.models.audit.published_figures import read_published
    from ambiseg.models.benchmarks.pages.ablations_page import write_ablations
    from ambiseg.models.benchmarks.pages.lidc_page import write_results
    from ambiseg.models.benchmarks.trials.ablations import choose_studies, plan_ablations
    from ambiseg.models.benchmarks.trials.entries import LIDC_ENTRIES, choose_entries
    from ambiseg.models.benchmarks.trials.lidc_trials import Work, plan, run_benchmark
    from ambiseg.models.runs.hardware import resolve_device
    from ambiseg.preprocessing.files import check_place
    from ambiseg.preprocessing.store.store import Store, default_store

    if ablations and (test or published):
        raise UsageError("Ablations are judged on val, beside their own bases: leave --test and --published out.")
    chosen = resolve_device(device)
    preset = preset or ("paper" if chosen.type == "cuda" else "small")
    wanted = [name for text in method or [] for name in names(text)]
    beside = read_published(published) if published else []
    store = Store.open(data or default_store())
    check_place(output)
    budget: dict[str, Any] = {"seeds": seeds_of(seeds), "steps": steps, "settings": settings or []}
    if ablations:
        trials = plan_ablations(output, choose_studies(wanted), store, preset, **budget)
    else:
        entries = choose_entries(wanted, LIDC_ENTRIES) if wanted else LIDC_ENTRIES
        trials = plan(output, entries, store, preset, **budget)
    command = _command(
        {"--data": store.path, "--preset": preset, "-m": ",".join(wanted), "--seeds": seeds, "--steps": steps}
        | {"--limit": limit, "--published": published},
        settings or [],
        {"--test": test, "--ablations": ablations},
    )

    def results() -> str:
        """The page, made anew; empty while nothing is begun."""
        if not any((trial.path / "run.json").is_file() for trial in trials):
            return ""
        if ablations:
            return write_ablations(output, limit=limit, command=command)
        return write_results(output, limit=limit, published=beside, command=command)

    try:
        with progress() as display:
            watch = Watch(display, len(trials) * (1 + test))
            work = Work(store, chosen, limit, _deadline(minutes), _telling(watch))
            for trial, split in run_benchmark(trials, work, test=test):
                watch.done()
                console.print(f"{trial.path.name}: measured on {split}.")
                results()
    except KeyboardInterrupt:
        results()
        raise Interrupted("Stopped; nothing is lost. Go on with the same command.") from None
    except PartialError:
        out(*results().splitlines())
        raise
    out(*results().splitlines())
    console.print(f"Written: {output / ('ablations.md' if ablations else 'results.md')} and what is beside it")


def _deadline(minutes: float | None) -> Callable[[], bool]:
    """Whether so many minutes from now are over."""
    end = None if minutes is None else time.monotonic() + 60 * minutes
    return lambda: end is not None and time.monotonic() > end


def _telling(watch: Watch) -> Callable[["Trial", str], Callable[[int, int], None]]:
    """Show each part of a trial's work; where nothing moves on the screen, say when it begins."""

    def begin(trial: "Trial", part: str) -> Callable[[int, int], None]:
        words, unit = WORDS[part.partition("-")[0]]
        if not console.is_terminal:
            console.print(f"{time.strftime('%H:%M:%S')} {trial.path.name}: {words}")
        return watch.part(f"{trial.path.name}: {words}", unit)

    return begin


def _command(options: dict[str, object], settings: list[str], flags: dict[str, bool]) -> str:
    """The command that makes the same results, without what changes nothing in them."""
    words = [str(word) for pair in options.items() if pair[1] not in (None, "") for word in pair]
    words += [word for setting in settings for word in ("--set", setting)]
    return shlex.join(["ambiseg", "benchmark", "lidc", *words, *(name for name, on in flags.items() if on)])
