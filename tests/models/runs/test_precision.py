"""Half precision if a device has units for it, and never silently if it has none."""

import platform
from pathlib import Path

import pytest
import torch

from ambiseg.models.benchmarks.cost.step_cost import step_cost
from ambiseg.models.runs import hardware
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.hardware import autocast, has_bf16_units, training_precision
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import RunRecord
from ambiseg.models.training.loop import BudgetSpent, train
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.store.store import Store

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TINY = ["data.crop=16", "options.widths=[6,8]", "options.convs=1", "steps=6", "batch=4", "validation.every=2"]


@pytest.fixture(params=[True, False], ids=["with units", "without"])
def units(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(hardware, "has_bf16_units", lambda device: request.param)
    return request.param


def test_auto_takes_the_units_that_there_are(units: bool) -> None:
    assert training_precision("auto", CPU) is (torch.bfloat16 if units else torch.float32)
    assert training_precision("auto", CUDA) is (torch.bfloat16 if units else torch.float16)
    assert training_precision("float32", CPU) is training_precision("float32", CUDA) is torch.float32
    assert training_precision("fp16", CUDA) is torch.float16


def test_asked_for_bf16_is_given_or_refused(units: bool) -> None:
    for device in (CPU, CUDA):
        if units:
            assert training_precision("bf16", device) is torch.bfloat16
            continue
        with pytest.raises(
            UsageError, match=f"needs a device with bf16 units, which this {device.type.upper()} device"
        ):
            training_precision("bf16", device)


def test_fp16_on_a_cpu_is_refused(units: bool) -> None:
    with pytest.raises(UsageError, match=r"hardware\.precision = 'fp16' needs CUDA: use auto, bf16 or float32"):
        training_precision("fp16", CPU)


@pytest.mark.parametrize("bf16", [True, False])
def test_units_are_avx512_bf16_whatever_onednn_would_imitate(monkeypatch: pytest.MonkeyPatch, bf16: bool) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    assert has_bf16_units(CPU) is bf16
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert has_bf16_units(CPU)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not has_bf16_units(CPU)


def test_weights_are_converted_ahead_unless_graphs_need_them() -> None:
    with autocast(torch.bfloat16, CPU):
        assert torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_cache_enabled()
    with autocast(torch.bfloat16, CPU, graphs=True):
        assert not torch.is_autocast_cache_enabled()
    with autocast(torch.float32, CPU):
        assert not torch.is_autocast_enabled("cpu")


def test_a_step_computes_in_the_chosen_type(units: bool, known_truth: Store) -> None:
    cost = step_cost(make_config("probunet", "small", settings=TINY), known_truth, CPU, steps=1)
    assert set(cost.speeds.flops) == ({torch.bfloat16, torch.float32} if units else {torch.float32})
    full = make_config("probunet", "small", settings=[*TINY, "hardware.precision=float32"])
    least = step_cost(full, known_truth, CPU, steps=1).mean
    assert cost.mean.flops == least.flops
    assert (cost.mean.bytes < 0.7 * least.bytes) is units


@pytest.mark.parametrize("norm", ["false", "true"])
def test_a_run_in_bf16_learns_and_resumes_to_the_bit(
    known_truth: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norm: str
) -> None:
    monkeypatch.setattr(hardware, "has_bf16_units", lambda device: True)
    settings = [*TINY, "hardware.precision=bf16", f"options.norm={norm}", "optimiser.learning_rate=1e-2"]
    config = make_config("generalized", "small", settings=[*settings, "steps=30", "validation.every=10"])
    runs = [Run.create(tmp_path / name, RunRecord.of(config, known_truth, "cpu")) for name in ("whole", "parted")]
    assert train(runs[0], known_truth, CPU)
    for _ in range(2):
        with pytest.raises(BudgetSpent):
            train(runs[1], known_truth, CPU, enough=lambda asked=iter([False] * 6): next(asked, True))
    assert train(runs[1], known_truth, CPU)
    assert runs[0].weights.read_bytes() == runs[1].weights.read_bytes()
    losses = [entry["loss"] for entry in runs[0].read_log() if entry["kind"] == "validation"]
    assert losses[-1] < losses[0]
