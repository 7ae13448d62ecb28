"""The run folder: everything needed to repeat a run, to go on with it, or to predict with it.

run.json               version, settings, method and options, the data's name and content hash, seed
metrics.jsonl          a line a log entry: {"kind": "train" | "validation", "step": ..., ...}
model.safetensors      the best weights so far
checkpoint.pt          the last state, to go on from; loads without executing code
progress.png           the curves
calibration.json       what `ambiseg calibrate` fitted: how stated probabilities become believed ones
"""

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from ambiseg.preprocessing.documents import json_text, parse_json, read_json, write_json
from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.files import disk_errors, is_free, whole_file
from ambiseg.preprocessing.store.intensity import Intensity
from ambiseg.preprocessing.store.store import Store

from ..core.bounds import LARGEST_STORED, MOST_MM
from ..core.calibration import Calibration, read_calibration
from ..core.method import Method, build
from ..core.predictive import Predictive
from .config import TrainConfig
from .memory import keep_freed_memory
from .normalise import Window, normalise, resolve_window, with_probabilities
from .weights_file import read_weights, weights_bytes

RUNS, RECORD = Path("runs"), "run.json"


class DataRecord(BaseModel):
    """What a run remembers of its data set; `path` is where it lay, `channels` are the images' own, `probabilities` says
    whether another segmenter's class probabilities come with them; `scaled_over`: the side in pixels of the stored crops,
    over which relative values were scaled, None where an earlier version did not remember it.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    name: str
    content_hash: str
    channels: int = Field(ge=1)
    class_names: tuple[str, ...] = Field(min_length=1)
    probabilities: bool = False
    spacing_mm: Annotated[FiniteFloat, Field(gt=0, le=MOST_MM)] | None
    unit: str
    low: FiniteFloat
    high: FiniteFloat
    scaled_over: Annotated[int, Field(ge=1, le=LARGEST_STORED)] | None = None

    @property
    def intensity(self) -> Intensity:
        """What the images' numbers are."""
        return Intensity(self.unit, self.low, self.high)

    @property
    def inputs(self) -> int:
        """Channels that a network reads: the image's, and one a class where there are probabilities."""
        return self.channels + (len(self.class_names) if self.probabilities else 0)

    @classmethod
    def of(cls, store: Store) -> "DataRecord":
        """The record of an open store."""
        return cls(
            path=str(store.path),
            name=store.manifest.name,
            content_hash=store.content_hash,
            channels=store.channels,
            class_names=store.class_names,
            probabilities=store.manifest.has_class_probabilities,
            spacing_mm=store.spacing_mm,
            scaled_over=max(store.size),
            **vars(store.intensity),
        )


class RunRecord(BaseModel):
    """The content of run.json."""

    model_config = ConfigDict(frozen=True)

    schema_number: Literal[1] = 1
    version: str
    torch: str
    device: str
    config: TrainConfig
    data: DataRecord

    @classmethod
    def of(cls, config: TrainConfig, store: Store, device: str) -> "RunRecord":
        """The record of a run that is about to start, by this version."""
        return cls(
            version=version("ambiseg"),
            torch=torch.__version__,
            device=device,
            config=config,
            data=DataRecord.of(store),
        )

    @property
    def method(self) -> str:
        """The method's name."""
        return self.config.method

    @property
    def crop(self) -> int:
        """Side of the training crop in pixels."""
        return self.config.data.crop

    @property
    def window(self) -> Window:
        """Intensities that become 0 and 1."""
        return resolve_window(self.config.data.window, self.data.intensity)


class LogEntry(BaseModel):
    """A line of the metrics log: figures of a step by their names, None where one is not defined."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]

    kind: Literal["train", "validation"]
    step: int = Field(ge=0)

    @model_validator(mode="after")
    def _has_its_figure(self) -> Self:
        extra = self.__pydantic_extra__
        if self.kind == "train" and not (extra.get("steps_per_second") or 0) > 0:
            raise ValueError("`steps_per_second` above 0 where the kind is train")
        if self.kind == "validation" and "ged" not in extra:
            raise ValueError("`ged` where the kind is validation")
        return self


@dataclass(frozen=True)
class Run:
    """An existing run folder and its record."""

    path: Path
    record: RunRecord

    @classmethod
    def create(cls, path: Path, record: RunRecord) -> "Run":
        """Start a new run folder; nothing may stand there but what a killed start left."""
        if not is_free(path):
            raise UsageError(f"{path} exists already: go on with --resume {path}, or choose another name with -o.")
        write_json(path / RECORD, record)
        return cls(path, record)

    @classmethod
    def wait_for(cls, path: Path, seconds: float = 120.0) -> "Run":
        """Open a run folder that another process is making."""
        begun = time.monotonic()
        while not (path / RECORD).is_file() and time.monotonic() - begun < seconds:
            time.sleep(0.1)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open a run folder."""
        file = path / RECORD
        if not file.is_file():
            raise InputError(f"No run at {path}: expected a folder with run.json, as `ambiseg train` makes it.")
        return cls(path, read_json(file, RunRecord, "train again, or restore it"))

    @property
    def weights(self) -> Path:
        """The best weights."""
        return self.path / "model.safetensors"

    @property
    def checkpoint(self) -> Path:
        """The last training state."""
        return self.path / "checkpoint.pt"

    @property
    def log(self) -> Path:
        """The metrics log."""
        return self.path / "metrics.jsonl"

    def write_log(self, entry: Mapping[str, Any]) -> None:
        """Append one entry to the metrics log."""
        with disk_errors(self.log), self.log.open("a", encoding="utf-8") as file:
            file.write(_line(entry))

    def read_log(self) -> list[dict[str, Any]]:
        """All entries of the metrics log; a last line cut short by a kill is left out.

        Raises DataError, with its number, for any other line that is no entry.
        """
        *lines, _cut = self.log.read_bytes().split(b"\n") if self.log.is_file() else [b""]
        entries = []
        for number, line in enumerate(lines, 1):
            entry = parse_json(line, LogEntry, f"{self.log}, line {number},", "remove that line, or train again")
            entries.append({name: math.nan if value is None else value for name, value in entry})
        return entries

    def cut_log(self, step: int) -> None:
        """Drop the entries of steps after `step`: they will be made again."""
        kept = [entry for entry in self.read_log() if entry["step"] <= step]
        with whole_file(self.log) as file:
            file.write_text("".join(map(_line, kept)), encoding="utf-8")

    def save_weights(self, method: Method, step: int) -> None:
        """Keep these weights as the best ones."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in method.state_dict().items()}
        content = weights_bytes(tensors, {"method": self.record.method, "step": step})
        with whole_file(self.weights) as file:
            file.write_bytes(content)


def _line(entry: Mapping[str, Any]) -> str:
    """An entry as a line of the log, nothing where a figure is not defined or infinite."""
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in entry.items()
    }
    return json_text(plain, indent=None)


def new_run_path(method: str, root: Path = RUNS) -> Path:
    """The first free folder `<method>-001`, `<method>-002`, ... under `root`."""
    return next(path for number in range(1, 10**6) if not (path := root / f"{method}-{number:03d}").exists())


def newest_run(root: Path = RUNS) -> Path:
    """The run under `root` whose weights were written last."""
    found = sorted(root.glob("*/model.safetensors"), key=lambda file: (file.stat().st_mtime_ns, file.parent.name))
    if not found:
        raise InputError(f"No trained model under {root}/: train one with `ambiseg train`, or name one.")
    return found[-1].parent


@dataclass(frozen=True)
class Trained:
    """A trained method with what it needs to read images; made by `load_trained`.

    `name` is the run folder's name, `weights_hash` the SHA-256 of its weights, `calibration` what was fitted for them.
    """

    method: Method
    record: RunRecord
    device: torch.device
    name: str
    weights_hash: str
    calibration: Calibration | None = None

    @torch.inference_mode()
    def predictive(self, images: NDArray, probabilities: NDArray[np.uint8] | None = None) -> Predictive:
        """The predictive distribution for images [B, C, H, W] in the data's unit (HU for CT).

        probabilities [B, K, H, W] in 255ths: another segmenter's, for a model that reads them.
        """
        arrays = (images,) if probabilities is None else (images, probabilities)
        image, *others = (torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in arrays)
        inputs = with_probabilities(normalise(image, self.record.window), *others)
        predictive: Predictive = self.method(inputs.to(memory_format=torch.channels_last))
        return predictive


def load_trained(path: Path, device: torch.device, *, calibrated: bool = True) -> Trained:
    """The best weights of a run, in evaluation mode on `device`, with their calibration if there is one and it is wanted."""
    if device.type == "cpu":
        keep_freed_memory()
    run = Run.open(path)
    if not run.weights.is_file():
        raise InputError(f"{path} has no weights yet: its training stopped before the first validation; resume it.")
    content = run.weights.read_bytes()
    data, config = run.record.data, run.record.config
    tensors, _ = read_weights(content, str(run.weights))
    try:
        method = build(config.method, data.inputs, len(data.class_names), config.options)
    except UsageError as error:
        raise DataError(f"{path / RECORD} is damaged or of another version: {error}") from error
    try:
        method.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(f"{run.weights} is corrupt or not of this model: restore it or train again.") from error
    method.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stub lacks it
    method.eval().requires_grad_(False)
    weights_hash = hashlib.sha256(content).hexdigest()
    calibration = read_calibration(path, weights_hash) if calibrated else None
    return Trained(method, run.record, device, path.resolve().name, weights_hash, calibration)
