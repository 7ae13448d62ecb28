"""What a model states of the cases of a split and what their readers did, from which a calibration is fitted and judged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.store.lesion_rows import LesionRows
from ambiseg.preprocessing.store.store import Store

from ..core.calibration import Calibration, Reweighting, reweighted, reweighting
from ..core.lesion_slices import Extent
from ..core.overlap import marked_counts
from ..evaluation.evaluate_run import drawn, sides_of
from ..evaluation.rows import chosen_rows
from ..lesions.by_lesion import whole_lesions
from ..lesions.lesion_masks import LesionAtoms, drawn_lesion, readers_of, sides_of_lesion
from ..metrics.outcomes import Outcome
from ..metrics.sides import Sides, relisted
from ..runs.trained import Trained
from .fitting import Event, Slices, fit_extent

FEW_UNMARKED = 0.01  # a smaller share of slices that nobody marked: slices were chosen by what readers marked

OnProgress = Callable[[int, int], None]
Choices = tuple[Outcome, Outcome, str]  # of readers before and after calibration, and the patient


@dataclass(frozen=True)
class Work:
    """The cases of a split: its slices, then its lesions, with progress over both."""

    trained: Trained
    store: Store
    split: str
    samples: int
    seed: int
    limit: int | None
    on_progress: OnProgress
    volumes_too: bool = True

    @cached_property
    def rows(self) -> NDArray[np.intp]:
        """The slices, one at least."""
        return chosen_rows(self.store, self.split, self.limit)

    @cached_property
    def lesions(self) -> list[LesionRows]:
        """The whole lesions; none where the store has no such, or where only slices are wanted."""
        return whole_lesions(self.store, self.split, self.limit) if self.volumes_too else []

    @cached_property
    def total(self) -> int:
        """The number of cases."""
        return len(self.rows) + len(self.lesions)

    def slices(self) -> Iterator[tuple[int, Sides, float | None]]:
        """Each row with its two sides, not calibrated, and the stated probability that a reader marks something."""
        crop = self.trained.record.crop
        self.on_progress(0, self.total)
        for done, row in enumerate(map(int, self.rows), 1):
            atoms, predictive = drawn(self.trained, self.store, row, self.samples, self.seed, crop)
            stated = predictive.marking()
            yield row, sides_of(self.store, row, atoms, crop), None if stated is None else float(stated[0])
            self.on_progress(done, self.total)

    def with_extent(self, extent: Extent | None) -> "Work":
        """The same work with a model whose lesions have this extent."""
        nothing = unfitted(self.trained, self.store.content_hash, self.split, self)
        calibration = nothing.model_copy(update={"extent": extent})
        return replace(self, trained=replace(self.trained, calibration=calibration))

    def choices_of_slices(self) -> list[Choices]:
        """The readers' choices on slices before and after calibration."""
        numbers = reweighting(self.trained.calibration, flat=True)
        return [
            _choices(sides, sides.labels, numbers, self.store.index[row].patient) for row, sides, _ in self.slices()
        ]

    def choices_of_lesions(self) -> list[Choices]:
        """The same on whole lesions."""
        numbers = None if self.trained.calibration is None else self.trained.calibration.lesions
        return [_choices(sides, atoms.labels, numbers, lesion.patient) for lesion, atoms, sides in self.volumes()]

    def volumes(self) -> Iterator[tuple[LesionRows, LesionAtoms, Sides]]:
        """Each lesion with the model's volumes and its two sides, not calibrated."""
        crop, scored = self.trained.record.crop, self.store.manifest.scored_labels
        for done, lesion in enumerate(self.lesions, len(self.rows) + 1):
            atoms = drawn_lesion(self.trained, self.store, lesion, self.samples, self.seed, crop)
            yield lesion, atoms, sides_of_lesion(atoms, readers_of(self.store, lesion), scored, None).sides
            self.on_progress(done, self.total)


@dataclass(frozen=True)
class Stated:
    """What models state of their cases and what readers did, by the model's number: of slices, and of whole lesions."""

    slices: list[list[Event]]
    lesions: list[list[Event]]
    extent: Extent | None

    @classmethod
    def of(cls, works: Sequence["Work"]) -> "Stated":
        """Slices first: the extent that they give makes the volumes."""
        slices, seen = list[list[Event]](), list[Slices]()
        for work in works:
            events, marking = list[Event](), dict[int, float]()
            for row, sides, stated in work.slices():
                events.append(event(sides, work.store.index[row].patient))
                if stated is not None:
                    marking[row] = stated
            slices.append(events)
            seen += _seen(work.store, work.lesions, marking)
        extent = _extent(seen)
        lesions = [
            [event(sides, lesion.patient) for lesion, _, sides in work.with_extent(extent).volumes()] for work in works
        ]
        return cls(slices, lesions, extent)

    def without(self, number: int) -> "Stated":
        """The same without the cases of one model."""
        kept = [index for index in range(len(self.slices)) if index != number]
        return Stated([self.slices[one] for one in kept], [self.lesions[one] for one in kept], self.extent)


def unfitted(trained: Trained, data_hash: str, split: str, work: "Work") -> Calibration:
    """A calibration that changes nothing, with what it will be fitted on."""
    return Calibration(
        slices=Reweighting(),
        samples=work.samples,
        seed=work.seed,
        split=split,
        data_hash=data_hash,
        weights_hash=trained.weights_hash,
    )


def event(sides: Sides, patient: str) -> Event:
    """What a model states of an image or lesion, and what its readers did, in pixels or voxels."""
    return Event(patient, sides.weights, marked_counts(sides.labels), marked_counts(sides.masks), sides.truth)


def _choices(sides: Sides, labels: NDArray[np.uint8], numbers: Reweighting | None, patient: str) -> Choices:
    """Which hypotheses the readers of a case chose, without and with calibration."""
    calibrated = relisted(sides, *reweighted(sides.weights, labels, numbers, sides.left_out))
    return sides.outcome, calibrated.outcome, patient


def _seen(store: Store, lesions: Sequence[LesionRows], marking: Mapping[int, float]) -> list[Slices]:
    """The lesions all of whose slices have a stated probability that a reader marks them."""
    rows = [lesion.rows for lesion in lesions if all(int(row) in marking for row in lesion.rows)]
    marked = [np.asarray(store.masks(slices).any((2, 3)))[:, store.present[slices].all(0)] for slices in rows]
    stated = [np.array([marking[int(row)] for row in slices]) for slices in rows]
    return [Slices(one, other) for one, other in zip(stated, marked, strict=True)]


def _extent(seen: Sequence[Slices]) -> Extent | None:
    """The extent fitted to lesions; None where the model states no probabilities of slices."""
    if not seen:
        return None
    unmarked = np.mean(np.concatenate([~each.marked.any(1) for each in seen]))
    readers = seen[0].marked.shape[1]
    return fit_extent(seen, readers if unmarked < FEW_UNMARKED and readers > 1 else None)
