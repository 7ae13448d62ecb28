"""Evaluating a trained model on a split of a dataset store.

The random numbers of a case are seeded by the evaluation's seed and the case's row, and the model gets one case at a time.
A case's figures therefore do not depend on which other cases are evaluated.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ambiseg.preprocessing.errors import DataError, UsageError
from ambiseg.preprocessing.store.lesion_rows import LesionRows, lesions_of, pixel_mm
from ambiseg.preprocessing.store.splits import spread_evenly
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_crop
from ambiseg.preprocessing.work.engine import Engine, InProcess
from ambiseg.preprocessing.work.local_processes import engine_of

from ..core.arrays import where_it_lies
from ..core.calibration import Reweighting, reweighting
from ..core.predictive import Atoms, Predictive
from ..core.randomness import generator_for, seed_of
from ..lesions.by_lesion import chosen_lesions, evaluated_lesions, lesion_case, whole_lesions
from ..lesions.case_work import CaseTask, CaseWork, evaluated_cases
from ..lesions.stability import Stability, check_stability, stability_case
from ..metrics.modes import mode_shares
from ..metrics.reliability import Bins, pixel_reliability
from ..metrics.scores import PAPERS_DRAWS, image_scores
from ..metrics.sides import Sides, both_sides
from ..runs.trained import Trained
from . import pooled
from .about import about_evaluation, seen_before
from .evaluation import INDEX_COLUMNS, Case, Evaluation
from .rows import chosen_rows, readable

By = Literal["auto", "slice", "lesion"]
MOST_MODES = 64  # per image, for the mode probabilities to be reported one by one


def evaluate(
    trained: Trained,
    store: Store,
    split: str,
    *,
    samples: int = PAPERS_DRAWS,
    seed: int = 0,
    limit: int | None = None,
    whole: bool = False,
    by: By = "auto",
    stability: int = 0,
    workers: int | Engine | None = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Compare a model's masks with the readers' masks on a split of a data set.

    Crops that no reader read are left out. Where the probabilities of the masks are known, they take the place of the
    readers' equal weights. Definitions of all figures: docs/reference/metrics.md.

    Args:
        trained: The model.
        store: The data set.
        split: "train", "val", "test" or "all".
        samples: Draws per image (S), 16 at least. For a model with exact probabilities, the most masks that are taken,
            the most probable first.
        seed: Seed of the draws and of the bootstrap.
        limit: The most cases to evaluate, spread evenly over the split; None for all. Whole lesions are chosen that have
            about so many slices.
        whole: Whether to compare whole stored images; else crops are cut to the centre of the training crop's size.
        by: "slice": each crop is a case; "lesion": whole lesions are evaluated, too; "auto": whole lesions, too, where
            the split has such (see `by_lesion.has_lesions`).
        stability: Of so many slices, and of so many lesions where lesions are evaluated, spread evenly, the model's answer is
            also compared with its answers to changed images (see `lesions.stability`); 0: none.
        workers: Processes, or the engine that has them; None: as many as save time. The figures are the same.
        on_progress: Called with (cases done, cases in all) after each case; a lesion, and a case whose stability is
            measured, is a further case.

    Returns:
        The evaluation: figures with 95 % intervals by patient, reliability bins, each case, and the whole lesions.

    Raises:
        UsageError: `samples` is below 16, `limit` below 1, `stability` below 0, or the model reads class probabilities, for
            which stability is not measured.
        InputError: The split has no cases.
        DataError: The model cannot read the data, its probabilities are not finite, or there are no lesions to evaluate.

    Example:
        >>> from ambiseg.models.evaluation.evaluate_run import evaluate
        >>> from ambiseg.models.runs.trained import load_trained
        >>> from ambiseg.preprocessing.store.store import Store
        >>> def ged16(run, store):
        ...     return evaluate(load_trained(run), Store.open(store), "test").figures["ged16_u"].mean
    """
    if samples < PAPERS_DRAWS:
        raise UsageError(f"GED16 and HM-IoU16 need at least {PAPERS_DRAWS} draws per image, got `samples` {samples}.")
    if stability < 0:
        raise UsageError(f"`stability` is a number of cases, 0 or more, got {stability}.")
    store = readable(trained, store)
    rows = chosen_rows(store, split, limit)
    before = seen_before(trained, store, rows)
    lesions = _lesions(store, split, limit, by)
    moved = _moved(store, rows, lesions, stability)
    if moved:
        check_stability(trained)
    size = max(store.size) if whole else trained.record.crop
    work = CaseWork(trained, store, samples, size, seed)
    tasks: list[CaseTask] = [(stability_case, one) for some in moved.values() for one in some]
    tasks += [(slice_case, int(row)) for row in rows]
    tasks += [(lesion_case, lesion) for lesion in lesions]
    found = _told(evaluated_cases(work, tasks, _engine(workers, trained)), len(tasks), on_progress)
    still = {kind: Stability(tuple(islice(found, len(some))), seed) for kind, some in moved.items()}
    judged = list(islice(found, len(rows)))
    cases, exact = [case for case, _ in judged], judged[-1][1]
    volumes = evaluated_lesions(list(found), seed) if lesions else None
    return Evaluation(
        about=about_evaluation(
            trained, store, split, cases, samples=samples, seed=seed, size=size, exact=exact, before=before
        ),
        cases=tuple(cases),
        figures=pooled.figures(cases, seed),
        reliability=pooled.reliability(cases),
        modes=pooled.modes(cases),
        lesions=volumes,
        stability=still,
    )


def _told(found: Iterator[Any], total: int, on_progress: Callable[[int, int], None]) -> Iterator[Any]:
    """The same, told of one by one."""
    on_progress(0, total)
    for done, one in enumerate(found, 1):
        on_progress(done, total)
        yield one


def _engine(workers: int | Engine | None, trained: Trained) -> Engine:
    """The engine for a model; one on a GPU is not shared by several processes unless they are asked for as an engine."""
    if isinstance(workers, Engine):
        return workers
    return InProcess() if workers == 1 or trained.device.type != "cpu" else engine_of(workers)


def _moved(
    store: Store, rows: NDArray[np.intp], lesions: Sequence[LesionRows], count: int
) -> dict[str, list[LesionRows]]:
    """The lesions and the slices of which stability is measured, by kind; a slice is a lesion of one row."""
    if count == 0:
        return {}
    some = rows[spread_evenly(count, len(rows))]
    slices = [one for row in some for one in lesions_of(store, np.array([row]))]
    whole = [lesions[number] for number in spread_evenly(count, len(lesions))]
    return {"lesions": whole, "slices": slices} if whole else {"slices": slices}


def _lesions(store: Store, split: str, limit: int | None, by: By) -> list[LesionRows]:
    """The lesions to evaluate as wholes; none where slices alone are wanted, or where there are only slices."""
    if by == "lesion":
        return chosen_lesions(store, split, limit)
    return whole_lesions(store, split, limit) if by == "auto" else []


def slice_case(work: CaseWork, row: int) -> tuple[Case, bool]:
    """One row evaluated on its central pixels, and whether the model's weights are exact."""
    trained, store, size, seed = work.trained, work.store, work.size, work.seed
    atoms, predictive = drawn(trained, store, row, work.samples, seed, size)
    return _case(trained, store, row, atoms, predictive.pixelwise(), seed, size), atoms.draws is None


def _case(trained: Trained, store: Store, row: int, atoms: Atoms, stated: Tensor | None, seed: int, size: int) -> Case:
    """One row evaluated on its central `size` pixels.

    atoms: the model's weighted masks [1, S, H, W]; stated: the pixels' class probabilities [1, K, H, W] that it states
    without a draw, None for most models.
    """
    masks = _read_masks(store, row, size)
    sides = sides_of(store, row, atoms, size, reweighting(trained.calibration, flat=True))
    rng = np.random.default_rng(seed_of(seed, "resample", int(row)))

    def reliability(probabilities: Tensor) -> tuple[Bins, Bins]:
        return pixel_reliability(
            probabilities[0].float().cpu().numpy(), masks, sides.truth, store.manifest.scored_labels
        )

    pixels, marked = reliability(atoms.marginal)
    index = store.index[row]
    return Case(
        index={name: index[name] for name in INDEX_COLUMNS},
        readers=len(masks),
        scores=image_scores(sides, rng=rng, spacing_mm=pixel_mm(store, row)),
        outcome=sides.outcome,
        pixels=pixels,
        marked_pixels=marked,
        stated=None if stated is None else reliability(stated),
        ambiguity=sides.ged.ambiguity,
        disagree=sides.disagree,
        group="all" if store.manifest.group is None else index[store.manifest.group],
        modes=_modes(sides),
    )


def sides_of(store: Store, row: int, atoms: Atoms, size: int, calibration: Reweighting | None = None) -> Sides:
    """The model's weighted masks [1, S, H, W] of a row's central `size` pixels, compared with its readers' masks."""
    weights = atoms.weights[0].double().cpu().numpy()
    return both_sides(
        where_it_lies(atoms.labels[0]),
        weights / weights.sum(),
        _read_masks(store, row, size),
        draws=atoms.draws,
        odds=store.truth.probabilities(np.array([row]))[0] if store.manifest.known_odds else None,
        scored=store.manifest.scored_labels,
        calibration=calibration,
        left_out=atoms.share_left_out(),
    )


def _read_masks(store: Store, row: int, size: int) -> NDArray[np.uint8]:
    """The masks [R, H, W] of the readers of a row, or its modes, on its central `size` pixels."""
    return centre_crop(store.masks(np.array([row]))[0], size)[store.present[row]]


def _modes(sides: Sides) -> NDArray[np.float64] | None:
    """The true probabilities of the modes and the model's, [2, R]; None where they are not known, or too many."""
    if sides.odds is None or len(sides.odds) > MOST_MODES:
        return None
    return np.stack((sides.odds, mode_shares(sides.iou, sides.weights, sides.odds)))


def drawn(trained: Trained, store: Store, row: int, samples: int, seed: int, size: int) -> tuple[Atoms, Predictive]:
    """The model's weighted masks [1, S, H, W] for the central `size` pixels of a row, and the distribution that they are of.

    The same seed gives the same masks.
    """
    with torch.inference_mode():
        predictive = trained.predictive(*trained.record.crops(store, np.array([row]), size))
        atoms = predictive.atoms(samples, generator_for(seed, "evaluate", int(row)))
        stated = predictive.pixelwise()
    given = (atoms.weights, atoms.marginal, *(() if stated is None else (stated,)))
    if not all(numbers.isfinite().all() for numbers in given):
        raise DataError(f"The model gives no finite probabilities for row {row} of {store.path}: train it again.")
    return atoms, predictive
