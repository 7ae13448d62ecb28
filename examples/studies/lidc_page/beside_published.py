"""Published figures beside a benchmark's own, and why they are not the same kind of figures."""

from collections.abc import Mapping, Sequence

from ambiseg.models.audit.published_figures import Published
from ambiseg.models.benchmarks.trials.table_text import markdown_table, short
from ambiseg.models.metrics.catalogue import DRAWS

CAVEATS = """\
Published figures come from other crops and splits than ours, and they also differ from each other in this, as the column
"test set" shows. Crops were resampled to one pixel spacing and windowed in HU, selected by other rules, and split by other
lists or not by patient. All figures are squared energy distances of 1 - IoU against four readers. They are V-statistics,
which fall with the number of draws, so only equal numbers of draws have the same bias. Do not read a difference between a
published row and one of ours as a difference between methods: the data differ."""

MATCHED = "hm_iou16"  # a table's optional column, and the figure's name
COMPARED = (*(f"ged{n}_v" for n in DRAWS), MATCHED)


def beside_published(published: Sequence[Published], ours: Mapping[str, Mapping[str, float]], where: str) -> str:
    """The section of a page: published figures by method, then those of ours that are COMPARED, by entry, of `where`."""
    headings = ["method", "test set", "source", *(f"GED{n}" for n in DRAWS), "HM-IoU16"]
    theirs = [
        [
            one.method,
            one.rest.get("test set", ""),
            one.rest.get("source", ""),
            *(short(one.ged[n].value) if n in one.ged else "" for n in DRAWS),
            one.rest.get(MATCHED, ""),
        ]
        for one in published
    ]
    own = [
        [f"`{name}`", where, "this benchmark", *(short(figures[key]) for key in COMPARED)]
        for name, figures in ours.items()
    ]
    return f"## Beside published figures\n\n{CAVEATS}\n\n{markdown_table([headings, *theirs, *own], left=3)}\n"
