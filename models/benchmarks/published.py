"""Published figures beside a benchmark's own, and why they are not the same kind of figures."""

from collections.abc import Mapping, Sequence

from ..comparison.published import Published
from ..metrics.catalogue import DRAWS
from .tables import markdown_table, short

CAVEATS = """\
Published figures are of other crops and splits than ours, and of each other, as "test set" says: resampled to one pixel
spacing and windowed in HU, cut by other rules, split by other lists or not by patient. All are squared energy distances of
1 - IoU against four readers, V-statistics, which fall with the number of draws: only equal numbers of draws have the same
bias. Whoever reads a difference between a line of theirs and a line of ours as one of methods reads one of data."""


def beside_published(published: Sequence[Published], ours: Mapping[str, Mapping[int, float]], where: str) -> str:
    """The section of a page: published GED by the number of draws, then ours by entry, measured on `where`."""
    headings = ["method", "test set", "source", *(f"GED{n}" for n in DRAWS)]
    theirs = [
        [
            one.method,
            one.rest.get("test set", ""),
            one.rest.get("source", ""),
            *(short(one.ged[n].value) if n in one.ged else "" for n in DRAWS),
        ]
        for one in published
    ]
    own = [[f"`{name}`", where, "this benchmark", *(short(ged[n]) for n in DRAWS)] for name, ged in ours.items()]
    return f"## Beside published figures\n\n{CAVEATS}\n\n{markdown_table([headings, *theirs, *own], left=3)}\n"
