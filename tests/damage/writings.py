"""The commands that write, each with small inputs: each is killed at every one of its file operations, and started again."""

import contextlib
import json
import os
import pickle
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import torch
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from ambiseg.preprocessing.errors import PartialError

from . import sound
from .subjects import Refused, command

Arguments = Sequence[str]
words = shlex.split
NARROW = [word for setting in sound.TRAINING for word in ("--set", setting)]


@dataclass(frozen=True)
class Writing:
    """A command that writes `result` in a folder that `make` filled.

    whole: the result takes its place in one step, so that the old or the new one stands whole at any moment; else each of its
    files does. again: the command after a kill, by what stands in the working folder. quick: takes milliseconds. steps: what
    stands while it runs is neither the old nor the new, as a training's.
    """

    name: str
    make: sound.Maker
    arguments: Arguments
    result: str
    whole: bool = False
    again: Callable[[Arguments], Arguments] = lambda arguments: arguments
    quick: bool = False
    steps: bool = False


def _two_folders(folder: Path) -> None:
    """Masks of two readers and of a model, of one case."""
    for name, count in (("a", 2), ("b", 3)):
        (folder / name).mkdir()
        masks = np.zeros((count, 6, 6), np.uint8)
        masks[:, 1:4, 1:5] = 1
        masks[0, 4] = 1
        np.savez(folder / name / "case.npz", masks=masks)


def _made(folder: Path, *, of: sound.Maker, first: Arguments) -> None:
    """Inputs, and what an earlier command made of them."""
    of(folder)
    run_here(folder, first)


def run_here(folder: Path, arguments: Arguments) -> None:
    """Run a command in this process, one that may fail in part."""
    os.environ["AMBISEG_MODELS"] = str(folder / "models")
    with contextlib.chdir(folder):
        try:
            command(*arguments)
        except Refused as error:
            if error.exit_code != PartialError.exit_code:
                raise


def over(of: sound.Maker, *first: str) -> sound.Maker:
    """Inputs with a former result."""
    return partial(_made, of=of, first=first)


def _scan(folder: Path) -> None:
    sound.untrained(folder / "run")
    sound.nifti("scan.nii.gz", folder)


def _predictions(folder: Path) -> None:
    _scan(folder)
    for name, seed in (("one", "1"), ("two", "2")):
        run_here(folder, [*PREDICT[:-1], name, "--seed", seed])


def _zipped_scan(folder: Path) -> None:
    sound.untrained(folder / "run")
    sound.scan_zip(sound.scan_nii, folder)


def _series(folder: Path) -> None:
    sound.untrained(folder / "run")
    sound.dicom(folder)


def _scans(folder: Path) -> None:
    sound.untrained(folder / "run")
    (folder / "scans").mkdir()
    for name in ("a", "b"):
        sound.nifti(f"{name}.nii.gz", folder / "scans")
    (folder / "scans" / "c.nii.gz").write_bytes(b"no scan")
    sound.table(folder / "points.csv", [["x", "y", "z", "scan"], *([6, 8, 2, name] for name in ("a", "b", "c"))])


def _cases(folder: Path) -> None:
    for name in ("a", "b", "c"):
        case = folder / "cases" / name
        case.mkdir(parents=True)
        sound.nifti("image.nii.gz", case)
        sound.nifti("reader_1.nii.gz", case, probability=True)
        for file in case.glob("reader*"):
            _to_mask(file)
    (folder / "cases" / "c" / "image.nii.gz").write_bytes(b"no image")


def _to_mask(file: Path) -> None:
    import nibabel as nib

    image = nib.load(file)
    mask = (np.asanyarray(image.dataobj) > 0.5).astype(np.uint8)  # type: ignore[attr-defined]
    nib.save(nib.Nifti1Image(mask, image.affine), file)  # type: ignore[attr-defined]


def _store_and_run(folder: Path, method: str = "probunet") -> None:
    sound.store(folder, crops=40)
    sound.untrained(folder / "run", method, of_scans=False)


def _store_and_teacher(folder: Path) -> None:
    sound.store(folder, crops=40)
    sound.untrained(folder / "teacher", of_scans=False)


def _cohort(folder: Path) -> None:
    from ambiseg.preprocessing.phantom import write_phantom

    write_phantom(folder / "cohort", 1, slices="nodules")


def _run_with_model(folder: Path) -> None:
    sound.model_zip(folder)
    shutil.rmtree(folder / "run")


def _resumed(arguments: Arguments) -> Arguments:
    """A training that stands is gone on with."""
    return RESUME if Path("run/run.json").is_file() else arguments


PREDICT = words("predict scan.nii.gz --model run --at=6,8,2 --voxel --draws 8 --top 2 -o out")
OBJECTS = words("--format dicom-sr --format dicom-pm --format dicom-sc --layout bids")
BATCH = words("predict scans --model run --points points.csv --voxel --draws 8 --top 1 --workers 1 -o out")
JOIN = words("predict --join out")
NIFTI = words("preprocess nifti cases --size 16 --workers 1 -o out")
PACKED = words("preprocess packed pack.npz -o out")
LIDC = words("preprocess lidc cohort --size 32 --workers 1 -o out")
FEW = words("-d store --samples 16 --limit 2")
EVALUATE = ["evaluate", "run", *FEW, "-o", "out"]
INSTALL = words("model install model.zip --overwrite")
EXPORT = words("model export run -o out.zip --overwrite")
COMPARE = words("compare one two -f ged16_v -o out")
GROWTH = words("growth one two --days 90 -o out")
AUDIT = words("audit t.csv -o out.csv")
RESUME = words("train --resume run")
TRAIN = [*words("train -d store -m probunet --preset demo --device cpu -o run"), *NARROW]
TAUGHT = [*TRAIN, *words("--teacher teacher --teacher-draws 2 --set teacher.other_data=true")]
GALLERY = words("gallery run -d store --images 2 -o out.png --overwrite")

WRITINGS: Sequence[Writing] = (
    Writing("predict", _scan, PREDICT, "out", whole=True),
    Writing("predict again", over(_scan, *PREDICT, "--seed", "1"), PREDICT, "out", whole=True),
    Writing("predict a zip", _zipped_scan, ["predict", "scan.zip", *PREDICT[2:]], "out", whole=True),
    Writing("predict a series to DICOM", _series, ["predict", "scan", *PREDICT[2:], *OBJECTS], "out", whole=True),
    Writing("predict a batch", _scans, BATCH, "out", steps=True),
    Writing("predict a part", _scans, [*BATCH, "--part", "1/2"], "out", steps=True),
    Writing("join a batch", over(_scans, *BATCH), JOIN, "out", quick=True),
    Writing("preprocess nifti", _cases, NIFTI, "out", whole=True, quick=True),
    Writing("preprocess nifti again", over(_cases, *NIFTI, "--seed", "1"), NIFTI, "out", whole=True, quick=True),
    Writing("preprocess packed", sound.packed_npz, PACKED, "out", whole=True, quick=True),
    Writing("preprocess packed again", over(sound.packed_npz, *PACKED, "--seed", "1"), PACKED, "out", whole=True, quick=True),
    Writing("preprocess lidc", _cohort, LIDC, "out", whole=True),
    Writing("phantom", lambda folder: None, words("phantom --patients 1 --slices nodules -o out"), "out"),
    Writing("train", sound.store, TRAIN, "run", again=_resumed, steps=True),
    Writing("train with a teacher", _store_and_teacher, TAUGHT, "run", again=_resumed, steps=True),
    Writing("train --resume", sound.stopped_run, RESUME, "run", steps=True),
    Writing("evaluate", _store_and_run, EVALUATE, "out"),
    Writing("evaluate again", over(_store_and_run, *EVALUATE, "--seed", "1"), EVALUATE, "out"),
    Writing("calibrate", _store_and_run, ["calibrate", "run", "--even-if-worse", *FEW], "run"),
    Writing("compare", sound.evaluations, COMPARE, "out"),
    Writing("compare again", over(sound.evaluations, *COMPARE, "--seed", "1"), COMPARE, "out"),
    Writing("growth", _predictions, GROWTH, "out"),
    Writing("audit", sound.published_table, AUDIT, "out.csv", whole=True, quick=True),
    Writing("audit again", over(sound.published_table, *AUDIT, "--decimals", "1"), AUDIT, "out.csv", whole=True, quick=True),
    Writing("model export", sound.calibrated_run, EXPORT, "out.zip", whole=True, quick=True),
    Writing("model export again", over(sound.calibrated_run, *EXPORT, "--version", "2"), EXPORT, "out.zip", whole=True,
            quick=True),
    Writing("model install", _run_with_model, INSTALL, "models/made", whole=True, quick=True),
    Writing("model install again", over(_run_with_model, *INSTALL), INSTALL, "models/made", whole=True, quick=True),
    Writing("gallery", partial(_store_and_run, method="mheads"), GALLERY, "out.png", whole=True),
    Writing("data export", sound.store, words("data export store --count 2 -o out.png"), "out.png", whole=True),
    Writing("data consensus", sound.store, words("data consensus store -o out"), "out", whole=True),
    Writing("data split", sound.store, words("data split store -o out"), "out", whole=True, quick=True),
    Writing("data folds", partial(sound.store, crops=24), words("data split store --folds 2 -o out"), "out", quick=True),
    Writing("data readers", sound.store, words("data readers store -o out"), "out"),
    Writing("score", _two_folders, words("score --readers a --masks b -o out"), "out"),
)  # fmt: skip


def told(file: Path) -> object:
    """What of a file is compared: all, but for what is allowed to differ from one time to the next."""
    content = file.read_bytes()
    try:
        if file.suffix == ".pt":  # the same tensors may lie in another order
            return _plain(torch.load(file, weights_only=True))
        if file.suffix == ".dcm":
            return _undated(pydicom.dcmread(file))
        if file.suffix == ".json":
            return _timeless(json.loads(content))
        if file.suffix == ".jsonl":
            return [_timeless(json.loads(line)) for line in content.splitlines()]
    except (ValueError, RuntimeError, EOFError, pickle.UnpicklingError, InvalidDicomError):
        pass  # half-written, so it equals nothing that was left alone
    return content


def _undated(dataset: Dataset) -> list[tuple[int, object]]:
    """All elements, at any depth, but UIDs, dates and times, which are new each time."""
    return [(each.tag, each.value) for each in dataset.iterall() if each.VR not in ("UI", "DA", "TM", "DT", "SQ")]


def _plain(value: object) -> object:
    """Tensors anywhere in a value as numbers."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


VOLATILE = {"finished", "seconds", "peak_memory_mb", "speed", "steps_per_second", "time", "stamp"}


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {key: _timeless(part) for key, part in value.items() if key not in VOLATILE}
    return value
