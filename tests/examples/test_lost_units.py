"""examples/studies/lost_units.py: where the column stands, what it leaves alone, and what it does to two models."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from lost_units import SIDE, THINGS, with_thing

from ambiseg.models.prediction.neighbourhood import Neighbourhood
from ambiseg.preprocessing.volumes.volume import Volume

WIDE = 32


def volume() -> Volume:
    """A scan [5, 64, 64] of tissue."""
    return Volume(np.zeros((5, 64, 64), np.int16), np.eye(4))


def place(centre: tuple[float, float], step: tuple[float, float] = (1.0, 1.0)) -> Neighbourhood:
    """The slices 1 to 3 around a centre, and how many of the scan's pixels a training pixel takes."""
    box = (slice(1, 4), slice(24, 40), slice(24, 40))
    return cast(Any, SimpleNamespace(box=box, plane=SimpleNamespace(centre=centre, step=step)))


@pytest.mark.parametrize("thing", THINGS)
def test_the_column_stands_in_the_corner_of_the_square_on_all_slices_looked_at(thing: str) -> None:
    before = volume()
    changed = with_thing(before, place((32.0, 32.0)), WIDE, THINGS[thing])
    assert changed is not None
    z, y, x = np.nonzero(changed.array)
    assert {*z.tolist()} == {1, 2, 3}
    assert (y.min(), y.max(), x.min(), x.max()) == (17, 17 + SIDE - 1, 17, 17 + SIDE - 1)
    assert set(changed.array[z, y, x].tolist()) == {THINGS[thing]}
    assert not before.array.any()


def test_a_square_is_as_wide_as_its_training_pixels() -> None:
    changed = with_thing(volume(), place((32.0, 32.0), (1.5, 1.0)), WIDE, 1)
    assert changed is not None
    _, y, x = np.nonzero(changed.array)
    assert (y.min(), x.min()) == (round(32 - 15 * 1.5), 17)


def test_there_is_no_column_outside_the_scan() -> None:
    assert with_thing(volume(), place((10.0, 32.0)), WIDE, 1) is None
