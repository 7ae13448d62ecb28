"""Weights that have changed since they were written, or contain NaN, are refused wherever a model is loaded."""

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ambiseg.models.bundle import export_model, find_model, install_model
from ambiseg.models.bundle.export_run import halved
from ambiseg.models.bundle.installed import SHIPPED
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.trained import load_trained
from ambiseg.models.runs.weights_file import read_weights, tensors_hash, weights_bytes
from ambiseg.preprocessing.errors import DataError

CPU = torch.device("cpu")
TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3), "b": torch.zeros(4, dtype=torch.float16)}


def test_weights_come_back_with_what_they_are_of() -> None:
    content = weights_bytes(TENSORS, {"method": "modal", "step": 5})
    assert content == weights_bytes(TENSORS, {"method": "modal", "step": 5})
    found, about = read_weights(content, "w")
    assert about == {"method": "modal", "step": 5}
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_every_flipped_bit_of_the_numbers_is_seen() -> None:
    content = weights_bytes(TENSORS, {})
    begin = 8 + int.from_bytes(content[:8], "little")
    for place in range(begin, len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            with pytest.raises(DataError, match=r"w is damaged, its weights are not those that were written"):
                read_weights(bytes(changed), "w")


@pytest.mark.parametrize(
    "other",
    [
        {**TENSORS, "b": torch.zeros(4)},
        {**TENSORS, "b": torch.zeros(2, 2, dtype=torch.float16)},
        {"c": TENSORS["n"], **{name: TENSORS[name] for name in ("a.weight", "b")}},
    ],
)
def test_names_types_and_shapes_are_in_the_hash(other: dict[str, torch.Tensor]) -> None:
    assert tensors_hash(other) != tensors_hash(TENSORS)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_named(number: float) -> None:
    tensors = {**TENSORS, "bias": torch.tensor([0.0, number])}
    for content in (weights_bytes(tensors, {}), safetensors.torch.save(tensors)):  # with a hash, and as of before
        with pytest.raises(DataError, match="w holds NaN or infinite numbers in bias"):
            read_weights(content, "w")


def test_weights_of_before_are_read() -> None:
    found, about = read_weights(safetensors.torch.save(TENSORS, {"ambiseg": '{"step": 3}'}), "w")
    assert (about, found.keys()) == ({"step": 3}, TENSORS.keys())


def flip(file: Path) -> None:
    """Flip the lowest bit of the last byte but one: a number stays a number."""
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)


def test_a_flipped_bit_in_a_run_is_refused(made_run: Callable[..., Path]) -> None:
    run = made_run()
    load_trained(run, CPU)
    flip(run / "model.safetensors")
    with pytest.raises(DataError, match=r"model\.safetensors is damaged"):
        load_trained(run, CPU)


def test_half_precision_has_a_hash_of_its_own(made_run: Callable[..., Path]) -> None:
    half, rounded = halved((made_run() / "model.safetensors").read_bytes())
    assert rounded
    assert halved(half) == (half, False)
    tensors, about = read_weights(half, "half")
    assert about["method"] == "probunet"
    assert any(tensor.dtype == torch.float16 for tensor in tensors.values())


def test_a_flipped_bit_in_an_installed_model_is_refused(
    made_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMBISEG_MODELS", str(tmp_path / "models"))
    folder = install_model(export_model(made_run(), tmp_path / "m.zip", name="mine").path)
    assert find_model("mine") == find_model(folder) == find_model() == folder
    for name in ("model.safetensors", "run.json", "metadata.json"):
        whole = (folder / name).read_bytes()
        flip(folder / name)
        for model in ("mine", folder, None):
            with pytest.raises(DataError, match=rf"mine is damaged, {name} is not as it was exported"):
                find_model(model)
        (folder / name).write_bytes(whole)


def test_a_flipped_bit_in_a_shipped_model_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "lidc-mixture"
    copy.mkdir()
    for file in (SHIPPED / "lidc-mixture").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert find_model(copy) == copy
    flip(copy / "model.safetensors")
    with pytest.raises(DataError, match=r"lidc-mixture is damaged, model\.safetensors"):
        find_model(copy)


def test_a_log_cut_in_its_last_line_goes_on(made_run: Callable[..., Path]) -> None:
    run = Run.open(made_run())
    for step in (5, 10):
        run.write_log({"kind": "train", "step": step, "loss": 1.0, "steps_per_second": 2.0})
    run.write_log({"kind": "validation", "step": 10, "ged": 0.5, "hm_iou": float("nan")})
    whole = run.log.read_bytes()
    for length in range(len(whole)):
        run.log.write_bytes(whole[:length])
        assert len(run.read_log()) == whole[:length].count(b"\n")
    run.cut_log(10)
    run.write_log({"kind": "train", "step": 15, "loss": 1.0, "steps_per_second": 2.0})
    assert [entry["step"] for entry in run.read_log()] == [5, 10, 15]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "no JSON from here on"),
        ('{"kind": "train", "step": "x"}', "`step`: expected a valid integer"),
        ('{"kind": "test", "step": 1}', "`kind`: expected 'train' or 'validation', got 'test'"),
        ('{"kind": "train", "step": 1, "steps_per_second": 0}', "`steps_per_second` above 0"),
        ('{"kind": "validation", "step": 1, "loss": 2}', "`ged` where the kind is validation"),
        ('{"kind": "validation", "step": 1, "ged": "low"}', "`ged`: expected a valid number"),
        ("", "no JSON"),
    ],
)
def test_a_bad_line_in_the_middle_says_its_number(made_run: Callable[..., Path], line: str, says: str) -> None:
    run = Run.open(made_run())
    run.write_log({"kind": "validation", "step": 10, "ged": 0.5})
    run.log.write_text(run.log.read_text() + f"{line}\n" + run.log.read_text())
    with pytest.raises(DataError, match=rf"metrics\.jsonl, line 2, is damaged.*{says}.*remove that line"):
        run.read_log()
