"""Every built-in method keeps the contract, as it comes and with each choice of each option that is a choice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ambiseg.models.methods.constructor import options_model
from ambiseg.models.methods.registry import methods
from ambiseg.models.training.conformance import (
    RUN_CHECKS,
    TENSOR_CHECKS,
    RunCheck,
    Subject,
    TensorCheck,
    check_method,
    made_store,
    variants,
)
from ambiseg.preprocessing.store.store import Store

NARROW = {
    "widths": (6, 8, 8),
    "convs": 1,
    "members": 3,
    "heads": 3,
    "codes": 8,
    "code_dim": 4,
    "latent_widths": (8,),
    "refiner_width": 4,
    "discriminator_width": 4,
    "gate_width": 4,
    "masks": 10,
    "samples": 3,
    "draws": 4,
    "rank": 3,
    "blocks": 1,
    "noise_steps": 4,
}
OWN = (
    "own"  # value of the option `segmenter` of methods that can also read the class probabilities of another segmenter
)


def subjects(*, trains: bool = False) -> Iterator[Any]:
    """Every method with each of its choices; where a check `trains`, those other than the default are exhaustive."""
    for name, method in methods().items():
        narrow = {key: value for key, value in NARROW.items() if key in options_model(method).model_fields}
        for choice, options in variants(method, narrow).items():
            reads = options.get("segmenter", OWN) != OWN
            marks = [pytest.mark.exhaustive] * bool(trains and choice)
            yield pytest.param(Subject(method, options, reads), id=f"{name}-{choice}" if choice else name, marks=marks)


@pytest.mark.parametrize("subject", list(subjects()))
@pytest.mark.parametrize("check", TENSOR_CHECKS, ids=lambda check: check.__name__)
def test_every_method_keeps_the_contract(check: TensorCheck, subject: Subject) -> None:
    check(subject)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Store]:
    """Made lesions without and with the class probabilities of a segmenter."""
    folder = tmp_path_factory.mktemp("stores")
    return {reads: made_store(folder / str(reads), probabilities=reads) for reads in (False, True)}


@pytest.mark.parametrize("subject", list(subjects(trains=True)))
@pytest.mark.parametrize("check", RUN_CHECKS, ids=lambda check: check.__name__)
def test_runs_of_every_method_keep_the_contract(
    check: RunCheck, subject: Subject, stores: dict[bool, Store], tmp_path: Path
) -> None:
    check(subject, stores[subject.probabilities], tmp_path)


def test_one_call_runs_all_checks() -> None:
    check_method("mheads", {"widths": [6, 8], "convs": 1, "heads": 3})
