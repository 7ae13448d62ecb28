"""Equal steps between slices, however their positions were rounded; a missing slice is always detected."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ambiseg.preprocessing.scans.dicom.slice_steps import equally_spaced, rounding_mm

Z = np.array([0.0, 0, 1])


def heights(count: int, spacing: float, start: float, decimals: int) -> NDArray[np.float64]:
    return (start + spacing * np.arange(count)).round(decimals)


def at(z: NDArray[np.float64], normal: NDArray[np.float64] = Z) -> NDArray[np.float64]:
    return np.array([-20.5, -30.25, 0]) + z[:, None] * normal


@given(
    count=st.integers(4, 60),
    spacing=st.floats(0.3, 6),
    start=st.floats(-400, 400),
    decimals=st.integers(0, 4),
    share=st.floats(0, 1),
)
def test_rounded_positions_are_read_and_a_missing_slice_is_not(
    count: int, spacing: float, start: float, decimals: int, share: float
) -> None:
    assume(10.0**-decimals < 0.19 * spacing)  # coarser ones leave open, of few slices, whether one is missing
    whole = heights(count, spacing, start, decimals)
    assert equally_spaced(at(whole), Z)
    missing = 1 + int(share * (count - 3))
    assert not equally_spaced(at(np.delete(whole, missing)), Z)


@given(
    count=st.integers(8, 60),
    spacing=st.floats(0.3, 6),
    start=st.floats(-400, 400),
    decimals=st.integers(0, 2),
    share=st.floats(0, 1),
)
def test_a_missing_slice_is_seen_however_coarse_the_rounding(
    count: int, spacing: float, start: float, decimals: int, share: float
) -> None:
    whole = heights(count, spacing, start, decimals)
    assume(np.diff(whole).min() > 0 and 10.0**-decimals < 0.8 * spacing)
    assert not equally_spaced(at(np.delete(whole, 2 + int(share * (count - 5)))), Z)


@given(
    count=st.integers(6, 40),
    spacing=st.floats(0.5, 5),
    turn=st.tuples(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4)),
    gap=st.booleans(),
)
def test_oblique_slices_too(count: int, spacing: float, turn: tuple[float, float], gap: bool) -> None:
    normal = np.array([*turn, 1.0])
    normal /= np.linalg.norm(normal)
    z = spacing * np.arange(count)
    positions = at(np.delete(z, 3) if gap else z, normal).round(2)
    assert equally_spaced(positions, normal) is not gap


@pytest.mark.parametrize(
    ("z", "expected"),
    [
        ([0.0], True),
        ([0, 2.5], True),
        ([0, 2.5, 7.5], False),
        ([0, 2.5, 7.5, 10], False),
        ([0, 5, 7.5, 12.5, 15], False),  # two are missing
        ([0, 2.55, 5, 7.5], True),  # 2 %
        ([0, 2.9013, 5, 7.5], False),  # 16 %
        ([100, 100.6, 101.2, 101.9, 102.5, 103.1, 103.8], True),  # 0.625
        ([100, 100.6, 101.2, 102.5, 103.1, 103.8], False),
        ([0, 2, 5, 8, 10, 12, 15, 18, 20], True),  # 2.5
        ([0, 2, 5, 10, 12, 15, 18, 20], False),
        ([0, 1, 3], False),  # 1.5, or 1 with one missing
        ([0, 3, 6, 9], True),
        ([0, 3, 6, 12, 15, 18], False),
    ],
)
def test_known_steps(z: list[float], expected: bool) -> None:
    assert equally_spaced(at(np.array(z, float)), Z) is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2, 3], 1.0),
        ([1.0, 2.5, 3], 0.1),
        ([1.25, 2.5, 3], 0.01),
        ([1 / 3, 2 / 3, 1], 0.0),
        ([0.1 + 0.2, 0.4], 0.1),
    ],
)
def test_rounding(values: list[float], expected: float) -> None:
    found = rounding_mm(np.array([[0.5, -30.125, value] for value in values]))
    assert found == pytest.approx([0.1, 0.001, expected])
