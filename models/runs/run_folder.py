"""The run folder: everything needed to repeat a run, to resume it, or to predict with it.

run.json               version, settings, method and options, the data's name and content hash, seed
metrics.jsonl          one line per log entry: {"kind": "train" | "validation", "step": ..., ...}
model.safetensors      the best weights so far
checkpoint.pt          the last state, to resume from; loads without executing code
progress.png           the curves
calibration.json       what `ambiseg calibrate` fitted: how stated probabilities become calibrated ones
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ambiseg.preprocessing.documents import json_text, parse_json, read_json, write_json
from ambiseg.preprocessing.errors import InputError, UsageError
from ambiseg.preprocessing.files import disk_errors, is_free, only_writer, whole_file

from ..core.method import Method
from .config import Stretch
from .run_record import RunRecord
from .weights_file import weights_bytes

RUNS, RECORD = Path("runs"), "run.json"


class LogEntry(BaseModel):
    """One line of the metrics log: figures of a step by name, None where one is not defined."""

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
        """Start a new run folder.

        Args:
            path: a folder that does not exist yet, or that holds only what a killed start left behind.
            record: the content of its run.json.

        Raises:
            UsageError: something else is there.
        """
        with only_writer(path / RECORD, what=f"the run {path}"):
            if not is_free(path):
                raise UsageError(
                    f"{path} already exists: give it as `resume` to continue that run, or choose another `output`."
                )
            write_json(path / RECORD, record)
        return cls(path, record)

    @classmethod
    def wait_for(cls, path: Path, seconds: float = 120.0) -> "Run":
        """Open a run folder that another process is about to create."""
        begun = time.monotonic()
        while not (path / RECORD).is_file() and time.monotonic() - begun < seconds:
            time.sleep(0.1)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open an existing run folder.

        Raises:
            InputError: there is no run.json.
            DataError: run.json is damaged or of another version.
        """
        file = path / RECORD
        if not file.is_file():
            raise InputError(f"No run at {path}: expected a folder with run.json, as `ambiseg train` creates it.")
        return cls(path, read_json(file, RunRecord, "train again, or restore it"))

    def longer(self, steps: int, begin: int) -> "Run":
        """The run with more steps than it was started for, from a step on; run.json says so from now on."""
        config = self.record.config
        stretch = Stretch(planned=config.steps, begin=begin)
        changed = config.model_copy(update={"steps": steps, "continued": (*config.continued, stretch)})
        record = self.record.model_copy(update={"config": changed})
        write_json(self.path / RECORD, record)
        return Run(self.path, record)

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
        """All entries of the metrics log, without a last line that a kill cut short.

        Raises:
            DataError: another line is not a log entry; the message gives its number.
        """
        *lines, _cut = self.log.read_bytes().split(b"\n") if self.log.is_file() else [b""]
        entries = []
        for number, line in enumerate(lines, 1):
            entry = parse_json(line, LogEntry, f"{self.log}, line {number},", "remove that line, or train again")
            entries.append({name: math.nan if value is None else value for name, value in entry})
        return entries

    def cut_log(self, step: int) -> None:
        """Drop the entries of steps after `step`, which will be trained again."""
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
    """An entry as one line of the log; a figure that is undefined or infinite becomes null."""
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
