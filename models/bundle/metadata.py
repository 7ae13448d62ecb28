"""metadata.json: the facts of a model, in the fields of a MONAI bundle's metadata, so that MONAI's tools can read them."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from ambiseg.preprocessing.documents import parse_json
from ambiseg.preprocessing.errors import DataError

from ..methods.registry import find_method
from ..runs.run_record import DataRecord
from .model_files import METADATA
from .run_facts import Facts

TASK = "Segmentation of lesions on which readers disagree: ranked masks, each with a probability"
DESCRIPTION = "Draws the masks that several readers would give a lesion, and says how probable each is."
PURPOSE = "For research use only: not a medical device, not for diagnosis or treatment."

# Texts that are printed: no control characters, which a terminal might obey.
Line = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


class Metadata(BaseModel):
    """The content of metadata.json. The fields schema_number, method and licence are our own, all others are MONAI's."""

    model_config = ConfigDict(frozen=True)

    schema_number: Literal[1] = 1
    version: Line
    ambiseg_version: Line
    pytorch_version: Line
    numpy_version: Line
    optional_packages_version: dict[str, Line]
    name: Line
    method: Line
    task: Line
    description: Line
    authors: Line
    copyright: Line
    licence: Line
    data_source: Line
    data_type: Line
    image_classes: Line
    label_classes: Line
    pred_classes: Line
    eval_metrics: dict[str, FiniteFloat]
    intended_use: Line
    references: list[Line]
    network_data_format: dict[str, Any]


def metadata_of(facts: Facts) -> Metadata:
    """The metadata of a model to be exported. Versions are those of the training, except numpy's, which is the current one."""
    record, said = facts.trained.record, facts.said
    data = record.data
    return Metadata(
        version=said.version,
        ambiseg_version=record.version,
        pytorch_version=record.torch,
        numpy_version=np.__version__,
        optional_packages_version={"safetensors": version("safetensors")},
        name=said.name,
        method=record.method,
        task=TASK,
        description=said.description or DESCRIPTION,
        authors=said.authors,
        copyright="",
        licence=said.licence.name,
        data_source=data.name + (f" ({facts.source})" if facts.source else ""),
        data_type="dataset store of ambiseg",
        image_classes=f"{image_text(data)}; crops of {record.crop} x {record.crop} pixels, {spacing_text(data)}",
        label_classes="one label map per reader: " + _classes(data),
        pred_classes="one label map per hypothesis, with its probability: " + _classes(data),
        eval_metrics=_metrics(facts),
        intended_use=PURPOSE,
        references=list(find_method(record.method).references),
        network_data_format=_format(data, record.crop),
    )


def read_metadata(folder: Path, called: str | Path) -> Metadata:
    """The metadata in a model's folder. Raises DataError where they are damaged or of another version."""
    try:
        content = (folder / METADATA).read_bytes()
    except OSError as error:
        raise DataError(f"{called} lacks {METADATA}: get the model again.") from error
    return parse_json(content, Metadata, f"{called} has a {METADATA} that", "get the model again")


def image_text(data: DataRecord) -> str:
    """An image in words: channels, unit and range."""
    channels = (
        "one channel"
        if data.channels == 1
        else f"{data.channels} channels" + (f" ({', '.join(data.channel_names)})" if data.channel_names else "")
    )
    unit = "CT in HU" if data.unit == "HU" else "values without a unit"
    return f"{unit} from {data.low:g} to {data.high:g}, {channels}"


def spacing_text(data: DataRecord) -> str:
    """The size of a pixel, in words."""
    return "as acquired" if data.spacing_mm is None else f"{data.spacing_mm:g} mm per pixel"


def _classes(data: DataRecord) -> str:
    return ", ".join(f"{label}: {name}" for label, name in enumerate(data.class_names))


def _metrics(facts: Facts) -> dict[str, float]:
    """Mean figures of the evaluation by name; none where the model was not evaluated or a figure is not defined."""
    figures = facts.evaluation.about.figures if facts.evaluation else {}
    return {name: figure.mean for name, figure in figures.items() if figure.mean is not None}


def _format(data: DataRecord, crop: int) -> dict[str, Any]:
    """The formats of inputs and outputs."""
    classes = {str(label): name for label, name in enumerate(data.class_names)}

    def planes(kind: str, count: int, dtype: str, values: list[float], channels: dict[str, str]) -> dict[str, Any]:
        return {
            "type": "image",
            "format": kind,
            "num_channels": count,
            "spatial_shape": [crop, crop],
            "dtype": dtype,
            "value_range": values,
            "is_patch_data": True,
            "channel_def": channels,
        }

    hounsfield = data.unit == "HU"
    names = {str(channel): name for channel, name in enumerate(data.channel_names or ["image"] * data.channels)}
    image = planes("hounsfield" if hounsfield else "magnitude", data.channels, "float32", [data.low, data.high], names)
    image |= {"modality": "CT" if hounsfield else "n/a", "spacing_mm": data.spacing_mm}
    inputs = {"image": image}
    if data.probabilities:
        inputs["probabilities"] = planes("probabilities", len(classes), "uint8", [0, 255], classes)
    masks = planes("segmentation", 1, "uint8", [0, len(classes) - 1], classes)
    probability = planes("probabilities", len(classes), "float32", [0, 1], classes)
    return {"inputs": inputs, "outputs": {"pred": masks, "probability": probability}}
