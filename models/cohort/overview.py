"""The overview of a batch: what became of its scans, the sizes of its lesions, outliers and doubtful lesions first, and pages
with all lesions. Memory does not grow with the batch; pages are written as they fill.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ambiseg.preprocessing.files import whole_file, whole_folder

from ..figures.drawing import percent
from ..prediction.document import Document, LesionEntry
from ..report.template import render
from ..results.viewer import words
from .batch_folder import OVERVIEW, PAGES, Ending, State
from .diameters import Diameters
from .doubts import RULES, doubts, urgency

PER_PAGE = 100  # lesions
DOUBTFUL, EXTREME, EXAMPLES = 40, 12, 3  # how many the first page shows


@dataclass(frozen=True)
class Shown:
    """A lesion in a list: its scan, links from the batch's folder (may be empty), and its figures in words."""

    scan: str
    lesion: str
    report: str
    preview: str
    place: str
    marked: str
    diameter: str
    volume: str
    ambiguity: str
    flags: Sequence[str]
    diameter_mm: float


@dataclass(frozen=True)
class Reason:
    """A kind of failure: how many cases, and some of them."""

    kind: str
    count: int
    examples: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """A page of the list of all lesions: its file, and the first and the last scan on it."""

    file: str
    first: str
    last: str


@dataclass
class Overview:
    """Gathers what the first page tells, and writes the other pages into `folder`."""

    folder: Path
    model: str
    endings: Counter[Ending] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    lesions: int = 0
    incomplete: int = 0
    sizes: Diameters = field(default_factory=Diameters)
    pages: list[Page] = field(default_factory=list)
    _kinds: Counter[str] = field(default_factory=Counter)
    _examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    _doubtful: list[tuple[tuple[int, float], int, Shown]] = field(default_factory=list)
    _largest: list[tuple[float, int, Shown]] = field(default_factory=list)
    _smallest: list[tuple[float, int, Shown]] = field(default_factory=list)
    _waiting: list[Shown] = field(default_factory=list)

    def case(self, name: str, state: State) -> None:
        """Count what became of a case."""
        self.endings[state.ending] += 1
        self.incomplete += bool(state.missing)
        if state.ending == "failed":
            self._kinds[state.kind] += 1
            examples = self._examples.setdefault(state.kind, [])
            if len(examples) < EXAMPLES:
                examples.append((name, state.reason))

    def lesion(self, scan: str, place: str, document: Document, lesion: LesionEntry, *, report: bool) -> None:
        """Take up a lesion of a scan in the folder `place`."""
        found = doubts(lesion, document)
        shown = _shown(scan, place if report else "", place, lesion, found)
        self.rules.update(found)
        self.sizes.add(shown.diameter_mm)
        self._keep(found, lesion, shown)
        if len(self._waiting) == PER_PAGE:
            self._write_page(more=True)
        self._waiting.append(shown)
        self.lesions += 1

    def finish(self) -> None:
        """Write the last page of the list."""
        if self._waiting:
            self._write_page(more=False)

    def reasons(self) -> list[Reason]:
        """The kinds of failures, the most frequent first."""
        kinds = sorted(self._kinds.items(), key=lambda each: (-each[1], each[0]))
        return [Reason(kind, count, self._examples[kind]) for kind, count in kinds]

    def doubtful(self) -> list[Shown]:
        """The most doubtful lesions, the most doubtful first."""
        return [shown for _, _, shown in sorted(self._doubtful, reverse=True)]

    def outliers(self) -> tuple[list[Shown], list[Shown]]:
        """The largest and the smallest lesions beyond the fences, the most extreme first."""
        kept = (sorted(self._largest, reverse=True), sorted(self._smallest, reverse=True))
        large, small = ([shown for _, _, shown in each if self.sizes.is_outlier(shown.diameter_mm)] for each in kept)
        middle = self.sizes.quantile(0.5) if self.sizes.count else 0.0
        return [each for each in large if each.diameter_mm > middle], [
            each for each in small if each.diameter_mm < middle
        ]

    def _keep(self, found: list[str], lesion: LesionEntry, shown: Shown) -> None:
        order = -self.lesions  # of two alike the first is kept
        if found:
            _push(self._doubtful, (urgency(found, lesion), order, shown), DOUBTFUL)
        if shown.diameter_mm > 0:
            _push(self._largest, (shown.diameter_mm, order, shown), EXTREME)
            _push(self._smallest, (-shown.diameter_mm, order, shown), EXTREME)

    def _write_page(self, *, more: bool) -> None:
        number = len(self.pages) + 1
        page = Page(f"{number:04d}.html", self._waiting[0].scan, self._waiting[-1].scan)
        text = _rendered(
            "lesion_list.html",
            model=self.model,
            page=page,
            number=number,
            lesions=self._waiting,
            former=f"{number - 1:04d}.html" if number > 1 else "",
            following=f"{number + 1:04d}.html" if more else "",
            up="../",
        )
        (self.folder / page.file).write_text(text, encoding="utf-8")
        self.pages.append(page)
        self._waiting.clear()


def _push(heap: list, entry: tuple, most: int) -> None:
    """Put an entry on a heap that keeps the largest ones."""
    if len(heap) < most:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)


@contextmanager
def overview(folder: Path, model: str) -> Iterator[Overview]:
    """Write index.html and the pages in `overview` into the folder of a batch by `model`, all whole or as they were."""
    with whole_folder(folder / PAGES) as aside:
        gathered = Overview(aside, model)
        yield gathered
        gathered.finish()
        text = _index(gathered)
    with whole_file(folder / OVERVIEW) as index:
        index.write_text(text, encoding="utf-8")


def _index(gathered: Overview) -> str:
    largest, smallest = gathered.outliers()
    return _rendered(
        "overview.html",
        model=gathered.model,
        endings=gathered.endings,
        scans=gathered.endings.total(),
        incomplete=gathered.incomplete,
        lesions=gathered.lesions,
        reasons=gathered.reasons(),
        histogram=gathered.sizes.histogram(),
        quartiles=[f"{gathered.sizes.quantile(share):.1f}" for share in (0.25, 0.5, 0.75)]
        if gathered.sizes.count
        else [],
        fences=[f"{each:.1f}" for each in gathered.sizes.fences()] if gathered.sizes.count else [],
        largest=largest,
        smallest=smallest,
        doubtful=gathered.doubtful(),
        rules=[(name, rule.says, gathered.rules[name]) for name, rule in RULES.items()],
        pages=gathered.pages,
        folder=PAGES,
        up="",
    )


def _rendered(template: str, **values: Any) -> str:
    return render(template, package=__package__, styles=["cohort.css"], beside=True, **values)


def _shown(scan: str, reported: str, place: str, lesion: LesionEntry, found: Sequence[str]) -> Shown:
    diameter = volume = ""
    middle = 0.0
    if lesion.size is not None:
        spread, extent = lesion.size.if_marked.mean_diameter_mm, lesion.size.if_marked.extent
        middle = spread.median
        unit = "mm³" if lesion.size.if_marked.volume_mm3 is not None else "mm²"
        low, median, high = (words.number(spread, name) for name in ("low_90", "median", "high_90"))
        diameter = f"{median} mm ({low} to {high})"
        volume = f"{words.number(extent, 'median')} {unit}"
    return Shown(
        scan=scan,
        lesion=f"{lesion.number}" + (f" {lesion.name}" if lesion.name else ""),
        report=quote(f"{reported}/report.html") if reported else "",
        preview=quote(f"{place}/{lesion.preview}") if lesion.preview else "",
        place=words.place(lesion.centre_mm),
        marked=percent(1 - lesion.no_lesion),
        diameter=diameter,
        volume=volume,
        ambiguity="-" if lesion.ambiguity is None else f"{lesion.ambiguity:.2f}",
        flags=found,
        diameter_mm=middle,
    )
