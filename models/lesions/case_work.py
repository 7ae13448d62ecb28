"""What the cases of an evaluation have in common, so that any process can evaluate one of them."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch

from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.work.engine import Engine

from ..runs.hardware import keep_freed_memory
from ..runs.trained import Trained


@dataclass(frozen=True)
class CaseWork:
    """A model on a data set.

    Attributes:
        trained: The model.
        store: The data set, which the model can read (see `rows.readable`).
        samples: Draws per case (S). For a model with exact probabilities, the most masks that are taken.
        size: Height and width of the centre of each crop that the model sees, in pixels.
        seed: Seed of the draws. The random numbers of a case depend on it and on the case alone.
    """

    trained: Trained
    store: Store
    samples: int
    size: int
    seed: int = 0


CaseTask: TypeAlias = tuple[Callable[[CaseWork, Any], Any], Any]  # what evaluates a case, and the case


def evaluated_cases(work: CaseWork, tasks: Sequence[CaseTask], engine: Engine) -> Iterator[Any]:
    """What came of each task, in their order. Raises what a task raises.

    Networks run on one thread in every process, since sums are rounded otherwise on several: so results are the same to the
    last bit, however many processes and cores there are.
    """
    threads = torch.get_num_threads()
    with closing(engine.outcomes(partial(_made, work), tasks, in_order=True, read=[work.store.path])) as outcomes:
        try:
            torch.set_num_threads(1)
            for outcome in outcomes:
                yield outcome.get()
        finally:
            torch.set_num_threads(threads)


def _made(work: CaseWork) -> Callable[[CaseTask], Any]:
    """In a process: what does a task."""
    if multiprocessing.parent_process() is not None:  # it is a process for that alone
        torch.set_num_threads(1)
        keep_freed_memory()
    return partial(_evaluated, work)


def _evaluated(work: CaseWork, task: CaseTask) -> Any:
    evaluate, case = task
    return evaluate(work, case)
