"""How a lesion changed over several predictions: the content of growth.json, and the folder that holds it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ambiseg.preprocessing.documents import write_json
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.files import disk_errors, make_folder, whole_file
from ambiseg.preprocessing.tables import table_text

from ..figures.style import png
from ..metrics.size_forecast import LEVELS
from .growth_picture import draw_growth
from .observed import Observed, observe
from .volume_growth import DOUBLING_DAYS, GROWN, HABITS, Change, Habit, change, doubling_days


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TimePoint(_Part):
    """A lesion at one time."""

    days: float = Field(description="days since the first time")
    lesion: int = Field(description="its number in that prediction")
    no_lesion: float = Field(description="probability that nothing is marked")
    median_mm3: float | None = Field(description="median volume in mm³ if it is marked; null if nothing is")
    low_90_mm3: float | None = Field(description="lower end of its 90 % interval")
    high_90_mm3: float | None = Field(description="its upper end")
    cut: float = Field(description="share of the masks that reach the border of what was looked at, and may be larger")


class Quantiles(_Part):
    """Quantiles of a number; null where it has no value, as the doubling time of what does not grow."""

    median: float | None
    low_50: float | None
    high_50: float | None
    low_90: float | None
    high_90: float | None


class ChangeEntry(_Part):
    """The change between two times under an assumption. All but the first four keys are given that both times are marked."""

    assumption: Habit = Field(description='how a reader\'s habits carry over: "independent" or "same rank"')
    both: float = Field(description="probability that a reader marks the lesion at both times")
    vanished: float = Field(description="that one marks it at the earlier time alone")
    appeared: float = Field(description="that one marks it at the later time alone")
    change: Quantiles = Field(description="change of the volume as a share of the earlier one: .25 is 25 % more")
    grown: float | None = Field(description="probability of a growth of `growth` or more")
    shrunk: float | None = Field(description="probability of a shrinkage of `growth` or more")
    doubling_days: Quantiles = Field(
        description="volume doubling time in days by these quantiles of the change: `low_90` belongs to the least change"
    )
    doubles: float | None = Field(description="probability of a doubling time of `doubling` days or less")


class Step(_Part):
    """The change from one time to a later one, each by its place in `times`, from 0."""

    earlier: int
    later: int
    days: float = Field(description="between the two")
    changes: list[ChangeEntry]


class GrowthDocument(_Part):
    """The content of growth.json."""

    schema_number: Literal[1] = Field(1, alias="schema", serialization_alias="schema")
    program: str
    growth: float = Field(description="the share of the earlier volume that counts as growth, and as shrinkage")
    doubling: float = Field(description="the doubling time in days that is asked about")
    times: list[TimePoint]
    steps: list[Step] = Field(description="from the first time to each later one, then from each later one to the next")
    notes: list[str]


@dataclass(frozen=True)
class Course:
    """A lesion at several times: what was observed, the days since the first time, and the change of each step."""

    observed: tuple[Observed, ...]
    days: tuple[float, ...]
    document: GrowthDocument


def course(
    folders: Sequence[Path],
    days: Sequence[float],
    lesions: Sequence[int] = (),
    *,
    growth: float = GROWN,
    doubling: float = DOUBLING_DAYS,
) -> Course:
    """How a lesion changed over two or more predictions of scans of one patient.

    Args:
        folders: of the predictions [T], the earliest first.
        days: from the first scan to each later one [T - 1], ascending.
        lesions: the number of the lesion in each prediction [T]; empty: each has only one.
        growth: the share of the earlier volume that counts as growth.
        doubling: the volume doubling time in days that is asked about.

    Raises:
        UsageError: numbers do not fit together, or are out of range.
        InputError: a prediction or lesion is missing.
        DataError: a file is damaged.
    """
    check_question(len(folders), lesions, growth, doubling)
    check_days(len(folders), days)
    numbers: Sequence[int | None] = lesions or [None] * len(folders)
    observed = tuple(observe(folder, number) for folder, number in zip(folders, numbers, strict=True))
    times = (0.0, *map(float, days))
    count = len(times)
    pairs = [(0, later) for later in range(1, count)] + [(at, at + 1) for at in range(1, count - 1)]
    document = GrowthDocument(
        schema=1,
        program=f"ambiseg {version('ambiseg')}",
        growth=growth,
        doubling=doubling,
        times=[_time(one, since) for one, since in zip(observed, times, strict=True)],
        steps=[_step(observed, times, pair, growth, doubling) for pair in pairs],
        notes=list(_notes(observed)),
    )
    return Course(observed, times, document)


def check_question(count: int, lesions: Sequence[int], growth: float, doubling: float) -> None:
    """Raise `UsageError` unless `course` can be asked this of so many predictions (see there)."""
    if count < 2:
        raise UsageError(f"Expected at least two predictions or scans, got {count}.")
    if lesions and len(lesions) != count:
        raise UsageError(f"`lesion`: expected one number for each prediction ({count}), got {len(lesions)}.")
    if not 0 < growth < 1 or not 0 < doubling < math.inf:
        raise UsageError(
            f"Expected a `growth` between 0 and 1 and a `doubling` above 0, got {growth:g} and {doubling:g}."
        )


def check_days(count: int, days: Sequence[float]) -> None:
    """Raise `UsageError` unless there is a number of days for each of `count` predictions but the first, ascending."""
    if len(days) != count - 1:
        raise UsageError(
            f"`days`: expected one number for each prediction after the first ({count - 1}), got {len(days)}: the days "
            "since the first scan."
        )
    if any(late <= early for early, late in zip((0, *days), days, strict=False)) or not all(map(math.isfinite, days)):
        raise UsageError(
            f"`days`: expected ascending numbers above 0, the earliest scan first, got {', '.join(f'{day:g}' for day in days)}."
        )


def _time(one: Observed, days: float) -> TimePoint:
    spread = None if one.lesion.size is None else one.lesion.size.if_marked.volume_mm3
    return TimePoint(
        days=days,
        lesion=one.lesion.number,
        no_lesion=one.lesion.no_lesion,
        median_mm3=None if spread is None else spread.median,
        low_90_mm3=None if spread is None else spread.low_90,
        high_90_mm3=None if spread is None else spread.high_90,
        cut=0.0 if one.lesion.size is None else one.lesion.size.cut,
    )


def _step(
    observed: Sequence[Observed], times: Sequence[float], pair: tuple[int, int], growth: float, doubling: float
) -> Step:
    earlier, later = pair
    days = times[later] - times[earlier]
    changes = [
        _entry(change(observed[earlier].volumes, observed[later].volumes, habit), habit, days, growth, doubling)
        for habit in HABITS
    ]
    return Step(earlier=earlier, later=later, days=days, changes=changes)


def _entry(found: Change, habit: Habit, days: float, growth: float, doubling: float) -> ChangeEntry:
    ratios = dict(zip(LEVELS, found.quantiles().tolist(), strict=True))
    return ChangeEntry(
        assumption=habit,
        both=round(found.both, 6),
        vanished=round(found.vanished, 6),
        appeared=round(found.appeared, 6),
        change=Quantiles(**{name: _rounded(ratio - 1, 4) for name, ratio in ratios.items()}),
        grown=_rounded(found.grown(growth), 6),
        shrunk=_rounded(found.shrunk(growth), 6),
        doubling_days=Quantiles(**{name: _rounded(doubling_days(ratio, days), 1) for name, ratio in ratios.items()}),
        doubles=_rounded(found.doubles_within(doubling, days), 6),
    )


def _rounded(value: float, digits: int) -> float | None:
    """A number with so many digits; None where it has no finite value."""
    return round(value, digits) if math.isfinite(value) else None


def _notes(observed: Sequence[Observed]) -> list[str]:
    notes = []
    first, *others = (one.document.model.weights_sha256 for one in observed)
    if any(other != first for other in others):
        notes.append("The predictions are of different models: a change may be theirs and not the lesion's.")
    if any(one.document.calibration is None for one in observed):
        notes.append("The probabilities are the models' own. They are not calibrated.")
    if any(one.lesion.size is not None and one.lesion.size.cut for one in observed):
        notes.append("Some masks reach the border of what was looked at, so that their volumes may be larger.")
    return notes


def write_growth(folder: Path, course: Course) -> None:
    """Write a course, in place of an earlier one. The same predictions give the same bytes.

    Raises:
        ResourceError: the folder cannot be written.
    """
    document = course.document
    picture = png(draw_growth([one.volumes for one in course.observed], course.days, document.growth))
    make_folder(folder)
    with disk_errors(folder):
        write_json(folder / "growth.json", document.model_dump(mode="json", by_alias=True))
        rows = list(_rows(document))
        for name, content in (("growth.csv", table_text(rows, list(rows[0])).encode()), ("growth.png", picture)):
            with whole_file(folder / name) as file:
                file.write_bytes(content)


def _rows(document: GrowthDocument) -> Iterator[dict[str, Any]]:
    for step in document.steps:
        times = {
            "from_days": document.times[step.earlier].days,
            "to_days": document.times[step.later].days,
            "days": step.days,
        }
        for entry in step.changes:
            plain = entry.model_dump()
            change, doubling = plain.pop("change"), plain.pop("doubling_days")
            quantiles = {f"change_{name}": value for name, value in change.items()}
            yield times | plain | quantiles | {f"doubling_days_{name}": value for name, value in doubling.items()}
