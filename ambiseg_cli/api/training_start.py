"""Training runs about to start: a new one, or one that is continued. `ambiseg.train` and the commands train through them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ambiseg.models.bundle.find import find_model
from ambiseg.models.runs.config import TrainConfig
from ambiseg.models.runs.run_folder import Run, new_run_path
from ambiseg.models.runs.run_record import RunRecord
from ambiseg.models.training.checkpoint import saved_progress
from ambiseg.models.training.chosen_teacher import with_teacher
from ambiseg.models.training.distributed import launched_rank
from ambiseg.models.training.drawn_masks import taught_masks
from ambiseg.models.training.fine_tune import Start, plan, with_start
from ambiseg.models.training.loop import Observer, check_data, train
from ambiseg.models.training.stepper import check_hardware
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.files import only_writer
from ambiseg.preprocessing.store.store import Store

DEFAULT_METHOD = "generalized"


@dataclass(frozen=True)
class Training:
    """A run, the data it is trained on, and the device."""

    run: Run
    store: Store
    device: torch.device

    def start(self) -> Start | None:
        """What the run takes from the model that it starts from; None where it starts from none, or has begun."""
        config = self.run.record.config
        return plan(config, self.store) if config.start.model and not self.run.checkpoint.is_file() else None

    def prepare(self, on_progress: Callable[[int, int], None]) -> None:
        """Draw the masks of the run's teacher, if it has one and they are not drawn yet; `go` would do it without a word.

        on_progress: called with (crops done, crops in all).
        """
        if launched_rank() is None:
            taught_masks(self.run, self.store, self.device, on_progress)

    def go(self, observe: Observer) -> bool:
        """Train to the end. Returns False if training stopped early because there was no improvement."""
        return train(self.run, self.store, self.device, observe)


def default_preset(device: torch.device) -> str:
    """The preset for a device, if the user names none."""
    return "paper" if device.type == "cuda" else "small"


def new_training(config: TrainConfig, store: Store, device: torch.device, output: Path | None = None) -> Training:
    """Create the folder of a new run.

    If several processes train together, the first one creates it and the others wait for it.

    Args:
        config: the settings.
        store: the data.
        device: where to train.
        output: the folder to create; None: `runs/<method>-<number>`.

    Raises:
        UsageError: before a folder is created, if the device, the data or the teacher cannot serve these settings.
        InputError: if the data has no crops to train or validate on, or there is no such teacher.
        DataError: if the teacher reads other data.
    """
    rank = launched_rank()
    if config.teacher.model:
        named = config.teacher.model_copy(update={"model": str(find_model(config.teacher.model))})
        config = with_teacher(config.model_copy(update={"teacher": named}), store)
    if config.start.model:
        named_start = config.start.model_copy(update={"model": str(find_model(config.start.model))})
        config = config.model_copy(update={"start": named_start})
    config = with_start(config, store)
    check_data(config, store)
    check_hardware(config.hardware, device)
    if rank is not None and output is None:
        raise UsageError("Several processes need the same run folder: give `output`.")
    path = output or new_run_path(config.method)
    run = Run.wait_for(path) if rank else Run.create(path, RunRecord.of(config, store, str(device)))
    return Training(run, store, device)


def resumed_training(
    path: Path,
    store: Store | None,
    device: torch.device,
    given: Mapping[str, object] | None = None,
    steps: int | None = None,
) -> Training:
    """Continue a run from where it stopped, or for more steps than it was started for.

    Args:
        path: the run's folder.
        store: its data; None: where the data was when the run was started.
        device: where to train.
        given: settings by name that the user gave; all of them must be None, since the run keeps its own.
        steps: how many steps the run is to have from now on; None: as many as before.

    Raises:
        UsageError: if settings are given, `steps` are no more than before, or another process trains the run.
        InputError: if there is no such run or no such data.
    """
    wrong = [f"`{name}`" for name, value in (given or {}).items() if not _absent(value)]
    if wrong:
        raise UsageError(f"A resumed run keeps its settings: leave out {', '.join(wrong)}, or start a new run.")
    run = Run.open(path)
    if steps is not None and not launched_rank():
        run = _longer(run, steps)
    return Training(run, store or Store.open(Path(run.record.data.path)), device)


def starting_settings(model: str | None) -> tuple[str | None, dict[str, object]]:
    """The method of a model to start from, and its settings that a new run takes over: options, side of the crop, and where
    its inputs are 0, which its weights expect.
    """
    if model is None:
        return None, {}
    record = Run.open(find_model(model)).record
    return record.method, {"options": record.config.options, "data": {"crop": record.crop, "centre": record.centre}}


def _longer(run: Run, steps: int) -> Run:
    """The run with more steps: from its end, or from where it stopped early."""
    with only_writer(run.checkpoint, what=f"the run {run.path}", remedy="stop it"):
        config = run.record.config
        if steps <= config.steps:
            raise UsageError(
                f"`steps` is {steps}, but {run.path} has {config.steps}: give more to go on longer, or leave it out."
            )
        done, stale = saved_progress(run.checkpoint)
        ended = done >= config.steps or 0 < config.validation.patience <= stale
        return run.longer(steps, done if ended else config.steps)


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, Sequence | Mapping) and not value)
