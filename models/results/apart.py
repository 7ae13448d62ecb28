"""The cases of a batch, predicted in a process of their own, which a damaged file may kill or hold up without further harm."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from ambiseg.preprocessing.files import PATIENCE
from ambiseg.preprocessing.lone_worker import LoneWorker
from ambiseg.preprocessing.scans.cases import Case

from ..prediction.predict_scan import Request
from ..runs.hardware import keep_freed_memory
from ..runs.trained import Trained
from .folder import check_folder, predict_to_folder

Work = tuple[Case, Path]


@contextmanager
def predict_apart(
    trained: Trained, request: Request, *, overwrite: bool, minutes: float
) -> Iterator[Callable[[Case, Path], Sequence[str]]]:
    """Give a function that predicts a case into its folder, and says what could not be made of it (see `predict_batch`).

    The model is handed over once, so that all cases are predicted with the same weights, by as many threads as here.
    minutes: how long a case may take.
    """
    make = partial(_prepared, pickle.dumps(trained), torch.get_num_threads(), request, overwrite)
    with LoneWorker[Work, Sequence[str]](make, minutes) as worker:
        yield lambda case, folder: worker.do((case, folder))


def _prepared(trained: bytes, threads: int, request: Request, overwrite: bool) -> Callable[[Work], Sequence[str]]:
    """In the other process: what predicts a case."""
    torch.set_num_threads(threads)
    model: Trained = pickle.loads(trained)
    if model.device.type == "cpu":
        keep_freed_memory()
    return partial(_predict, model, request, overwrite)


def _predict(trained: Trained, request: Request, overwrite: bool, work: Work) -> Sequence[str]:
    case, folder = work
    check_folder(folder, overwrite)
    waiting = PATIENCE  # for the process of a batch that was killed just now
    return predict_to_folder(trained, case.path, folder, request, name=case.name, patience=waiting).missing
