"""What all tests share: one thread for torch, a place for real data, and small stores made once."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ambiseg.preprocessing.sources.known_truth import write_known_truth
from ambiseg.preprocessing.store import Store

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data, named by AMBISEG_REAL_DATA."""
    folder = os.environ.get("AMBISEG_REAL_DATA")
    if not folder:
        pytest.skip("AMBISEG_REAL_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def known_truth(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """60 made lesions of 24 x 24 pixels with four readers, split 60/20/20 by patient."""
    return write_known_truth(tmp_path_factory.mktemp("known") / "store", crops=60, size=24)


@pytest.fixture
def ambiseg(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: arguments in, exit code, stdout and stderr (lines joined) out."""
    from ambiseg.app import main

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return int(leaving.value.code or 0), captured.out, captured.err

    return run
