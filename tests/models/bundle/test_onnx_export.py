"""ONNX files: they give what PyTorch gives, for every method that has one, with any number of images and draws."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ambiseg.models.bundle import onnx_export as export
from ambiseg.models.bundle.onnx_export import TOLERANCE, expected, export_onnx
from ambiseg.models.bundle.onnx_graph import Graph, random_inputs
from ambiseg.models.core.predictive import FinitePredictive
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.methods.modal import Modal
from ambiseg.models.methods.registry import build
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.preprocessing.errors import DataError, UsageError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

MadeRun = Callable[..., Path]
SIZE = 20
VARIANTS = [
    ("probunet", {}),
    ("generalized", {"family": "full", "norm": True}),
    ("modal", {"codes": 8, "code_dim": 4, "latent_widths": [6]}),
    ("mheads", {"heads": 3}),
    ("gated", {"gate_width": 4, "masks": 6}),
    ("mose", {"experts": 2, "masks": 6}),
    ("ssn", {"rank": 2}),
    ("ensemble", {"members": 2}),
]
RARE = [
    ("probunet", {"injection": "early"}),
    ("generalized", {"family": "mixture-full"}),
    ("image2image-vae", {}),
    ("generalized", {"family": "low-rank"}),
    ("generalized", {"family": "mixture-low-rank", "injection": "early"}),
    ("mheads", {"heads": 3, "gate": "learned"}),
    ("ssn", {"covariance": "diagonal"}),
    ("gated", {"gate_width": 4, "masks": 6, "shapes": "ssn", "rank": 2}),
    ("phiseg", {"latents": 2}),
    ("hpu", {"latents": 2, "blocks": 1}),
    ("refine", {"refiner_width": 4, "discriminator_width": 4}),
    ("refine", {"refiner_width": 4, "discriminator_width": 4, "latent": "vae"}),
]


def trained(run: Path) -> Trained:
    return load_trained(run, torch.device("cpu"))


def outputs(file: Path, inputs: dict[str, torch.Tensor]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in inputs.items()})


@pytest.mark.parametrize(
    ("method", "options"),
    [*VARIANTS, *(pytest.param(*rare, marks=[pytest.mark.exhaustive, pytest.mark.slow]) for rare in RARE)],
)
def test_a_file_gives_what_pytorch_gives(
    made_run: MadeRun, tmp_path: Path, method: str, options: dict[str, Any]
) -> None:
    """For other numbers of images and draws than were traced or checked, one of each among them."""
    model = trained(made_run(method, options))
    found = export_onnx(model, tmp_path / "m.onnx", size=SIZE)
    assert found.difference <= TOLERANCE * max(1, found.largest)
    onnx.checker.check_model(tmp_path / "m.onnx")
    for images, draws in ((1, 1), (4, 7)):
        inputs = random_inputs(model, SIZE, images, draws, generator_for("test", images))
        assert list(inputs) == list(found.inputs)
        got, wanted = outputs(tmp_path / "m.onnx", inputs), expected(model, {k: v.numpy() for k, v in inputs.items()})
        for one, other in zip(got, wanted, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, atol=TOLERANCE * max(1, np.abs(other).max()), rtol=0)
        assert got[-1].shape[0] == images
        assert got[-1].shape[2:] == (2, SIZE, SIZE)
        assert np.ptp(got[-1]) > 0


def test_the_normalisation_is_inside(made_run: MadeRun, tmp_path: Path) -> None:
    """The input is HU: what lies outside the window makes no difference, what lies inside does."""
    model = trained(made_run("probunet"))
    assert model.record.window == (-1000.0, 400.0)
    export_onnx(model, tmp_path / "m.onnx", size=SIZE)
    inputs = random_inputs(model, SIZE, 1, 2, generator_for("window"))
    inputs["image"] = inputs["image"].clamp(-1024, 500)
    (plain,) = outputs(tmp_path / "m.onnx", inputs)
    (clipped,) = outputs(tmp_path / "m.onnx", inputs | {"image": inputs["image"].clamp(-1000, 400)})
    (other,) = outputs(tmp_path / "m.onnx", inputs | {"image": inputs["image"] / 2})
    np.testing.assert_array_equal(plain, clipped)
    assert not np.allclose(plain, other)


@pytest.mark.parametrize(
    ("settings", "window"),
    [
        (["data.window=crop"], "crop"),
        (["data.window=[-10000.0, 10000.0]", "data.centre=crop"], (-10000.0, 10000.0)),
    ],
)
def test_each_crops_own_scale_is_inside_too(
    made_run: MadeRun, tmp_path: Path, settings: list[str], window: str | tuple[float, float]
) -> None:
    model = trained(made_run("mheads", {"heads": 2}, settings=settings))
    assert model.record.window == window
    export_onnx(model, tmp_path / "m.onnx", size=SIZE)
    inputs = random_inputs(model, SIZE, 2, 1, generator_for("crop"))
    _, plain = outputs(tmp_path / "m.onnx", inputs)
    _, scaled = outputs(tmp_path / "m.onnx", {"image": 3 * inputs["image"] + 50})
    np.testing.assert_allclose(plain, scaled, atol=1e-3)


@pytest.mark.exhaustive
def test_probabilities_of_another_segmenter_are_an_input(made_run: MadeRun, tmp_path: Path) -> None:
    options = {"refiner_width": 4, "discriminator_width": 4, "segmenter": "stored"}
    model = trained(made_run("refine", options, probabilities=True))
    found = export_onnx(model, tmp_path / "m.onnx", size=SIZE)
    assert list(found.inputs) == ["image", "probabilities", "normal"]
    inputs = random_inputs(model, SIZE, 2, 3, generator_for("stored"))
    other = inputs | {"probabilities": 255 - inputs["probabilities"]}
    assert not np.allclose(outputs(tmp_path / "m.onnx", inputs)[0], outputs(tmp_path / "m.onnx", other)[0])


def test_codes_out_of_use_are_left_out(made_run: MadeRun, tmp_path: Path) -> None:
    model = trained(made_run("modal", {"codes": 8, "code_dim": 4, "latent_widths": [6]}))
    assert isinstance(model.method, Modal)
    model.method.codebook.counts[[1, 4, 6]] = 5.0
    found = export_onnx(model, tmp_path / "m.onnx", size=SIZE)
    assert found.outputs["log_probabilities"] == ["batch", 3]
    inputs = random_inputs(model, SIZE, 2, 1, generator_for("codes"))
    log_probabilities, _ = outputs(tmp_path / "m.onnx", inputs)
    np.testing.assert_allclose(np.exp(log_probabilities).sum(1), 1, rtol=1e-5)
    predictive = model.predictive(inputs["image"].numpy())
    assert isinstance(predictive, FinitePredictive)
    np.testing.assert_allclose(log_probabilities, predictive.log_probabilities[:, [1, 4, 6]].numpy(), atol=1e-5)


def test_the_file_says_what_it_is_and_not_where_it_was_made(made_run: MadeRun, tmp_path: Path) -> None:
    run = made_run("probunet")
    model = trained(run)
    found = export_onnx(model, tmp_path / "m.onnx")
    assert found.inputs == {"image": ["batch", 1, 16, 16], "normal": ["batch", "draws", 6]}
    assert found.outputs == {"logits": ["batch", "draws", 2, 16, 16]}
    content = onnx.load(tmp_path / "m.onnx")
    said = {entry.key: entry.value for entry in content.metadata_props}
    assert json.loads(said["classes"]) == ["background", "lesion"]
    assert json.loads(said["window"]) == [-1000, 400]
    assert (said["unit"], said["spacing_mm"], said["method"]) == ("HU", "0.5", "probunet")
    assert said["weights_sha256"] == model.weights_hash
    assert [entry.version for entry in content.opset_import if entry.domain == ""] == [20]
    first = (tmp_path / "m.onnx").read_bytes()
    for secret in (str(tmp_path), "site-packages", ".py", "somewhere"):
        assert secret.encode() not in first
    export_onnx(model, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == first


def test_a_file_that_differs_is_not_kept(made_run: MadeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained(made_run("probunet"))
    monkeypatch.setattr(export, "expected", lambda trained, inputs: [1.1 * one for one in expected(trained, inputs)])
    with pytest.raises(DataError, match="was not kept: its outputs differ from PyTorch's by up to"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.glob("*.onnx"))


def test_what_has_no_form_or_no_package_is_said(
    made_run: MadeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="method dropout has no ONNX form"):
        export_onnx(trained(made_run("dropout")), tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="ccdm has no ONNX form, as each of its draws takes many passes"):
        Graph(build("ccdm", 1, 2, {"widths": [4], "blocks": 1}), "crop", "none")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"pip install 'ambiseg\[onnx\]'"):
        export_onnx(trained(made_run("probunet")), tmp_path / "m.onnx")
    assert not list(tmp_path.glob("*.onnx"))
