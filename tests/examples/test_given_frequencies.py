"""The control of `refine` that is given the truth: what its store holds, and a table of all three models."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from given_frequencies import main, stores

from ambiseg import train
from ambiseg.models.runs.run_folder import Run

TINY = """
batch = 2
data.crop = 16
validation = {every = 4, limit = 2}
options = {widths = [4, 6], convs = 1, refiner_width = 3, discriminator_width = 4, samples = 2}
"""


def test_the_frequencies_are_those_of_the_readers(tmp_path: Path) -> None:
    made = stores(tmp_path, 12)
    own, given = made["own"], made["given"]
    rows = own.rows("all")
    assert np.array_equal(own.images(rows), given.images(rows))
    expected = np.einsum("nr,nrhw->nhw", own.truth.probabilities(rows), own.masks(rows).astype(float))
    assert np.allclose(given.class_probabilities(rows)[:, 1] / 255, expected, atol=1 / 255)
    assert stores(tmp_path, 12)["given"].content_hash == given.content_hash


def stopped_at_the_first_validation(*given: Any, **settings: Any) -> Any:
    def stop(seen: Any) -> None:
        if seen.step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    return train(*given, **settings, observe=stop)


def test_three_models_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    given = ["--crops", "20", "--steps", "8", "--config", str(tmp_path / "tiny.toml")]
    monkeypatch.setattr("given_frequencies.SAMPLES", 16)
    monkeypatch.setattr("sys.argv", ["x", "-o", str(tmp_path), *given])
    with monkeypatch.context() as cut:
        cut.setattr("given_frequencies.train", stopped_at_the_first_validation)
        with pytest.raises(KeyboardInterrupt):
            main()
    capsys.readouterr()
    main()
    assert Run.open(tmp_path / "own-seed0").read_log()[-1]["step"] == 8  # finished, not judged as it was
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [line[0] for line in lines if line[0] in ("own", "stored", "given")] == ["own", "stored", "given"]
    assert Run.open(tmp_path / "given-seed0").record.config.options["segmenter"] == "given"
