"""Published figures beside a benchmark's own, and why they are not the same kind of figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ambiseg.models.audit.published_figures import Published
from ambiseg.models.benchmarks.trials.table_text import markdown_table, short
from ambiseg.models.metrics.catalogue import DRAWS

CAVEATS = """\
Published figures come from other crops and splits than ours, and they also differ from each other in this, as the columns
"data" and "split" show. Crops were resampled to one pixel spacing and windowed in HU, selected by other rules, and split by
other lists or not by patient. "Leak" is what of the test set was seen in training, as far as code or paper tell. A mask costs
network passes; "1 in all" is one pass for all masks. Ours are in ms of one CPU thread (16 masks of an image). All figures are
squared energy distances of 1 - IoU against four readers. They are V-statistics, which fall with the number of draws, so only
equal numbers of draws have the same bias. Do not read a difference between a published row and one of ours as a difference
between methods: the data differ."""

MATCHED = "hm_iou16"  # a table's optional column, and the figure's name
COMPARED = (*(f"ged{n}_v" for n in DRAWS), MATCHED)
ABOUT = ("data", "split", "leak", "passes", "source")  # columns of text of a table of published figures


@dataclass(frozen=True)
class Ours:
    """An entry of ours beside published ones: those of its figures that are COMPARED, and ms per mask."""

    figures: Mapping[str, float]
    mask_ms: float


def beside_published(published: Sequence[Published], ours: Mapping[str, Ours], where: str) -> str:
    """The section of a page: published figures by method, then ours by entry, measured on data `where`."""
    headings = ["method", "data", "split", "leak", "per mask", "source", *(f"GED{n}" for n in DRAWS), "HM-IoU16"]
    theirs = [
        [
            one.method,
            *(one.rest.get(column, "") for column in ABOUT),
            *(short(one.ged[n].value) if n in one.ged else "" for n in DRAWS),
            one.rest.get(MATCHED, ""),
        ]
        for one in published
    ]
    own = [
        [
            f"`{name}`",
            *(where, "by patient", "none", f"{one.mask_ms:.1f} ms", "this benchmark"),
            *(short(one.figures[key]) for key in COMPARED),
        ]
        for name, one in ours.items()
    ]
    return f"## Beside published figures\n\n{CAVEATS}\n\n{markdown_table([headings, *theirs, *own], left=1 + len(ABOUT))}\n"
