"""Every document and table that is read, damaged at random: it is read, or refused in one printable sentence."""

import gzip
import random
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ambiseg.models.audit.audit_published import audit
from ambiseg.models.audit.published_figures import read_published
from ambiseg.models.benchmarks.cost.timing import training_seconds
from ambiseg.models.benchmarks.trials.notes import note, read_notes
from ambiseg.models.benchmarks.trials.results import Result
from ambiseg.models.bundle import run_facts as facts
from ambiseg.models.bundle.metadata import read_metadata
from ambiseg.models.bundle.model_files import check_files
from ambiseg.models.comparison.compare_runs import compare
from ambiseg.models.core.calibration import read_calibration
from ambiseg.models.evaluation.stored import read_evaluations
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.trained import load_trained
from ambiseg.models.runs.weights_file import read_weights
from ambiseg.models.training.checkpoint import TrainingState
from ambiseg.preprocessing.documents import write_json
from ambiseg.preprocessing.errors import AmbisegError
from ambiseg.preprocessing.scans.point_files import read_points
from ambiseg.preprocessing.sources.nifti.nifti_cases import find_cases
from ambiseg.preprocessing.sources.packed.packed_png import _table as read_patients
from ambiseg.preprocessing.sources.packed.packed_shards import _facts as read_facts
from ambiseg.preprocessing.store.resume import load_notes, load_part, save_part
from ambiseg.preprocessing.store.splits import read_splits
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_card import dataset_card
from ambiseg.preprocessing.store.store_crop import Crop

FEW, MANY = 25, 200  # damages of each document, in the fast test and in the slow one

CPU = torch.device("cpu")
SHIPPED = Path(facts.__file__).parents[1] / "weights" / "lidc-mixture"
SWAPS = (
    *("null", "true", "-1", "0", "1e999", "-1e999", "9" * 400, "9" * 5000, "0.5", '"x"', '""', "[]", "{}", "NaN"),
    *('[{"a": [1]}]', "[" * 3000, '{"a":' * 3000, '"\\u0000\\u001b[31m"', "1979-05-27", "'='", ",", ";;", "\t"),
)
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|[^\s,;="{}\[\]]+')
JUDGED = {
    name: {"mean": 0.5, "sd": 0.1, "low": 0.4, "high": 0.6, "cases": 3} for name in ("nll", "brier", "ece", "top_ece")
}

Document = tuple[Path, Callable[[], Any]]  # a file, and what reads it


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Content with one to three damages."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = rng.choice((_flipped, _cut, _without_line, _twice, _swapped, _swapped, _inserted))(content, rng)
    return content


def _flipped(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return b"\xff"
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _without_line(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    del lines[rng.randrange(len(lines))]
    return b"\n".join(lines)


def _twice(content: bytes, rng: random.Random) -> bytes:
    """A line, and in JSON so a key, that comes twice."""
    lines = content.split(b"\n")
    place = rng.randrange(len(lines))
    return b"\n".join([*lines[: place + 1], *lines[place:]])


def _swapped(content: bytes, rng: random.Random) -> bytes:
    """A name, text or number that became something else."""
    tokens = list(TOKEN.finditer(content[:20_000]))
    if not tokens:
        return content
    token = rng.choice(tokens)
    return content[: token.start()] + rng.choice(SWAPS).encode() + content[token.end() :]


def _inserted(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.randbytes(rng.choice((1, 2, 8))) + content[place:]


@pytest.fixture(scope="module")
def documents(known_truth: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Document]:
    """One of each document, and the function that reads it."""
    root = tmp_path_factory.mktemp("documents")
    return {
        **_tables(root),
        **_of_a_store(root, known_truth),
        **_of_a_run(root),
        **_of_evaluations(root),
        **_of_a_bundle(root),
    }


def _tables(root: Path) -> dict[str, Document]:
    texts = {
        "splits.csv": "patient,split\na,train\nb,val\nc,test\n",
        "cases.csv": "case,patient,image,mask_1,mask_2\n1,a,i.nii,m.nii,n.nii\n2,b,j.nii,,o.nii\n",
        "points.csv": "x,y,z,name,scan\n1.5,2,3,one,s\n-4,5e1,6,two,s\n",
        "luna.csv": "seriesuid,coordX,coordY,coordZ\ns,1.5,2,3\nt,4,5,6\n",
        "published.csv": "method,ged16,ged100,readers,diversity\nA,.25,.2,4,.4\nB,0.30,0.21,4,\n",
        "patients.csv": "file,patient\na.png,a\nb.png,b\n",
        "settings.toml": "steps = 5\n[optimiser]\nbetas = [0.9, 0.99]\nmilestones = [[0.5, 0.1]]\n[data]\ncrop = 16\n"
        '[for.probunet.options]\nwidths = [6, 8]\n[for.modal]\nsteps = 7\n[validation]\nmonitor = "ged"\n',
    }
    for name, text in texts.items():
        (root / name).write_text(text)
    table = root / "slices.csv"
    names = "patient_id,nodule,slice,series_instance_uid,pixel_spacing_mm,slice_thickness_mm,z_position_mm,crop_row0,crop_col0"
    table.write_text(f"{names}\nA,0,1,1.2,0.7,2,-5.5,3,4\nB,1,2,,,,,,\n")
    reads: dict[str, Callable[[Path], Any]] = {
        "splits.csv": read_splits,
        "cases.csv": find_cases,
        "points.csv": lambda path: read_points(path, ["s"]),
        "luna.csv": lambda path: read_points(path, ["s"]),
        "published.csv": lambda path: [audit(row) for row in read_published(path)],
        "patients.csv": read_patients,
        "slices.csv": lambda path: read_facts(path.parent),
        "settings.toml": lambda path: make_config("probunet", "small", path),
    }
    found = {name: (root / name, lambda name=name, read=read: read(root / name)) for name, read in reads.items()}
    packed = root / "packed"
    packed.mkdir()
    (packed / "slices.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
    found["slices.csv.gz"] = (packed / "slices.csv.gz", lambda: read_facts(packed))
    part = root / "part.npz"
    save_part(part, [Crop(np.zeros((1, 4, 4), np.int16), np.zeros((2, 4, 4), np.uint8), "a", "b")], {"empty": 0})
    found["part.npz"] = (part, lambda: (load_part(part), load_notes(part)))
    return found


def _of_a_store(root: Path, store: Store) -> dict[str, Document]:
    folder = root / "store"
    folder.mkdir()
    for file in store.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())

    def read() -> None:
        found = Store.open(folder)
        rows = found.rows("train")
        found.images(rows), found.masks(rows), dataset_card(found)

    return {name: (folder / name, read) for name in ("manifest.json", "index.csv", "images_000.npy", "masks_000.npy")}


def _of_a_run(root: Path) -> dict[str, Document]:
    run = root / "run"
    run.mkdir()
    for name in ("run.json", "model.safetensors", "calibration.json"):
        (run / name).write_bytes((SHIPPED / name).read_bytes())
    opened = Run.open(run)
    for step in (10, 20):
        opened.write_log({"kind": "train", "step": step, "loss": 0.5, "steps_per_second": 2.0})
        opened.write_log({"kind": "validation", "step": step, "ged": 0.3, "kl": float("nan")})
    trained = load_trained(run, CPU)
    assert trained.calibration is not None
    state = TrainingState(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), {}, torch.amp.GradScaler("cpu"))  # type: ignore[arg-type]
    state.save(run / "checkpoint.pt")

    def resume() -> None:
        deepcopy(state).load(run / "checkpoint.pt", CPU)

    def log() -> None:
        training_seconds(opened)
        opened.cut_log(15)

    (run / "calibration").mkdir()
    figures = {"before": {"figures": JUDGED}, "after": {"figures": JUDGED}}
    pair = {"fit": {"cases": 9, "patients": 3}, "cases": 9, "patients": 3, **figures}
    check = {"checked_on": "test", "fitted": trained.calibration.model_dump(), "slices": pair, "lesions": pair}
    write_json(run / "calibration" / "check.json", check)
    note(run, "training", {"steps": 5, "seconds": 1.5, "parameters": 7, "device": "cpu", "machine": "m"})
    note(run, "calibration-val", {"limit": None, **figures})
    note(run, "sampling", {"1": 0.5, "16": 0.7})
    scores = dict.fromkeys(("ged16", "ged16_floor", "ged", "hm_iou16", "mode_error", "empty_error"), 0.5)
    Result(
        **{"entry": "e", "method": "m", "seed": 0, "data": "d", "steps": 5, "batch": 2, **scores, "diversity": 0.5},
        true_diversity=float("nan"),
        training_seconds=1.0,
        step_ms=1.0,
        sampling_ms=1.0,
        parameters=3,
        machine="m",
        modes={"all": {"truth": [0.5, 0.5], "model": [0.4, 0.6]}},
    ).write(run)
    return {
        "run.json": (run / "run.json", lambda: Run.open(run).record.data.intensity),
        "model.safetensors": (
            run / "model.safetensors",
            lambda: read_weights((run / "model.safetensors").read_bytes(), "model.safetensors"),
        ),
        "calibration.json": (run / "calibration.json", lambda: read_calibration(run, trained.weights_hash)),
        "metrics.jsonl": (run / "metrics.jsonl", log),
        "checkpoint.pt": (run / "checkpoint.pt", resume),
        "check.json": (run / "calibration" / "check.json", lambda: facts._check(run, trained)),
        "benchmark.json": (run / "benchmark.json", lambda: read_notes(run)),
        "result.json": (run / "result.json", lambda: Result.read(run)),
    }


def _of_evaluations(root: Path) -> dict[str, Document]:
    summary = """{
 "ambiseg": "1", "run": "%s", "method": "m", "weights_hash": "w", "calibrated": null, "trained_on": "d",
 "data": "d", "data_hash": "d", "split": "test", "cases": 3, "crop": [8, 8], "spacing_mm": null, "known_odds": false,
 "scored": null, "samples": 16, "seed": 0, "estimators": {"a": "b"}, "weights": "draws",
 "figures": {"ged16_v": {"mean": 0.3, "sd": null, "low": 0.2, "high": 0.4, "cases": 3}}
}"""
    for name in "ab":
        (root / name).mkdir()
        (root / name / "summary.json").write_text(summary % name)
        (root / name / "cases.csv").write_text("row,patient,readers,ged16_v\n0,p,4,.5\n1,q,4,\n2,r,4,.25\n")

    def read() -> None:
        compare(read_evaluations([root / "a", root / "b"], "test"), ["ged16_v"])

    return {f"evaluation's {name}": (root / "a" / name, read) for name in ("summary.json", "cases.csv")}


def _of_a_bundle(root: Path) -> dict[str, Document]:
    bundle = root / "bundle"
    bundle.mkdir()
    for file in SHIPPED.iterdir():
        (bundle / file.name).write_bytes(file.read_bytes())
    return {
        "metadata.json": (bundle / "metadata.json", lambda: read_metadata(bundle, "the model")),
        "SHA256SUMS": (bundle / "SHA256SUMS", lambda: check_files(bundle, "the model")),
    }


def try_damages(document: Document, count: int, seed: str) -> int:
    """How many of so many damages are refused; fails for whatever is no sentence for the user."""
    path, read = document
    whole = path.read_bytes()
    read()
    said = {}
    for number in range(count):
        path.write_bytes(damaged(whole, random.Random(f"{seed} {number}")))
        try:
            read()
        except AmbisegError as error:
            said[number] = str(error)
        except Exception as error:
            raise AssertionError(f"damage {number} of {path.name}: {type(error).__name__}: {error}") from error
        finally:
            path.write_bytes(whole)
    assert [
        text for text in said.values() if not (text.isprintable() and text.endswith(".") and len(text) < 1000)
    ] == []
    return len(said)


KINDS = (
    *(
        "splits.csv",
        "cases.csv",
        "points.csv",
        "luna.csv",
        "published.csv",
        "patients.csv",
        "slices.csv",
        "slices.csv.gz",
    ),
    *("settings.toml", "part.npz", "manifest.json", "index.csv", "images_000.npy", "masks_000.npy", "run.json"),
    *("model.safetensors", "calibration.json", "metrics.jsonl", "checkpoint.pt", "check.json", "benchmark.json"),
    *("result.json", "evaluation's summary.json", "evaluation's cases.csv", "metadata.json", "SHA256SUMS"),
)


def test_each_document_is_tried(documents: dict[str, Document]) -> None:
    assert set(documents) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_document_is_read_or_refused(kind: str, documents: dict[str, Document]) -> None:
    assert try_damages(documents[kind], FEW, f"few {kind}") > 0


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damages(kind: str, documents: dict[str, Document]) -> None:
    assert try_damages(documents[kind], MANY, f"many {kind}") > MANY // 20


@pytest.mark.parametrize("kind", ["index.csv", "images_000.npy", "masks_000.npy"])
def test_no_flipped_bit_is_accepted_where_a_hash_is_written_down(kind: str, documents: dict[str, Document]) -> None:
    path, read = documents[kind]
    whole = path.read_bytes()
    try:
        for number in range(FEW):
            path.write_bytes(_flipped(whole, random.Random(number)))
            with pytest.raises(AmbisegError, match=re.escape(kind)):
                read()
    finally:
        path.write_bytes(whole)
