"""Whether evaluations are comparable: the same data, cases and estimators, or an error that names what differs."""

from collections.abc import Sequence

from ambiseg.preprocessing.documents import shown
from ambiseg.preprocessing.errors import DataError

from ..evaluation.stored import StoredEvaluation
from ..metrics.catalogue import MEASURES

SAME = {  # fields of an evaluation's summary that must be equal
    "data_hash": "data (content hash)",
    "split": "split",
    "crop": "evaluated crop (pixels)",
    "spacing_mm": "pixel spacing (mm)",
    "scored": "scored classes",
    "known_odds": "knowledge of the masks' probabilities",
}
UNBIASED = {"ged_u", "overlap"}  # figures of the weighted set with the same expectation for draws and exact weights


def check_comparable(evaluations: Sequence[StoredEvaluation], figures: Sequence[str]) -> None:
    """Check that the `figures` of evaluations can be compared.

    Seeds, methods and calibrations may differ. The number of samples must be the same unless all figures are for a fixed
    number of draws.

    Raises:
        DataError: They cannot be compared. It names what differs, and both values.
    """
    first = evaluations[0]
    for other in evaluations[1:]:
        for name, words in SAME.items():
            _same(words, first, other, getattr(first.about, name), getattr(other.about, name))
        _same_estimators(first, other)
        _same_cases(first, other)
        for figure in figures:
            _same_kind(figure, first, other)


def _same(
    words: str, first: StoredEvaluation, other: StoredEvaluation, one: object, two: object, advice: str = ""
) -> None:
    if one != two:
        raise DataError(
            f"{first.name} and {other.name} differ in their {words}, {shown(str(one))} and {shown(str(two))}: "
            f"{advice or 'evaluate both in the same way to compare them'}."
        )


def _same_estimators(first: StoredEvaluation, other: StoredEvaluation) -> None:
    """Compare estimators one by one, so that the error names one."""
    one, two = (evaluation.about.estimators for evaluation in (first, other))
    for name in sorted(one | two):
        _same(f"estimator of {name}", first, other, _quoted(one.get(name)), _quoted(two.get(name)))


def _quoted(text: str | None) -> str:
    return "none" if text is None else f'"{text}"'


def _same_cases(first: StoredEvaluation, other: StoredEvaluation) -> None:
    _same("number of cases", first, other, len(first.rows), len(other.rows), "evaluate both with the same `limit`")
    for number, (one, two) in enumerate(zip(first.rows, other.rows, strict=True), 1):
        _same(f"case {number} (row of the data set)", first, other, one, two)
    for row, one, two in zip(first.rows, first.patients, other.patients, strict=True):
        _same(f"patient of row {row}", first, other, one, two)


def _same_kind(figure: str, first: StoredEvaluation, other: StoredEvaluation) -> None:
    """Figures of all samples need the same number of samples; biased ones also need the same kind of weights."""
    block = MEASURES[figure].block
    if block == "draws":
        return
    advice = f"evaluate both with the same `samples`, or leave out {figure}"
    _same("number of samples", first, other, first.about.samples, other.about.samples, advice)
    if block == "weighted" and figure not in UNBIASED:
        advice = (
            f"{figure} depends on them, choose {' or '.join(sorted(UNBIASED))}, or a figure for a fixed number of draws"
        )
        _same("weights", first, other, first.about.weights, other.about.weights, advice)
