"""Freed memory is kept: blocks that are allocated again and again cost no new pages."""

import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ambiseg.models.runs.trained import load_trained

FAULTS = """
import resource, sys
import torch
from ambiseg.models.runs.hardware import keep_freed_memory
torch.set_num_threads(1)
kept = sys.argv[1] == "keep" and keep_freed_memory()
for number in range(40):
    if number == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(12_000_000).mul(2)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> tuple[bool, int]:
    """Whether the C library was told, and the page faults of thirty times two blocks of 48 MB, which glibc by default never
    keeps.
    """
    found = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    kept, count = found.stdout.split()
    return kept == "True", int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library cannot be told")
def test_big_blocks_cost_no_new_pages() -> None:
    (told, few), (_, many) = faults("keep"), faults("leave")
    assert told
    assert many > 30 * 2 * 48e6 / 4096 / 2  # by default: at least half of the pages anew
    assert few < many / 10


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from ambiseg.models.runs import hardware

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert hardware.keep_freed_memory.__wrapped__() is False


def test_a_loaded_model_leaves_the_allocator_alone_unless_it_is_requested(
    made_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("ambiseg.models.runs.trained.keep_freed_memory", lambda: asked.append(True))
    run = made_run()
    load_trained(run, torch.device("cpu"))
    assert asked == []
    load_trained(run, torch.device("cpu"), keep_memory=True)
    assert asked == [True]
