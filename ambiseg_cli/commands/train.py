"""`ambiseg train`: start a training run, or continue one."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ambiseg.preprocessing.counted import counted

from ..terminal.console import Meter, console, emit_json, out, progress, warn
from ..terminal.options import Device

if TYPE_CHECKING:
    from ambiseg.models.runs.config import TrainConfig
    from ambiseg.models.runs.run_folder import Run

    from ..api.metric_logs import Log
    from ..api.training_start import Training

Method = Annotated[
    str | None,
    typer.Option("--method", "-m", help="The method; `ambiseg methods` lists them.", show_default="generalized"),
]
TrainingData = Annotated[
    Path | None,
    typer.Option("--data", "-d", help="The dataset store.", show_default="data/lidc, or the only one in data/"),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The run folder to create.", show_default="runs/<method>-<number>"),
]
Preset = Annotated[
    str | None, typer.Option(help="Settings to start from.", show_default="paper on CUDA, small on a CPU")
]
Config = Annotated[Path | None, typer.Option(help="A TOML file of settings, which replace the preset's.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A setting, e.g. optimiser.learning_rate=3e-4; repeatable.")
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", "-O", help="An option of the method, e.g. family=full; repeatable."),
]
Teacher = Annotated[
    str | None,
    typer.Option(help="Learn from the draws of this run or model in the place of the readers.", show_default="none"),
]


def train(
    method: Method = None,
    data: TrainingData = None,
    output: Output = None,
    preset: Preset = None,
    config: Config = None,
    settings: Settings = None,
    option: Options = None,
    steps: Annotated[int | None, typer.Option(help="Number of training steps.")] = None,
    batch: Annotated[int | None, typer.Option(help="Number of images per step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's learning rate.")] = None,
    teacher: Teacher = None,
    teacher_draws: Annotated[
        int | None, typer.Option(help="Masks that the teacher draws for each training crop.", show_default="16")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Start from the weights of this run or model, where their shapes fit; method and options are its own.",
            show_default="random weights",
        ),
    ] = None,
    frozen: Annotated[
        list[str] | None,
        typer.Option("--freeze", help="A part of that model that stays as it is, e.g. prior.blocks; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, batches and draws.")] = None,
    device: Device = "auto",
    resume: Annotated[Path | None, typer.Option(help="Continue this run folder; its settings are kept.")] = None,
    log: Annotated[
        Literal["csv", "tensorboard", "mlflow"] | None,
        typer.Option(help="Also write all figures for this program, into the run folder.", show_default=False),
    ] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the settings as TOML and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON to stdout.")] = False,
) -> None:
    """Train a model on a dataset store. Ctrl-C stops between two steps; --resume continues from there to the same weights.

    With --resume, --steps lets a run go on longer than it was started for.
    """
    from ambiseg.models.runs.config import make_config
    from ambiseg.models.runs.hardware import resolve_device
    from ambiseg.models.training.distributed import launched_rank
    from ambiseg.preprocessing.store.store import Store, default_store

    from ..api.metric_logs import check_log
    from ..api.training_start import DEFAULT_METHOD, default_preset, new_training, resumed_training, starting_settings

    check_log(log)
    where, rank = resolve_device(device), launched_rank()
    console.quiet = console.quiet or bool(rank)  # of several processes only the first one prints
    flags: dict[str, object] = {"steps": steps, "batch": batch, "seed": seed, "optimiser.learning_rate": learning_rate}
    flags |= {"teacher.model": teacher, "teacher.draws": teacher_draws}
    flags |= {"start.model": start, "start.frozen": tuple(frozen or ()) or None}
    asked = [*(settings or []), *(f"options.{text}" for text in option or [])]
    if resume is not None:
        given: dict[str, object] = {"method": method, "output": output, "preset": preset, "config": config}
        given["settings"] = settings
        given |= {"teacher": teacher, "teacher_draws": teacher_draws}
        given |= {
            "option": option,
            "start": start,
            "frozen": frozen,
            "batch": batch,
            "learning_rate": learning_rate,
            "seed": seed,
        }
        training = resumed_training(resume, None if data is None else Store.open(data), where, given, steps)
    else:
        own, base = starting_settings(start)
        base = base if method in (None, own) else {}
        chosen = method or own or DEFAULT_METHOD
        made = make_config(chosen, preset or default_preset(where), config, asked, flags, base)
        if print_config:
            out(*_toml(made).splitlines())
            return
        training = new_training(made, Store.open(data or default_store()), where, output)
        if method is None and own is None:
            console.print(
                f"No --method: {chosen}, which follows its paper and has the most options. Of all methods gated comes closest "
                "to the readers of LIDC-IDRI (docs/results/lidc.md); `ambiseg methods` lists them."
            )
        if preset is None and where.type == "cpu":
            console.print(
                f"On a CPU the preset is small ({made.data.crop} x {made.data.crop} crops, narrow networks). "
                "Use --preset paper, --config or --set to choose other settings."
            )
    finished, best = watched(training, log)
    if not rank:
        _report(training.run, best, finished, as_json)


def watched(training: "Training", log: "Log | None" = None) -> tuple[bool, dict[str, float]]:
    """Train with a live table. Returns whether training ran to its end, and the scores of the weights that are kept."""
    from ambiseg.preprocessing.errors import Interrupted, ResourceError
    from ambiseg.preprocessing.shortages import AGAIN

    from ..api.metric_logs import also_logged
    from ..terminal.train_display import TrainDisplay

    run, store = training.run, training.store
    console.print(
        f"Training {run.record.method} on {store.path} ({counted(len(store.rows('train')), 'crop')}), "
        f"device {training.device}."
    )
    if (taken := training.start()) is not None:
        console.print(f"Starting from {Path(run.record.config.start.model).name}: {taken}.")
    with ExitStack() as shown:
        try:
            if run.record.config.teacher.model:
                with progress() as bar:
                    training.prepare(Meter(bar, f"masks of {Path(run.record.config.teacher.model).name}", "crop"))
            display = shown.enter_context(TrainDisplay(run))
            observe = shown.enter_context(also_logged(run, log, display.observe))
            return training.go(observe), display.best
        except KeyboardInterrupt:
            raise Interrupted(f"Stopped; nothing is lost. Continue with: ambiseg train --resume {run.path}") from None
        except ResourceError as error:
            again = str(error).replace(AGAIN, f"continue with: ambiseg train --resume {run.path}")
            raise ResourceError(again) from error


def _report(run: "Run", best: dict[str, float], finished: bool, as_json: bool) -> None:
    from ambiseg.models.training.diagnosis import diagnosis

    path, monitor = run.path, run.record.config.validation.monitor
    found = diagnosis(run.read_log(), monitor)
    if as_json:
        emit_json({"run": str(path), "finished": finished, "best": best, "warnings": found})
        return
    for sentence in found:
        warn(sentence)
    how = "Finished" if finished else "Stopped early (no improvement)"
    curves = path / "progress.png"
    if best:
        scores = ", ".join(f"{name} {best[name]:.3f}" for name in ("ged", "ged_u", "hm_iou"))
        what = "On validation" if monitor == "none" else "Best on validation"
        console.print(f"{how}. {what}, at step {best['step']}: {scores}. Curves: {curves}")
    else:
        console.print(f"{how}, without validation: the last weights are kept. Curves: {curves}")
    other = " --probabilities scan.npz" if run.record.data.probabilities else ""
    console.print(f"Next: ambiseg evaluate {path} or ambiseg predict scan.nii --top 8{other}")
    out(str(path))


def _toml(config: "TrainConfig") -> str:
    import tomlkit

    return tomlkit.dumps(
        {key: value for key, value in config.model_dump(mode="json", exclude_none=True).items() if value != ""}
    )
