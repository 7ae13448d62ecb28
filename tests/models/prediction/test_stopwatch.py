"""Seconds by part, and the peak of memory."""

import time

import numpy as np
import pytest

from ambiseg.models.prediction.stopwatch import Stopwatch, peak_memory_mb


def test_parts_are_added_up_in_the_order_of_their_beginnings() -> None:
    watch = Stopwatch()
    for part, seconds in (("reading", 0.02), ("writing", 0.01), ("reading", 0.02)):
        with watch(part):
            time.sleep(seconds)
    assert list(watch.seconds) == ["reading", "writing"]
    assert 0.04 <= watch.seconds["reading"] < 1


def test_the_time_of_what_fails_counts() -> None:
    watch = Stopwatch()
    with pytest.raises(ValueError, match="broken"), watch("reading"):
        raise ValueError("broken")
    assert "reading" in watch.seconds


def test_the_peak_stays_after_memory_is_freed() -> None:
    before = peak_memory_mb()
    held = np.ones(60_000_000, np.uint8)
    assert held[::4096].all()
    peak = peak_memory_mb()
    del held
    assert peak >= before - 1
    assert peak_memory_mb() >= peak - 1  # the kernel adds up its counters now and then only
    assert peak > 60
