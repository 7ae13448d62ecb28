"""Upper bounds of the sizes that options and records may name.

All of them are far above what is trained. A run record may come from a stranger, and an absurd number in it must not
allocate memory or loop. `constructor.outline` counts how many numbers a method has in all.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

MOST_LEVELS, MOST_CONVS, MOST_CHANNELS = 12, 16, 4096
MOST_PARTS = 1024  # members, heads, components, draws, dimensions of z, readers
MOST_CODES = 2**16
LARGEST_CROP, LARGEST_STORED = 2048, 2**16  # side in pixels: of a crop that is trained on, and of one in a store
MOST_MM = 100.0  # a pixel
MOST_INPUTS, MOST_CLASSES = 512, 255  # a label map has 255 labels, and one for pixels that do not count
MOST_TENSORS, MOST_NUMBERS = 5_000, 2**30  # in a whole method: it is built in a second, and takes 4 GiB

Channels = Annotated[int, Field(ge=1, le=MOST_CHANNELS)]
Levels = Annotated[Sequence[Channels], Field(max_length=MOST_LEVELS)]
