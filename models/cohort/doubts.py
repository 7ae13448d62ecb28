"""Which lesions of a batch a person should look at first: the rules, and their order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..prediction.document import Document, LesionEntry
from ..results.viewer.words import LEVELS

UNDECIDED = 0.2  # a probability that is as far from 0 and from 1
AMBIGUOUS = LEVELS[-2][0]
WIDE = 2.0  # times
UNLISTED = 0.2
CUT = 0.05


@dataclass(frozen=True)
class Rule:
    """What makes a lesion doubtful: in words, and as a test of the lesion and its scan."""

    says: str
    holds: Callable[[LesionEntry, Document], bool]


def _wide(lesion: LesionEntry) -> bool:
    if lesion.size is None:
        return False
    spread = lesion.size.if_marked.mean_diameter_mm
    return spread.high_90 > WIDE * spread.low_90


RULES: Mapping[str, Rule] = {
    "undecided": Rule(
        f"the probability that nothing is marked lies between {100 * UNDECIDED:g} and {100 - 100 * UNDECIDED:g} %",
        lambda lesion, _: UNDECIDED <= lesion.no_lesion <= 1 - UNDECIDED,
    ),
    "ambiguous": Rule(
        f"the ambiguity is high, above {AMBIGUOUS:.2f}",
        lambda lesion, _: lesion.ambiguity is not None and round(lesion.ambiguity, 2) > AMBIGUOUS,
    ),
    "wide": Rule(
        f"the upper end of the mean diameter's 90 % interval is more than {WIDE:g} times the lower end",
        lambda lesion, _: _wide(lesion),
    ),
    "unlisted": Rule(
        f"masks that are not listed have a probability of more than {100 * UNLISTED:g} %",
        lambda lesion, _: lesion.residual > UNLISTED,
    ),
    "cut": Rule(
        f"{100 * CUT:g} % or more of the masks reach the border of what was looked at, or the scan's own",
        lambda lesion, _: lesion.size is not None and lesion.size.cut >= CUT,
    ),
    "overlaps": Rule(
        "its most probable mask shares voxels with that of another lesion of the scan",
        lambda lesion, _: bool(lesion.overlaps),
    ),
    "warned": Rule("the scan has a warning", lambda _, document: bool(document.warnings)),
}


def doubts(lesion: LesionEntry, document: Document) -> list[str]:
    """The names of the rules that hold for a lesion."""
    return [name for name, rule in RULES.items() if rule.holds(lesion, document)]


def urgency(found: list[str], lesion: LesionEntry) -> tuple[int, float]:
    """How soon to look at a lesion, larger first: by the number of rules, then by how undecided it is whether it is one."""
    return len(found), round(min(lesion.no_lesion, 1 - lesion.no_lesion), 6)
