"""The requested device is used, or there is an error."""

import pytest
import torch

from ambiseg.models.runs.hardware import resolve_device
from ambiseg.preprocessing.errors import ResourceError, UsageError


def test_auto_and_cpu() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_no_silent_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    with pytest.raises(ResourceError, match="`device` is 'cuda', but this PyTorch sees no CUDA device"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ResourceError, match="`device` is 'cuda:3', but this machine has 1 CUDA device"):
        resolve_device("cuda:3")


@pytest.mark.parametrize("text", ["gpu", "cuda:x", "cuda:-1", ""])
def test_unknown_devices_are_named(text: str) -> None:
    with pytest.raises(UsageError, match="expected auto, cpu, cuda or cuda:N"):
        resolve_device(text)
