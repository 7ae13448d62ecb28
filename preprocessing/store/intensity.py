"""The meaning of an image's numbers: Hounsfield units, or grey values without a unit."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from ..volumes.hounsfield import HU_RANGE

Unit = Literal["HU", "relative"]


@dataclass(frozen=True)
class Intensity:
    """The unit of an image's numbers, and the range that they can take.

    Attributes:
        unit: "HU" for Hounsfield units of a CT, "relative" for grey values without a unit.
        low: The smallest value that the images use; single values that stray lie below it (see `usual_range`).
        high: The largest value that they use.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    unit: Unit
    low: float
    high: float


@dataclass(frozen=True)
class Channel:
    """One channel of a data set's images.

    Attributes:
        name: What it shows, as "red" or "FLAIR"; empty where nobody says.
        low: The smallest value that it uses.
        high: The largest value that it uses.
        least: Its smallest value of all.
        most: Its largest value of all.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    low: float
    high: float
    least: float
    most: float


HOUNSFIELD = Intensity("HU", *HU_RANGE)
BYTES = Intensity("relative", 0, 255)
LUNG_WINDOW = (-1000.0, 400.0)  # HU: air to dense tissue, the usual range for lung nodules
