"""`ambiseg model`: from a run to a zip, to an installed model that predicts, and to ONNX; each refusal is one sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ambiseg.preprocessing.store.store import Store

Command = Callable[..., tuple[int, str, str]]
MadeRun = Callable[..., Path]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with an empty place for installed models beside it."""
    monkeypatch.setenv("AMBISEG_MODELS", str(tmp_path / "installed"))
    monkeypatch.setattr("ambiseg.models.bundle.installed.SHIPPED", tmp_path / "shipped")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "installed"


def test_a_model_goes_from_here_to_there(ambiseg: Command, made_run: MadeRun, place: Path) -> None:
    run = made_run()
    code, _, err = ambiseg("model", "export", run, "--name", "mine", "--author", "A", "--author", "B", "--version", "2")
    assert code == 0
    assert "Written: mine-2.zip" in err
    assert "no licence was given" in err
    code, _, err = ambiseg("model", "install", "mine-2.zip")
    assert code == 0
    assert "ambiseg predict SCAN --model mine" in err
    code, out, _ = ambiseg("model", "list")
    assert code == 0
    for words in ("mine", "2", "probunet", "made-lesions", "no"):
        assert words in out
    listed = json.loads(ambiseg("model", "list", "--json")[1])
    assert [(one["name"], one["metadata"]["authors"]) for one in listed] == [("mine", "A, B")]
    code, out, _ = ambiseg("model", "verify", "mine")
    assert (code, "all 5 files are as exported" in out) == (0, True)
    assert ambiseg("model", "verify", "mine-2.zip")[0] == 0
    assert ambiseg("model", "verify", place / "mine")[0] == 0
    assert ambiseg("model", "remove", "mine")[0] == 0
    code, out, err = ambiseg("model", "list")
    assert (code, out) == (0, "")
    assert "No model is installed" in err
    assert ambiseg("model", "list", "--json")[1] == "[]\n"


def test_a_shared_model_is_evaluated_on_named_data(
    ambiseg: Command, made_run: MadeRun, known_truth: Store, place: Path
) -> None:
    run = made_run(data=known_truth)
    assert ambiseg("model", "export", run, "-o", "m.zip", "--licence", "MIT", "--half")[0] == 0
    assert ambiseg("model", "install", "m.zip", "--name", "shared")[0] == 0
    evaluate = ("evaluate", str(place / "shared"), "--limit", "3", "--samples", "16", "--no-report", "--json")
    code, _, err = ambiseg(*evaluate)
    assert code == 3
    assert "shared without its data set" in err
    code, out, err = ambiseg(*evaluate, "--data", str(known_truth.path))
    assert code == 0, err
    assert json.loads(out)["cases"] == 3
    assert ambiseg("model", "verify", "shared")[0] == 0


def test_onnx_from_a_run_and_from_an_installed_model(ambiseg: Command, made_run: MadeRun, place: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    run = made_run("generalized", {"family": "mixture-axis"})
    ambiseg("model", "export", run, "-o", "m.zip")
    ambiseg("model", "install", "m.zip", "--name", "shared")
    code, out, err = ambiseg("model", "onnx", "shared", "--size", "24")
    assert code == 0, err
    assert "inputs: image [batch, 1, 24, 24], normal [batch, draws, 4], gumbel [batch, draws, 5]" in out
    assert "outputs: logits [batch, draws, 2, 24, 24]" in out
    assert "largest difference from PyTorch: " in out
    assert "Written: shared.onnx" in err
    assert "warn" not in err.lower()
    session = onnxruntime.InferenceSession("shared.onnx", providers=["CPUExecutionProvider"])
    noise = {"normal": np.zeros((1, 2, 4), np.float32), "gumbel": np.zeros((1, 2, 5), np.float32)}
    (logits,) = session.run(None, {"image": np.zeros((1, 1, 24, 24), np.float32), **noise})
    np.testing.assert_array_equal(logits[:, 0], logits[:, 1])
    code, _, err = ambiseg("model", "onnx", run, "-o", "shared.onnx")
    assert (code, "shared.onnx already exists" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("export", "nowhere"), 3, "No model 'nowhere'"),
        (("export",), 3, "No trained model under runs/"),
        (("export", "RUN", "--name", "a/b"), 2, "A model cannot be called 'a/b'"),
        (("export", "RUN", "--licence", "mine"), 3, "No licence 'mine'"),
        (("install", "nowhere.zip"), 3, "No file nowhere.zip"),
        (("install", "RUN"), 3, "expected a model's zip"),
        (("verify", "nowhere"), 3, "No model 'nowhere' is installed"),
        (("remove", "nowhere"), 3, "there is none, install one with"),
        (("onnx", "nowhere"), 3, "No model 'nowhere': expected the folder of a run"),
        (("onnx", "RUN", "--size", "4"), 2, "--size"),
        (("onnx", "DROPOUT"), 2, "has no ONNX form"),
    ],
)
def test_wrong_uses_are_named_and_leave_nothing(
    ambiseg: Command, made_run: MadeRun, place: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    runs = {"RUN": made_run(), "DROPOUT": made_run("dropout")}
    found, _, err = ambiseg("model", *(runs.get(argument, argument) for argument in arguments))
    assert found == code
    assert words in " ".join(err.split())
    assert not list(Path().iterdir())
    assert not place.exists()


def test_a_damaged_model_is_named_with_its_file(ambiseg: Command, made_run: MadeRun, place: Path) -> None:
    ambiseg("model", "export", made_run(), "-o", "m.zip")
    ambiseg("model", "install", "m.zip")
    (place / "toy" / "run.json").write_text("{}")
    code, _, err = ambiseg("model", "verify", "toy")
    assert code == 4
    assert "is damaged, run.json is not as it was exported: get the model again." in " ".join(err.split())
    code, _, err = ambiseg("model", "install", "m.zip", "--overwrite")
    assert code == 0, err
    assert ambiseg("model", "verify", "toy")[0] == 0
