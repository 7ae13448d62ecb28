"""Evaluations made by hand: figures of cases that are known, without a model or data."""

import multiprocessing
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist

from ambiseg.models.evaluation import pooled
from ambiseg.models.evaluation.about import estimators, notes_on, perfect_means
from ambiseg.models.evaluation.evaluation import Case, Evaluation
from ambiseg.models.evaluation.summary_document import EvaluationAbout
from ambiseg.models.metrics.catalogue import CASE_MEASURES
from ambiseg.models.metrics.outcomes import Outcome
from ambiseg.models.metrics.reliability import binned
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.store.store import Store

NAN = float("nan")


def made_case(row: int, rng: np.random.Generator, *, known: bool, defined: bool, ged: float | None) -> Case:
    """A case of patient SECRET-0, SECRET-1, ... with made figures."""
    scores = dict(zip(CASE_MEASURES, rng.random(len(CASE_MEASURES)).tolist(), strict=True))
    scores |= {"ged_u": row / 10 if ged is None else ged}
    if not known:
        scores["mode_error"] = NAN
    if not defined:
        scores |= {name: NAN for name in scores if name.endswith("_u") or "100" in name or "mm" in name}
    probabilities = np.sort(rng.dirichlet(np.ones(3)))[::-1]
    pixels = binned(rng.random(50), rng.random(50))
    return Case(
        index={"row": str(row), "patient": f"SECRET-{row // 2}", "case": f"crop-{row}", "lesion": "0", "slice": "0"},
        readers=3,
        scores=scores,
        outcome=Outcome(probabilities, np.array([0.5, 0.5, 0.0]), np.array([True, False, False])),
        pixels=pixels,
        marked_pixels=pixels,
        ambiguity=float(rng.random()) if defined else NAN,
        disagree=bool(row % 2),
        group="faint" if row % 2 else "bright",
        modes=np.array([[0.25, 0.75], [0.5, 0.4]]) if known else None,
    )


@pytest.fixture
def in_two_processes(tmp_path: Path) -> Callable[[Callable[[int], None]], None]:
    """A function that calls another with ranks 0 and 1, each in a process forked from this one; gloo joins the two."""

    def one(work: Callable[[int], None], rank: int) -> None:
        meeting = f"file://{tmp_path / 'meeting'}"
        dist.init_process_group("gloo", meeting, timedelta(seconds=60), world_size=2, rank=rank)
        work(rank)
        dist.barrier()
        dist.destroy_process_group()

    def both(work: Callable[[int], None]) -> None:
        forked = multiprocessing.get_context("fork")
        processes = [forked.Process(target=one, args=(work, rank)) for rank in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0]

    return both


@pytest.fixture
def trained_for(threshold_model: Callable[..., Trained]) -> Callable[[Store], Trained]:
    """A function that gives a threshold model for the crops of a store."""

    def make(store: Store) -> Trained:
        kind = store.intensity
        trained = threshold_model(
            max(store.size), unit=kind.unit, low=kind.low, high=kind.high, classes=store.class_names,
            channels=store.channels,
        )  # fmt: skip
        trained.method.name = "thresholds"  # as the registry of methods would call it
        return trained

    return make


@pytest.fixture
def made() -> Callable[..., Evaluation]:
    """A function that makes an evaluation of some cases, of known odds or not, with every figure defined or not."""

    def make(
        cases: int = 12,
        *,
        known: bool = False,
        defined: bool = True,
        exact: bool = False,
        samples: int = 100,
        ged: float | None = None,
        **about: object,
    ) -> Evaluation:
        rng = np.random.default_rng(0)
        found = tuple(made_case(row, rng, known=known, defined=defined, ged=ged) for row in range(cases))
        said = {
            "ambiseg": "0", "run": "made-001", "weights_hash": "a" * 64, "method": "probunet", "calibrated": None,
            "trained_on": "d" * 64, "data": "blobs", "data_hash": "d" * 64, "split": "test", "cases_in_split": cases,
            "crop": [24, 24], "spacing_mm": 0.5, "known_odds": known, "scored": None, "group": "cue" if known else None,
            "samples": samples, "seed": 0, "estimators": estimators(known), "cases": cases,
            "weights": "exact" if exact else "draws", "notes": notes_on(found),
            "floor": perfect_means(found, samples, exact) if known else None,
        }  # fmt: skip
        return Evaluation(
            about=EvaluationAbout.model_validate(said | about),
            cases=found,
            figures=pooled.figures(found, 0),
            reliability=pooled.reliability(found),
            modes=pooled.modes(found),
        )

    return make
