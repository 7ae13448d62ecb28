"""`ambiseg train`: start a training run, or go on with one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import Interrupted, ResourceError, UsageError
from ambiseg.preprocessing.shortages import AGAIN

from ..terminal.console import console, emit_json, out

if TYPE_CHECKING:
    import torch

    from ambiseg.models.runs.config import TrainConfig
    from ambiseg.models.runs.run_folder import Run
    from ambiseg.preprocessing.store.store import Store


def train(
    method: Annotated[
        str | None,
        typer.Option("--method", "-m", help="Which method; `ambiseg methods` lists them.", show_default="generalized"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="The dataset store.", show_default="data/lidc, or the only one in data/"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The run folder to make.", show_default="runs/<method>-<number>"),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Settings to start from.", show_default="paper on CUDA, small on a CPU")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings, over the preset's.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, e.g. optimiser.learning_rate=3e-4; repeatable.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-O", help="One of the method's options, e.g. family=full; repeatable."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, batches and draws.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder; its settings are kept.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the settings as TOML and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON to stdout.")] = False,
) -> None:
    """Train a model on a data set. Ctrl-C stops between two steps; --resume goes on from there, to the same weights."""
    from ambiseg.models.runs.config import make_config
    from ambiseg.models.runs.hardware import resolve_device
    from ambiseg.models.runs.run_folder import Run
    from ambiseg.models.training.distributed import launched_rank
    from ambiseg.models.training.loop import train as run_training
    from ambiseg.preprocessing.store.store import Store, default_store

    from ..terminal.train_display import TrainDisplay

    flags = {"steps": steps, "batch": batch, "seed": seed, "optimiser.learning_rate": learning_rate}
    asked = [*(settings or []), *(f"options.{text}" for text in option or [])]
    chosen, rank = resolve_device(device), launched_rank()
    console.quiet = console.quiet or bool(rank)  # of several processes only the first speaks
    if resume is not None:
        _refuse_with_resume(
            {**flags, "method": method, "preset": preset, "config": config, "output": output, "set": asked or None}
        )
        run = Run.open(resume)
        store = Store.open(data or Path(run.record.data.path))
    else:
        default = "paper" if chosen.type == "cuda" else "small"
        made = make_config(method or "generalized", preset or default, config, asked, flags)
        if print_config:
            out(*_toml(made).splitlines())
            return
        store = Store.open(data or default_store())
        run = _new_run(made, store, output, chosen, rank)
        if preset is None and chosen.type == "cpu":
            console.print(
                f"On a CPU the preset is small ({made.data.crop} x {made.data.crop} crops, narrow networks). "
                "Choose otherwise with --preset paper, --config or --set."
            )
    console.print(
        f"Training {run.record.method} on {store.path} ({counted(len(store.rows('train')), 'crop')}), device {chosen}."
    )
    with TrainDisplay(run) as display:
        try:
            finished = run_training(run, store, chosen, display.observe)
        except KeyboardInterrupt:
            raise Interrupted(f"Stopped; nothing is lost. Go on with: ambiseg train --resume {run.path}") from None
        except ResourceError as error:
            raise ResourceError(str(error).replace(AGAIN, f"go on with: ambiseg train --resume {run.path}")) from error
    if not rank:
        _report(run, display.best, finished, as_json)


def _new_run(
    config: "TrainConfig", store: "Store", output: Path | None, device: "torch.device", rank: int | None
) -> "Run":
    """Make the run folder; of several processes the first one makes it and the others wait for it."""
    from ambiseg.models.runs.run_folder import Run, new_run_path
    from ambiseg.models.runs.run_record import RunRecord
    from ambiseg.models.training.loop import check_data
    from ambiseg.models.training.stepper import check_hardware

    check_data(config, store)
    check_hardware(config.hardware, device)
    if rank is not None and output is None:
        raise UsageError("Several processes need one run folder: name it with -o.")
    path = output or new_run_path(config.method)
    if rank:
        return Run.wait_for(path)
    return Run.create(path, RunRecord.of(config, store, str(device)))


def _refuse_with_resume(given: dict[str, Any]) -> None:
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise UsageError(f"A resumed run keeps its settings: leave out {', '.join(wrong)}, or start a new run.")


def _report(run: "Run", best: dict[str, float], finished: bool, as_json: bool) -> None:
    path = run.path
    if as_json:
        emit_json({"run": str(path), "finished": finished, "best": best})
        return
    how = "Finished" if finished else "Stopped early (no improvement)"
    scores = ", ".join(f"{name} {best[name]:.3f}" for name in ("ged", "ged_u", "hm_iou"))
    console.print(f"{how}. Best on validation, at step {best['step']}: {scores}. Curves: {path / 'progress.png'}")
    other = " --probabilities scan.npz" if run.record.data.probabilities else ""
    console.print(f"Next: ambiseg evaluate {path} or ambiseg predict scan.nii --top 8{other}")
    out(str(path))


def _toml(config: "TrainConfig") -> str:
    import tomlkit

    return tomlkit.dumps(
        {key: value for key, value in _without_none(config.model_dump(mode="json")).items() if value != ""}
    )


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(part) for key, part in value.items() if part is not None}
    return value
