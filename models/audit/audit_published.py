"""What published energy distances imply, and whether they can be true.

For one model, one test set and one distance, the V-statistic of N draws has the expectation (derived in `distances`)

    G(N) = G + d_SS / N,    G = GED_U + d_YY / M

so figures at several N lie on a line in 1/N. The slope d_SS is the expected distance of two of the model's masks and lies in
0..1. The limit G, at infinitely many draws, is the distance to the M readers' masks themselves. It is never below 0: 1 - IoU of
one foreground is of negative type, so its energy distances are not negative. Where the readers' diversity is known and each
image's readers are independent given the image, it is not below d_YY / M either. On images that were selected because a
reader marked something they are not independent, and GED_U may lie a little below 0 (docs/reference/metrics.md). Both
diversities leave self-pairs out.

The figures of a finite test set differ from these expectations by the noise of their draws, so a small excess over rounding
is no proof of an error. Every finding therefore says how far each figure would have to be off.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.tables import write_table

from .published_figures import Published
from .rounded_line import SOLVED, AtMost, Interval, Lines, Rounded

NOISE = 0.004  # two standard errors of GED16 - GED100 on 2,000 lung crops are .007, which two figures share
NOTHING = Rounded(0.0, 0.0)
FALLS = AtMost(0, -1, 0)  # d_SS >= 0
AT_MOST_1 = AtMost(0, 1, 1)  # d_SS <= 1
NOT_NEGATIVE = AtMost(-1, 0, 0)  # G >= 0

IMPLIED = ("diversity", "ged_infinite", "ged_unbiased")  # names in files

Verdict = Literal["possible", "within rounding", "within noise", "dependent readers", "impossible", "one count"]
GRADES: tuple[Verdict, ...] = ("within rounding", "within noise", "dependent readers", "impossible")
WEIGHT = {"dependent readers": "possible only where an image's readers depend on each other, else"}


@dataclass(frozen=True)
class Finding:
    """What is wrong with a row. excess: how far each figure must be off, beyond rounding, for the row to be possible."""

    sentence: str
    excess: float
    verdict: Verdict

    @property
    def text(self) -> str:
        """The sentence with its weight, without a full stop."""
        if self.verdict == "within rounding":
            return f"{self.sentence}: within rounding"
        return (
            f"{self.sentence}: {WEIGHT.get(self.verdict, self.verdict)}, each figure would have to be off by "
            f"{self.excess:.2g} beyond its rounding"
        )


@dataclass(frozen=True)
class Audit:
    """A row and what it implies: the model's diversity d_SS, G at infinitely many draws, the unbiased GED; None if unknown."""

    published: Published
    diversity: Interval | None
    limit: Interval | None
    unbiased: Interval | None
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict of the worst finding; without findings "possible", or "one count" when a row has a single figure."""
        if self.findings:
            return max((finding.verdict for finding in self.findings), key=GRADES.index)
        return "possible" if len(self.published.ged) > 1 else "one count"

    def summary(self) -> dict[str, Any]:
        """Plain values for JSON."""
        implied = dict(zip(IMPLIED, (self.diversity, self.limit, self.unbiased), strict=True))
        return {
            "method": self.published.method,
            "verdict": self.verdict,
            "ged": {str(n): figure.value for n, figure in self.published.ged.items()},
            "implied": {name: None if value is None else asdict(value) for name, value in implied.items()},
            "findings": [asdict(finding) for finding in self.findings],
            "columns": dict(self.published.rest),
        }


def write_audits(path: Path, audits: Sequence[Audit]) -> None:
    """Write a CSV with one row per audit: the table's own columns, then what is implied and found."""
    counts = sorted({n for one in audits for n in one.published.ged})
    implied = [f"{name}{end}" for name in IMPLIED for end in ("", "_low", "_high")]
    own = list(dict.fromkeys(name for one in audits for name in one.published.rest))
    rows = []
    for one in audits:
        ends = [end for interval in (one.diversity, one.limit, one.unbiased) for end in _ends(interval)]
        rows.append(
            {
                **{name: one.published.rest.get(name, "") for name in own},
                "method": one.published.method,
                **{f"ged{n}": _short(figure.value) for n, figure in one.published.ged.items()},
                **dict(zip(implied, ends, strict=True)),
                "verdict": one.verdict,
                "excess": _short(max((finding.excess for finding in one.findings), default=0.0)),
                "findings": "; ".join(finding.text for finding in one.findings),
            }
        )
    columns = ["method", *(f"ged{n}" for n in counts), *own, *implied, "verdict", "excess", "findings"]
    write_table(path, rows, list(dict.fromkeys(columns)), for_people=True)


def _ends(interval: Interval | None) -> tuple[str, ...]:
    return ("", "", "") if interval is None else tuple(_short(value) for value in astuple(interval))


def _short(value: float) -> str:
    return f"{value:.6g}"


def audit(published: Published, noise: float = NOISE) -> Audit:
    """Infer what a row of published figures implies, and find what in it is impossible.

    Args:
        published: The row.
        noise: How far the noise of the draws may move each figure, beyond rounding; a larger excess is "impossible".

    Returns:
        Intervals of the implied diversity, limit and unbiased GED, and all findings.

    Raises:
        UsageError: `noise` is not a number of 0 or more.

    Example:
        >>> from ambiseg.models.audit.audit_published import audit
        >>> from ambiseg.models.audit.published_figures import Published
        >>> from ambiseg.models.audit.rounded_line import Rounded
        >>> row = Published("ours", {16: Rounded(0.25, 0.0005), 100: Rounded(0.27, 0.0005)})
        >>> audit(row).verdict
        'impossible'
    """
    if not (isfinite(noise) and noise >= 0):
        raise UsageError(f"`noise` must be a number of 0 or more, got {noise}.")
    if not published.ged:
        return Audit(published, None, None, None, ())
    findings, floor = tuple(_findings(published, noise)), _floor(published)
    if len(published.ged) < 2:
        return Audit(published, None, None, None, findings)
    lines, unbiased = Lines(published.ged), None
    limit = lines.limit()
    if floor is not NOTHING:
        unbiased = Interval(
            limit.value - floor.value,
            limit.low - floor.value - floor.half_unit,
            limit.high - floor.value + floor.half_unit,
        )
    return Audit(published, lines.slope(), limit, unbiased, findings)


def _floor(published: Published) -> Rounded:
    """d_YY / M, by the readers' diversity with self-pairs; 0 where it is not known."""
    if published.reader_diversity is None:
        return NOTHING
    others = published.readers - 1
    return Rounded(published.reader_diversity.value / others, published.reader_diversity.half_unit / others)


@dataclass(frozen=True)
class Claim:
    """What must be true of a row, as conditions on the line of its figures; `broken` is the sentence when it is not.

    worst: the verdict when noise does not explain it.
    """

    broken: str
    conditions: tuple[AtMost, ...]
    worst: Verdict = "impossible"


def _findings(published: Published, noise: float) -> Iterator[Finding]:
    """What is wrong, claim by claim, where the excess is largest: in the whole row or in two neighbouring counts."""
    ged = dict(sorted(published.ged.items()))
    whole = Lines(ged)
    if (miss := whole.excess()) > 0:
        *counts, last = map(str, ged)
        sentence = f"the figures at {', '.join(counts)} and {last} draws do not lie on one line in 1/N"
        yield Finding(sentence, miss, _grade(miss, noise, "impossible"))
    neighbours = [Lines(dict(pair)) for pair in pairwise(ged.items())] if len(ged) > 2 else []
    for claim in _claims(published):
        broken = [(off, part) for part in (whole, *neighbours) if (off := _excess(part, claim.conditions)) is not None]
        if broken:
            excess, part = max(broken, key=lambda found: found[0])
            slope = f"{part.slope().value if len(ged) > 1 else 0.0:.3f}"
            where = "" if part is whole else f", from {part.counts[0]} to {part.counts[1]} draws"
            yield Finding(claim.broken.format(slope=slope + where), excess, _grade(excess, noise, claim.worst))


def _claims(published: Published) -> Iterator[Claim]:
    """What must be true of a row's line, and of the line through any two of its figures."""
    several, floor = len(published.ged) > 1, _floor(published)
    falls = () if several else (FALLS,)  # a single figure only shows that the line does not rise
    yield Claim("GED rises with the number of draws (diversity {slope})", (FALLS,))
    yield Claim("GED falls by more than masks can differ (diversity {slope})", (AT_MOST_1,))
    yield Claim("GED at infinitely many draws lies below 0", (NOT_NEGATIVE, *falls))
    if floor is not NOTHING:
        least = AtMost(-1, 0, floor.half_unit - floor.value)
        yield Claim("the unbiased GED lies below 0", (least, *falls), "dependent readers")
    if published.diversity is not None and several:
        words = f"the published diversity {published.diversity.value:g} contradicts the implied {{slope}}"
        yield Claim(words, _around(published.diversity, min(published.ged)))


def _around(diversity: Rounded, fewest: int) -> tuple[AtMost, AtMost]:
    """Conditions that the slope is the published diversity, which may include the self-pairs of any number of draws."""
    above = AtMost(0, -1, diversity.half_unit - diversity.value)
    return above, AtMost(0, 1 - 1 / fewest, diversity.value + diversity.half_unit)


def _excess(lines: Lines, conditions: Sequence[AtMost]) -> float | None:
    """How far figures must be off to meet conditions, where they do not and a line as such would take less; else None.

    It is 0 when the figures as they stand break the conditions and their rounding explains it.
    """
    off = lines.excess(*conditions)
    if off > lines.excess() + SOLVED:
        return off
    broken = lines.excess(*conditions, rounded=False) > lines.excess(rounded=False) + SOLVED
    return 0.0 if broken else None


def _grade(excess: float, noise: float, worst: Verdict) -> Verdict:
    if excess == 0:
        return "within rounding"
    return "within noise" if excess <= noise else worst
