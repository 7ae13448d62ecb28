"""`ambiseg gallery` on small untrained runs: which masks and cells it shows, what it writes, and which methods it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ambiseg.models.figures.galleries.gallery_picture import BLANK, Gallery, draw_gallery, make_gallery
from ambiseg.models.figures.style import png
from ambiseg.models.methods.registry import build
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import DataRecord, RunRecord
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.store.store import Store

pytestmark = pytest.mark.drawn

MODAL = {"widths": [6, 8], "latent_widths": [8], "codes": 20, "code_dim": 4}
Invoke = Callable[..., tuple[int, str, str]]


def make_run(path: Path, store: Store, method: str, options: dict[str, Any]) -> Path:
    """An untrained run whose codes draw different things with different probabilities."""
    config = make_config(method, "small", None, ["data.crop=16"], {f"options.{key}": v for key, v in options.items()})
    record = RunRecord(version="0", torch="0", device="cpu", config=config, data=DataRecord.of(store))
    run = Run.create(path, record)
    torch.manual_seed(0)
    model = build(method, 1, 2, record.config.options)
    if method == "modal":
        model.prior_head.bias.data = torch.linspace(0, -19, 20)
        model.prior_head.weight.data *= 0.1
    run.save_weights(model, 0)
    return path


@pytest.fixture
def run(tmp_path: Path, known_truth: Store) -> Path:
    return make_run(tmp_path / "modal-001", known_truth, "modal", MODAL)


def test_the_most_frequent_atoms_with_their_probabilities(run: Path, known_truth: Store) -> None:
    trained = load_trained(run, torch.device("cpu"))
    found = make_gallery(trained, known_truth, "val", images=3, masks=4)
    rows = known_truth.rows("val")
    crops = known_truth.images(rows)[..., 4:20, 4:20]
    prior = trained.predictive(crops).log_probabilities.exp().double().numpy()
    assert found.atoms.tolist() == np.argsort(-prior.mean(0))[:4].tolist()
    assert np.allclose(found.frequencies, np.sort(prior.mean(0))[::-1][:4])
    chosen = [0, len(rows) // 3, 2 * len(rows) // 3]
    assert np.allclose(found.probabilities, prior[chosen][:, found.atoms])
    atoms = trained.predictive(crops[chosen]).atoms(4)
    order = np.argsort(-found.probabilities, 1)
    assert np.array_equal(np.take_along_axis(found.masks, order[..., None, None], 1), atoms.labels.numpy())
    assert np.array_equal(np.stack(found.readers), known_truth.masks(rows[chosen])[..., 4:20, 4:20])


def test_the_command_writes_a_picture(ambiseg: Invoke, run: Path, known_truth: Store, tmp_path: Path) -> None:
    code, _, err = ambiseg("gallery", run, "--images", 3, "--masks", 40)
    assert code == 0, err
    assert "gallery.png" in err
    written = (run / "gallery.png").read_bytes()
    assert written[:8] == b"\x89PNG\r\n\x1a\n"
    code, _, err = ambiseg("gallery", run)
    assert code == 2
    assert "already exists: choose another --output, or replace it with --overwrite" in err
    assert ambiseg("gallery", run, "--images", 3, "--masks", 40, "--overwrite")[0] == 0
    assert (run / "gallery.png").read_bytes() == written
    other = tmp_path / "pictures" / "test.png"
    assert ambiseg("gallery", run, "--data", known_truth.path, "--split", "test", "--images", 1, "-o", other)[0] == 0
    assert other.stat().st_size > 0


def test_atoms_that_would_be_blank_on_average_are_left_out(run: Path, known_truth: Store) -> None:
    found = make_gallery(load_trained(run, torch.device("cpu")), known_truth, "val", images=1, masks=20)
    assert 5 < len(found.atoms) < 20
    assert found.frequencies[-1] >= BLANK
    assert found.masks.shape[:2] == found.probabilities.shape == (1, len(found.atoms))


def test_improbable_cells_are_blank(tmp_path: Path) -> None:
    from matplotlib.image import imread

    masks = np.zeros((1, 4, 16, 16), np.uint8)
    masks[:, :, 2:14, 2:14] = 1
    probabilities = np.array([[0.6, 0.3, 0.1 - BLANK / 2, BLANK / 2]])
    found = Gallery("a", "b", np.zeros((1, 16, 16)), (masks[0],), np.arange(4), probabilities[0], masks, probabilities)
    (tmp_path / "a.png").write_bytes(png(draw_gallery(found)))
    cells = imread(tmp_path / "a.png")[-60:-30, :, :3]
    last, before = cells[:, -120:-40], cells[:, -280:-200]
    assert (last == 1).all()
    assert (before < 1).any(2).all()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--split", "dev"), 3, "No split 'dev'"),
        (("--images", 0), 2, "--images and --masks must be at least 1"),
        (("--masks", 0), 2, "--images and --masks must be at least 1"),
        (("-o", "folder/"), 2, "already exists"),
    ],
)
def test_bad_arguments(
    ambiseg: Invoke, run: Path, tmp_path: Path, monkeypatch: Any, arguments: tuple[Any, ...], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    found, _, err = ambiseg("gallery", run, *arguments)
    assert found == code
    assert message in err


@pytest.mark.parametrize("kind", ["codes", "heads", "members"])
def test_samplers_have_no_codes(ambiseg: Invoke, known_truth: Store, tmp_path: Path, kind: str) -> None:
    run = make_run(tmp_path / "probunet-001", known_truth, "probunet", {"widths": [6, 8]})
    code, _, err = ambiseg("gallery", run, "--kind", kind)
    assert code == 2
    assert "probunet-001 (probunet) draws its masks from a continuous distribution" in err
    assert not (run / "gallery.png").exists()


@pytest.mark.parametrize(("method", "kind"), [("probunet", "draws"), ("mheads", "heads"), ("ensemble", "members")])
def test_every_method_has_a_gallery_of_its_own(
    ambiseg: Invoke, known_truth: Store, tmp_path: Path, method: str, kind: str
) -> None:
    run = make_run(tmp_path / "run", known_truth, method, {"widths": [6, 8]})
    given, named = tmp_path / "given.png", tmp_path / "named.png"
    assert ambiseg("gallery", run, "--images", 2, "-o", given)[0] == 0
    assert ambiseg("gallery", run, "--images", 2, "--kind", kind, "-o", named)[0] == 0
    assert given.read_bytes() == named.read_bytes()
