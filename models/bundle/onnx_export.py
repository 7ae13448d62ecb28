"""ONNX export: a trained model as an ONNX file, which is compared with PyTorch before it is kept."""

import contextlib
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ambiseg.preprocessing.errors import DataError, UsageError
from ambiseg.preprocessing.files import whole_file

from ..core.predictive import FinitePredictive
from ..core.randomness import generator_for
from ..methods.ssn import GaussianLogits
from ..nets.latent_maps import MapPredictive
from ..nets.latents import Noise
from ..runs.trained import Trained
from .onnx_graph import Graph, random_inputs

OPSET = 20
TOLERANCE = 1e-4  # largest difference from PyTorch, in logits or nats; for logits beyond 1, a share of the largest
TRACED, CHECKED = (2, 3), (3, 5)  # images and draws: other numbers are checked than were traced
DYNAMIC = {"image": {0: "batch"}, "probabilities": {0: "batch"}}
DYNAMIC |= {name: {0: "batch", 1: "draws"} for name in ("normal", "gumbel")}


@dataclass(frozen=True)
class OnnxFile:
    """A written ONNX file.

    Attributes:
        path: The file.
        inputs: Axes of the inputs, by name.
        outputs: Axes of the outputs, by name.
        difference: Largest absolute difference from PyTorch.
        largest: Largest absolute value that was compared.
    """

    path: Path
    inputs: Mapping[str, list[int | str]]
    outputs: Mapping[str, list[int | str]]
    difference: float
    largest: float


def export_onnx(trained: Trained, path: Path, *, size: int | None = None) -> OnnxFile:
    """Write a model as one ONNX file, for any number of images and draws; `Graph` describes its inputs and outputs.

    The file is kept only if onnxruntime gives the same outputs as PyTorch for random images and noise.

    Args:
        trained: A model on the CPU.
        path: The file to write.
        size: Height and width of the images in pixels; by default those of the training crop.

    Returns:
        The file, its axes, and the largest difference from PyTorch.

    Raises:
        UsageError: onnx is not installed, or the method has no ONNX form.
        DataError: The outputs differ.
    """
    _check_installed()
    size = size or trained.record.crop
    graph = Graph(trained.method, trained.record.window, trained.record.centre).eval()
    generator = generator_for("onnx")
    with whole_file(path) as file:
        _write(graph, trained, random_inputs(trained, size, *TRACED, generator), file)
        return _check(graph, trained, random_inputs(trained, size, *CHECKED, generator), file, path)


def _check_installed() -> None:
    if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")):
        raise UsageError("ONNX files need further packages: run pip install 'ambiseg[onnx]'.")


def _write(graph: Graph, trained: Trained, inputs: Mapping[str, Tensor], file: Path) -> None:
    """Trace the graph on these inputs and save it, with what a user of the file must know as its metadata."""
    named = {name: DYNAMIC[name] for name in inputs}
    axes = {name: torch.export.Dim(name, min=1) for name in ("batch", "draws")}
    dynamic = {name: {axis: axes[what] for axis, what in place.items()} for name, place in named.items()}
    with _quiet():
        exported = torch.export.export(graph, (), dict(inputs), dynamic_shapes=dynamic)
        program = torch.onnx.export(
            exported, dynamo=True, opset_version=OPSET, output_names=graph.outputs, verbose=False, dynamic_shapes=named
        )
    assert program is not None
    model = program.model
    for node in model.graph:
        node.metadata_props.clear()  # the exporter notes source lines, with the paths of this machine
    model.metadata_props.clear()
    model.metadata_props.update(_properties(trained))
    program.save(file, external_data=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings and notes, which say nothing to the user of a model."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _properties(trained: Trained) -> dict[str, str]:
    """The file's metadata: texts by name."""
    data, window = trained.record.data, trained.record.window
    return {
        "ambiseg": version("ambiseg"),
        "model": trained.name,
        "method": trained.record.method,
        "weights_sha256": trained.weights_hash,
        "classes": json.dumps(data.class_names),
        "channels": json.dumps(data.channel_names),
        "unit": data.unit,
        "intensities": json.dumps([data.low, data.high]),
        "window": json.dumps(window),
        "spacing_mm": json.dumps(data.spacing_mm),
        "purpose": "For research use only: not a medical device, not for diagnosis.",
    }


def _check(graph: Graph, trained: Trained, inputs: Mapping[str, Tensor], file: Path, path: Path) -> OnnxFile:
    """Compare the file's outputs with PyTorch's. Raises DataError where they differ."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    found = session.run(graph.outputs, {name: value.numpy() for name, value in inputs.items()})
    wanted = expected(trained, {name: value.numpy() for name, value in inputs.items()})
    difference = max(float(np.abs(one - other).max()) for one, other in zip(found, wanted, strict=True))
    largest = max(float(np.abs(one).max()) for one in wanted)
    allowed = TOLERANCE * max(1.0, largest)
    if not difference <= allowed:
        raise DataError(
            f"{path} was not kept: its outputs differ from PyTorch's by up to {difference:.2g}, where {allowed:.2g} is "
            "allowed; try another version of onnx."
        )
    return OnnxFile(path, _axes(session.get_inputs()), _axes(session.get_outputs()), difference, largest)


def _axes(values: list[Any]) -> dict[str, list[int | str]]:
    return {value.name: value.shape for value in values}


@torch.inference_mode()
def expected(trained: Trained, inputs: Mapping[str, NDArray]) -> list[NDArray[np.float32]]:
    """What PyTorch gives for a graph's inputs, on the way that prediction takes."""
    predictive: Any = trained.predictive(inputs["image"], inputs.get("probabilities"))
    if isinstance(predictive, FinitePredictive):
        possible = (predictive.log_probabilities > -torch.inf).any(0)
        index = possible.nonzero().squeeze(1).expand(len(predictive.log_probabilities), -1)
        return [predictive.log_probabilities[:, possible].numpy(), predictive.decode(index).numpy()]
    if isinstance(predictive, GaussianLogits | MapPredictive):
        return [predictive.drawn(torch.from_numpy(inputs["normal"])).numpy()]
    noise = {name: torch.from_numpy(inputs[name]) for name in ("normal", "gumbel") if name in inputs}
    return [predictive.decode(predictive.prior.draw(Noise(noise["normal"], noise.get("gumbel")))).numpy()]
