"""What published energy distances imply, and whether they can be true: the V-statistic's identity as a tool.

For one model, one test set and one distance the V-statistic of N draws expects, as `distances` derives it,

    G(N) = G + d_SS / N,    G = GED_U + d_YY / M

so figures at several N lie on a line in 1/N. Its slope d_SS is the expected distance of two of the model's masks and lies in
0..1. Its end G, at infinitely many draws, is the distance to the M readers' masks themselves: never below d_YY / M where the
readers' diversity is known, nor below 0 (1 - IoU of one foreground is of negative type, so its energy distances are not
negative). Both diversities leave self-pairs out.

The figures of a finite test set differ from these expectations by the noise of their draws, so a small excess over rounding
is no proof of an error; how much each figure would have to be off is therefore part of every finding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Literal

from ambiseg.preprocessing.tables import write_table

from .line import SOLVED, AtMost, Interval, Lines, Rounded
from .published import Published

NOISE = 0.004  # two standard errors of GED16 - GED100 on 2,000 lung crops are .007, which two figures share
NOTHING = Rounded(0.0, 0.0)
FALLS = AtMost(0, -1, 0)  # d_SS >= 0
AT_MOST_1 = AtMost(0, 1, 1)  # d_SS <= 1

IMPLIED = ("diversity", "ged_infinite", "ged_unbiased")  # names in files

Verdict = Literal["possible", "within rounding", "within noise", "impossible", "one count"]
GRADES: tuple[Verdict, ...] = ("within rounding", "within noise", "impossible")


@dataclass(frozen=True)
class Finding:
    """What is wrong with a row. excess: how far each figure must be off for it to be right, beyond rounding (0: within)."""

    sentence: str
    excess: float
    verdict: Verdict

    @property
    def text(self) -> str:
        """The sentence with its weight, without a full stop."""
        if self.verdict == "within rounding":
            return f"{self.sentence}: within rounding"
        return f"{self.sentence}: {self.verdict}, each figure would have to be off by {self.excess:.2g} beyond its rounding"


@dataclass(frozen=True)
class Audit:
    """A row and what it implies: the model's diversity d_SS, G at infinitely many draws, the unbiased GED; None: unknown."""

    published: Published
    diversity: Interval | None
    limit: Interval | None
    unbiased: Interval | None
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """That of the worst finding; without any "possible", or "one count" when there is nothing to hold beside it."""
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
    """Write a CSV with a row an audit: the table's own columns, then what is implied and found."""
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
    """What a row of published figures implies, and what in it cannot be.

    noise: how far the noise of the draws may put each figure, beyond rounding; a greater excess is impossible.
    """
    if not published.ged:
        return Audit(published, None, None, None, ())
    lines, floor = Lines(published.ged), _floor(published)
    findings = tuple(
        Finding(sentence, excess, _grade(excess, noise)) for sentence, excess in _broken_claims(published, lines, floor)
    )
    if len(published.ged) < 2:
        return Audit(published, None, None, None, findings)
    limit, unbiased = lines.limit(), None
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


def _grade(excess: float, noise: float) -> Verdict:
    if excess == 0:
        return "within rounding"
    return "within noise" if excess <= noise else "impossible"


def _broken_claims(published: Published, lines: Lines, floor: Rounded) -> Iterator[tuple[str, float]]:
    """What is wrong, claim by claim, and its excess; those after the first count only beyond there being a line at all."""
    counts = [str(n) for n in sorted(published.ged)]
    if (off := lines.excess()) > 0:
        yield f"the figures at {', '.join(counts[:-1])} and {counts[-1]} draws do not lie on one line in 1/N", off
    slope = lines.slope().value if len(counts) > 1 else 0.0
    yield from _broken(lines, f"GED rises with the number of draws (diversity {slope:.3f})", FALLS)
    yield from _broken(lines, f"GED falls by more than masks can differ (diversity {slope:.3f})", AT_MOST_1)
    words = "GED at infinitely many draws lies below 0" if floor is NOTHING else "the unbiased GED lies below 0"
    least = AtMost(-1, 0, floor.half_unit - floor.value)
    yield from _broken(lines, words, least, *([FALLS] if len(counts) < 2 else []))
    if published.diversity is not None and len(counts) > 1:
        words = f"the published diversity {published.diversity.value:g} contradicts the implied {slope:.3f}"
        yield from _broken(lines, words, *_around(published.diversity, min(published.ged)))


def _around(diversity: Rounded, fewest: int) -> tuple[AtMost, AtMost]:
    """Conditions that the slope be the published diversity, which may hold the self-pairs of any number of draws."""
    above = AtMost(0, -1, diversity.half_unit - diversity.value)
    return above, AtMost(0, 1 - 1 / fewest, diversity.value + diversity.half_unit)


def _broken(lines: Lines, sentence: str, *conditions: AtMost) -> Iterator[tuple[str, float]]:
    """The sentence when the figures as they stand break a condition; the excess is 0 when their rounding explains it."""
    if lines.excess(*conditions, rounded=False) > lines.excess(rounded=False) + SOLVED:
        off = lines.excess(*conditions)
        yield sentence, off if off > lines.excess() + SOLVED else 0.0
