"""`ambiseg benchmark known-truth|lidc|step|metrics`: what methods learn, on synthetic lesions and on real readers, and what a
training step and the metrics cost.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import Interrupted

from ...terminal.console import Meter, console, emit_json, out, progress
from ...terminal.options import Entries, entry_names, names
from ...terminal.options import seeds as seeds_of
from .benchmark_lidc import lidc
from .benchmark_watch import Watch

if TYPE_CHECKING:
    from rich.table import Table

    from ambiseg.models.benchmarks.cost.step_cost import MethodCost, StepCost
    from ambiseg.preprocessing.store.store import Store

benchmark = typer.Typer(
    help="Measure: what methods learn, what a training step costs, what the metrics cost.", no_args_is_help=True
)

benchmark.command()(lidc)

MADE_CROPS = 64  # of the store that the step benchmark makes when it is given none


@benchmark.command("known-truth")
def known_truth(
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="Folder of the data, the runs and the results. An earlier benchmark there is resumed.",
        ),
    ] = Path("benchmarks/known-truth"),
    method: Entries = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps of every entry.", show_default="the preset's")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds to train each entry from, separated by commas.")] = "0",
    crops: Annotated[int, typer.Option(min=20, help="Number of images, 60 % of them to train on.")] = 1000,
    size: Annotated[int, typer.Option(min=16, help="Side of an image in pixels.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of a table.")] = False,
) -> None:
    """Train every method on synthetic lesions whose readers' distribution is known, with equal budgets, and compare.

    You may stop it at any time; the same command resumes.
    """
    from ambiseg.models.benchmarks.trials.entries import ENTRIES, choose_entries
    from ambiseg.models.benchmarks.trials.known_truth import known_truth_store, plan, run_benchmark
    from ambiseg.models.benchmarks.trials.results import markdown, read_results
    from ambiseg.models.runs.hardware import resolve_device

    wanted = entry_names(method)
    chosen = choose_entries(wanted) if wanted else ENTRIES
    trials = plan(output, chosen, seeds=seeds_of(seeds), steps=steps, size=size)
    store = known_truth_store(output, crops=crops, size=size)
    try:
        with progress() as display:
            watch = Watch(display, len(trials))
            for result in run_benchmark(output, trials, store, resolve_device(device), watch.training):
                watch.done()
                console.print(
                    f"{result.entry}, seed {result.seed}: mode error {result.mode_error:.3f}, GED16 {result.ged16:.3f}"
                )
    except KeyboardInterrupt:
        raise Interrupted("Stopped. Nothing is lost; the same command resumes.") from None
    results = read_results(output)
    if as_json:
        emit_json([result.plain() for result in results])
    else:
        out(*markdown(results).splitlines())
    console.print(f"Written: {output}/results.csv and results.json")


@benchmark.command()
def step(
    store: Annotated[
        Path | None,
        typer.Argument(help="Dataset store. Default: synthetic lesions of the preset's crop size.", show_default=False),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", "-m", help="A method, several separated by commas, or all.")
    ] = "all",
    preset: Annotated[str, typer.Option(help="Settings to start from.")] = "small",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, e.g. batch=8 or options.convs=3; repeatable.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps timed in each phase of a method's schedule.")] = 20,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the costs as JSON instead of a table.")] = False,
) -> None:
    """Time whole training steps, and their convolutions and matrix products alone: the ratio is the overhead.

    The limit is the least time for these at the best speeds of arithmetic and of a large copy measured in the same run.
    """
    from ambiseg.models.benchmarks.cost.step_cost import step_cost
    from ambiseg.models.methods.registry import methods as known
    from ambiseg.models.runs.config import make_config
    from ambiseg.models.runs.hardware import resolve_device

    chosen_methods = list(known()) if method == "all" else names(method)
    configs = [make_config(name, preset, settings=settings or []) for name in chosen_methods]
    chosen, costs = resolve_device(device), []
    with _store(store, max(config.data.crop for config in configs)) as opened, progress() as display:
        meter = Meter(display, "Timing", "method")
        meter(0, len(configs))
        for config in configs:
            costs.append(step_cost(config, opened, chosen, steps=steps))
            meter(len(costs), len(configs))
    if as_json:
        emit_json([_plain(cost) for cost in costs])
    else:
        out(f"Preset {preset}, {chosen}")
        out(_overhead(costs))
        out("")
        out(_reached(costs))


@benchmark.command()
def metrics(
    images: Annotated[int, typer.Option(help="Number of images.")] = 200,
    samples: Annotated[int, typer.Option(help="Masks per image, 16 at least.")] = 100,
    readers: Annotated[int, typer.Option(help="Readers of each image.")] = 4,
    size: Annotated[int, typer.Option(help="Side of an image in pixels.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic masks.")] = 0,
    naive: Annotated[
        bool, typer.Option("--naive", help="Time a double loop over pairs of masks too; takes minutes.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the cost as JSON instead of text.")] = False,
) -> None:
    """Time GED and HM-IoU16 on synthetic masks."""
    from ambiseg.models.benchmarks.cost.metric_cost import metric_cost
    from ambiseg.models.runs.hardware import resolve_device

    chosen = resolve_device(device)
    cost = metric_cost(images, samples, readers, size, device=chosen, seed=seed, naive=naive)
    if as_json:
        emit_json({**vars(cost), "ratio": cost.ratio})
        return
    out(
        f"GED and HM-IoU16 of {counted(images, 'image')} of {size}x{size}, {counted(samples, 'sample')}, "
        f"{counted(readers, 'reader')}, {chosen}"
    )
    out(f"matrix product {cost.seconds:8.2f} s")
    if naive:
        out(f"double loop    {cost.naive_seconds:8.2f} s, {cost.ratio:.0f} times as long")
        out(f"greatest difference of a figure {cost.difference:.1e}")


@contextmanager
def _store(path: Path | None, size: int) -> Iterator["Store"]:
    """The store at `path`, or a temporary one."""
    from ambiseg.preprocessing.files import scratch_folder
    from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
    from ambiseg.preprocessing.store.store import Store

    if path is not None:
        yield Store.open(path)
        return
    with scratch_folder() as folder:
        yield write_known_truth(folder / "store", crops=MADE_CROPS, size=size, readers=None)


def _overhead(costs: "list[MethodCost]") -> "Table":
    """The time of steps beside that of their arithmetic."""
    rows = [
        (
            cost.method,
            f"{cost.parameters:,}",
            f"{cost.mean.flops / 1e9:.2f}",
            f"{cost.mean.repeated_flops / cost.mean.flops:.0%}",
            f"{1e3 * cost.mean.seconds:.1f}",
            f"{1e3 * cost.mean.arithmetic_seconds:.1f}",
            f"{cost.mean.ratio:.2f}",
        )
        for cost in costs
    ]
    headings = ("parameters", "GFLOP per step", "of it twice", "step ms", "arithmetic ms", "ratio")
    return _table(headings, rows, "Arithmetic: convolutions and matrix products with nothing between them.")


def _reached(costs: "list[MethodCost]") -> "Table":
    """The time of steps beside the device's limits."""
    rows = [
        (
            cost.method,
            f"{cost.mean.gflops_a_second:,.0f}",
            f"{cost.mean.bytes / 1e6:,.0f}",
            f"{cost.mean.gbytes_a_second:,.1f}",
            f"{1e3 * cost.mean.limit_seconds:.1f}",
            f"{cost.mean.reached:.0%}",
        )
        for cost in costs
    ]
    return _table(("GFLOP/s", "MB per step", "GB/s", "limit ms", "reached"), rows, _speeds(costs))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> "Table":
    from rich.table import Table

    table = Table("method", box=None, pad_edge=False, caption=caption, caption_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def _speeds(costs: "list[MethodCost]") -> str:
    """The best speeds measured beside the costs, in words."""
    best = {dtype: max(cost.speeds.flops[dtype] for cost in costs) for dtype in costs[0].speeds.flops}
    products = ", ".join(
        f"{str(dtype).removeprefix('torch.')} {speed / 1e9:,.0f} GFLOP/s" for dtype, speed in best.items()
    )
    copy = max(cost.speeds.bandwidth for cost in costs)
    return f"Limit: the least time for it with arithmetic at {products}, or memory at {copy / 1e9:,.1f} GB/s."


def _plain(cost: "MethodCost") -> dict[str, Any]:
    """A cost for JSON."""

    def figures(own: "StepCost") -> dict[str, float]:
        derived = ("ratio", "reached", "gflops_a_second", "gbytes_a_second")
        return {**vars(own), **{name: getattr(own, name) for name in derived}}

    phases = [
        {"stage": phase.stage, "players": list(phase.players), "share": phase.share, **figures(own)}
        for phase, own in cost.phases.items()
    ]
    speeds = {str(dtype).removeprefix("torch."): speed for dtype, speed in cost.speeds.flops.items()}
    device = {"flops_a_second": speeds, "bytes_a_second": cost.speeds.bandwidth}
    return {
        "method": cost.method,
        "parameters": cost.parameters,
        **figures(cost.mean),
        "phases": phases,
        "device": device,
    }
