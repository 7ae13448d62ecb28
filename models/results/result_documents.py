"""The documents of a prediction's folder: hypotheses.json with the same as a table, and run.json."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from ambiseg.preprocessing.documents import read_json, write_json
from ambiseg.preprocessing.errors import InputError

from ..prediction.content import size_table, table
from ..prediction.document import CalibrationEntry, Document, ModelEntry
from ..prediction.inference import Ranking
from ..prediction.places import FoundBy
from ..prediction.predict_scan import Prediction
from ..prediction.stopwatch import Stopwatch, peak_memory_mb
from ..runs.trained import Trained

INDEX, RUN = "hypotheses.json", "run.json"


class PredictionRun(BaseModel):
    """The content of run.json: how a prediction was made, which is different each time."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    schema_number: Literal[1] = Field(1, alias="schema", description="1")
    program: str = Field(description="as in hypotheses.json")
    model: ModelEntry = Field(description="as in hypotheses.json")
    settings: Ranking = Field(description="as in hypotheses.json")
    calibration: CalibrationEntry | None = Field(description="as in hypotheses.json")
    found_by: FoundBy = Field(description="as in hypotheses.json")
    formats: list[str] = Field(description="formats of the masks, `nifti` first")
    missing: list[str] = Field(description="sentences about pictures, the report or formats that could not be made")
    torch: str = Field(description="version of PyTorch")
    device: str = Field(description="device that the model ran on")
    threads: int = Field(description="number of CPU threads")
    finished: str = Field(description="time of the end, in UTC")
    batch_sha256: str | None = Field(
        None, description="hash of the batch's request (`asked_sha256`); null: not of a batch"
    )
    seconds: Mapping[str, float] = Field(description="time spent in each part, in seconds")
    peak_memory_mb: int = Field(description="peak memory of the process, in MB (10^6 bytes)")


def write_numbers(folder: Path, document: Document) -> None:
    """Write `hypotheses.json`, `hypotheses.csv` with one row per hypothesis, and `lesions.csv` with one row per lesion."""
    write_json(folder / INDEX, document.plain())
    (folder / "hypotheses.csv").write_text(table(document), encoding="utf-8")
    (folder / "lesions.csv").write_text(size_table(document), encoding="utf-8")


def read_hypotheses(path: Path | str) -> Document:
    """Read what `ambiseg predict` wrote about a scan.

    Args:
        path: the prediction's folder, or its `hypotheses.json`.

    Returns:
        The document; the masks that it names lie beside it.

    Raises:
        InputError: if there is no such file.
        DataError: if the file is damaged or of another version, with the key at fault.
    """
    file = Path(path) / INDEX if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise InputError(f"No file {file}: expected {INDEX}, as `ambiseg predict` writes it.")
    return read_json(file, Document, "predict the scan again")


def write_run(
    folder: Path,
    prediction: Prediction,
    trained: Trained,
    formats: Sequence[str],
    watch: Stopwatch,
    batch_sha256: str | None = None,
) -> None:
    """Write `run.json`."""
    document = prediction.document
    run = PredictionRun(
        program=document.program,
        model=document.model,
        settings=document.settings,
        calibration=document.calibration,
        found_by=document.found_by,
        formats=["nifti", *formats],
        missing=list(prediction.missing),
        torch=torch.__version__,
        device=str(trained.device),
        threads=torch.get_num_threads(),
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        batch_sha256=batch_sha256,
        seconds={part: round(seconds, 3) for part, seconds in watch.seconds.items()},
        peak_memory_mb=round(peak_memory_mb()),
    )
    write_json(folder / RUN, run.model_dump(mode="json"))
