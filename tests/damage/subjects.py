"""What is damaged: for each format an intact input, the file to damage, and a reader that reads it as the commands do.

A reader runs in a folder with the input and returns what it understood as plain values. Its errors are judged elsewhere.
"""

import contextlib
import hashlib
import io
import os
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ambiseg.preprocessing.errors import AmbisegError

from . import damages, sound

Reader = Callable[[], Any]
CPU = torch.device("cpu")


class Refused(AmbisegError):
    """A command that left with an exit code of the table, and its sentence."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.exit_code = code


class CommandFailed(Exception):
    """A command that called its own error a bug in ambiseg."""


class Implausible(Exception):
    """What was accepted cannot be meant."""


@dataclass(frozen=True)
class Subject:
    """A format and one way in which it is read.

    file: pattern of the files of which one is damaged, in one of `kinds`; sealed: it carries a checksum or a hash, or the
    damage leaves no doubt, so that whatever is accepted must be what was written; share: how often it is tried, beside 1 for
    the usual and less for what takes long.
    """

    name: str
    make: sound.Maker
    file: str
    read: Reader
    kinds: Sequence[damages.Damage] = field(default=damages.BYTES)
    sealed: bool = False
    share: float = 1.0


def command(*arguments: str) -> str:
    """Run the command line in this process; what it printed to stdout, or why it left."""
    from ambiseg.main import main

    code: object = 0
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", how) for how in ("strict", "backslashreplace"))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(["--debug", "-q", *arguments])
        except SystemExit as leaving:
            code = leaving.code
    said = _text(err) + "".join(file.read_text() for file in Path().rglob("failures.csv"))
    if code not in range(7) or code == 1 or "bug in ambiseg" in said or "\x1b" in said:
        raise CommandFailed(said)
    if code:
        raise Refused(said.split("Error:")[-1].strip(), int(str(code)))
    return _text(out)


def _text(stream: io.TextIOWrapper) -> str:
    """What was written to a stream."""
    stream.seek(0)
    return stream.read()


# Images


def scan(name: str) -> Any:
    """A scan as `predict` reads it: its voxels and where they lie."""
    from ambiseg.preprocessing.scans.scan import open_scan

    with open_scan(Path(name)) as found:
        array, affine = found.volume.array, found.volume.affine
        if not (np.isfinite(affine).all() and min(found.volume.spacing_mm) > 0 and np.isfinite(array).all()):
            raise Implausible(f"affine {affine.tolist()}, values from {array.min()} to {array.max()}")
        return digest(array), affine.round(4).tolist()


def predicted(name: str) -> Any:
    """The masks that `predict` finds at a place of a scan."""
    model = sound.kept(_model) / "run"
    command("predict", name, "--model", str(model), "--at=6,8,2", "--voxel", "--draws", "8", "--top", "2", "-o", "out")
    return [digest(np.frombuffer(file.read_bytes(), np.uint8)) for file in sorted(Path("out").glob("hyp_*.nii.gz"))]


def _model(folder: Path) -> None:
    sound.untrained(folder / "run")


def _crop_model(folder: Path) -> None:
    sound.untrained(folder / "run", of_scans=False)


def class_probabilities(name: str) -> Any:
    """A segmenter's class probabilities of a scan."""
    from ambiseg.preprocessing.scans.class_probabilities import read_class_probabilities
    from ambiseg.preprocessing.scans.scan import open_scan

    with open_scan(Path("scan.nii")) as found:
        return digest(read_class_probabilities(Path(name), "the scan", found.volume, found.grid, 2))


def probabilities_nii(folder: Path) -> None:
    """A scan and its lesion's probability as NIfTI."""
    sound.nifti("scan.nii", folder)
    sound.nifti("probabilities.nii.gz", folder, probability=True)


# Stores and what they are made from


def opened_store() -> Any:
    """All that a store holds."""
    from ambiseg.preprocessing.store.store import Store

    store = Store.open(Path("store"))
    rows = np.concatenate([store.rows(split) for split in ("train", "val", "test")])
    odds = store.truth.probabilities(rows) if store.manifest.known_odds else np.zeros(1)
    columns = [store.column(name).tolist() for name in ("split", "patient", "readers")]
    return [digest(array) for array in (store.images(rows), store.masks(rows), odds, store.present)], columns


def drawn_crops() -> Any:
    """Images that a store draws for training."""
    from ambiseg.preprocessing.sources.papers.guessing_game import example_drawer
    from ambiseg.preprocessing.store.store import Store

    images, masks, odds = example_drawer(Store.open(Path("store")))(2, np.random.default_rng(0))
    return digest(images), digest(masks), odds.tolist()


def evaluated_store() -> Any:
    """The figures of a model on a store."""
    model = str(sound.kept(_crop_model) / "run")
    return command(
        *("evaluate", model, "-d", "store", "--no-report", "--samples", "16", "--limit", "2", "-o", "out", "--json")
    )


def digits() -> Any:
    """MNIST's files."""
    from ambiseg.preprocessing.sources.papers.mnist import read_idx

    return [digest(read_idx(file)) for file in sorted(Path().glob("*ubyte*"))]


def packed(name: str) -> Any:
    """The store that `preprocess packed` makes."""
    from ambiseg.preprocessing.store.store import Store

    command("preprocess", "packed", name, "-o", "out")
    return Store.open(Path("out")).content_hash


def part() -> Any:
    """The crops of a part of a stopped preprocessing."""
    from ambiseg.preprocessing.store.resume import load_notes, load_part

    load_notes(Path("part.npz"))
    crops = load_part(Path("part.npz"))
    return [(digest(crop.image), digest(crop.masks), crop.patient, crop.lesion) for crop in crops]


# Runs and models


def loaded(path: str = "run") -> Any:
    """A model that is ready to predict."""
    from ambiseg.models.runs.trained import load_trained

    trained = load_trained(Path(path), CPU)
    state = {name: tensor.numpy() for name, tensor in trained.method.state_dict().items()}
    if not all(np.isfinite(array).all() for array in state.values()):
        raise Implausible("weights that are not finite")
    return [digest(array) for array in state.values()], trained.record.model_dump(), trained.calibration


def log() -> Any:
    """A run's log as a resumed training reads and cuts it."""
    from ambiseg.models.runs.run_folder import Run

    run = Run.open(Path("run"))
    run.cut_log(2)
    return run.read_log()


def checkpoint() -> Any:
    """The state of a stopped training."""
    from ambiseg.models.runs.run_folder import Run
    from ambiseg.models.training.checkpoint import initial_state
    from ambiseg.preprocessing.store.store import Store

    run = Run.open(Path("run"))
    state = initial_state(run.record.config, Store.open(Path("store")), CPU)
    state.load(run.checkpoint, CPU)
    return (
        [digest(tensor.numpy()) for tensor in state.method.state_dict().values()],
        state.step,
        state.best,
        state.stale,
    )


def resumed() -> Any:
    """The weights of a stopped training that goes on."""
    command("train", "--resume", "run", "--device", "cpu")
    return Path("run/model.safetensors").read_bytes()


def installed(zipped: str) -> Any:
    """What is installed of a model's zip."""
    from ambiseg.models.bundle import install_model

    with models("here"):
        folder = install_model(Path(zipped))
        return {file.name: digest(np.frombuffer(file.read_bytes(), np.uint8)) for file in sorted(folder.iterdir())}


def found_model() -> Any:
    """An installed model that is ready to predict, by its name."""
    from ambiseg.models.bundle import find_model

    with models("models"):
        return loaded(str(find_model("made")))


def with_models(*arguments: str) -> Any:
    """What a command says of installed models."""
    with models("models"):
        return command(*arguments)


@contextlib.contextmanager
def models(folder: str) -> Any:
    """Models are installed in a folder, as long as the block lasts."""
    os.environ["AMBISEG_MODELS"] = str(Path(folder).absolute())
    yield


def batch_folder(folder: Path) -> None:
    """A folder of two scans and that of their finished batch."""
    (folder / "scans").mkdir()
    for name in ("a", "b"):
        sound.nifti(f"{name}.nii.gz", folder / "scans")
    points = [["x", "y", "z", "scan"], *([6, 8, 2, name] for name in ("a", "b"))]
    sound.table(folder / "points.csv", points)
    with contextlib.chdir(folder):
        batch()


def batch() -> Any:
    """What a batch says that was finished before."""
    model = sound.kept(_model) / "run"
    asked = ("--points", "points.csv", "--voxel", "--draws", "8", "--top", "2", "-o", "out", "--json")
    command("predict", "scans", "--model", str(model), *asked)
    return sorted(file.name for file in Path("out").rglob("hyp_*.nii.gz"))


# Tables, settings, results


def splits() -> Any:
    """Splits by patient."""
    from ambiseg.preprocessing.store.splits import read_splits

    return read_splits(Path("t.csv"))


def points() -> Any:
    """Places in a scan."""
    from ambiseg.preprocessing.scans.point_files import read_points

    found = read_points(Path("t.csv"), ["scan"])
    if not np.isfinite([point for point, _ in found]).all():
        raise Implausible("places that are not finite")
    return found


def cases() -> Any:
    """Cases of images with readers' masks."""
    from ambiseg.preprocessing.sources.nifti.nifti_cases import find_cases

    return find_cases(Path("t.csv"))


def config() -> Any:
    """Settings of a training."""
    from ambiseg.models.runs.config import make_config

    return make_config("probunet", "demo", Path("c.toml")).model_dump()


def setting(folder: Path) -> None:
    """One --set of a command line, in a file."""
    (folder / "set.txt").write_text("optimiser.milestones=[[0.5, 0.1], [0.75, 0.01]]")


def one_setting() -> Any:
    """What --set sets, of any bytes that a command line can hold."""
    text = os.fsdecode(Path("set.txt").read_bytes().replace(b"\0", b""))
    return command("train", "-m", "probunet", "--preset", "demo", "--set", text, "--print-config")


def evaluations() -> Any:
    """The stored evaluations of two runs, compared."""
    from ambiseg.models.comparison.compare_runs import compare
    from ambiseg.models.evaluation.stored import read_evaluations

    found = read_evaluations([Path("one"), Path("two")], "test")
    return repr(compare(found, ["ged16_v"]))


def evaluated_run(folder: Path) -> None:
    """A run with all that an export says of it: its evaluation, its calibration and how that was checked."""
    sound.store(folder, crops=40)
    _crop_model(folder)
    with contextlib.chdir(folder):
        few = ("-d", "store", "--limit", "2", "--samples", "16")
        command("calibrate", "run", "--even-if-worse", *few)
        command("evaluate", "run", "--no-report", *few)


def exported() -> Any:
    """The zip of a model."""
    command("model", "export", "run", "-o", "out.zip")
    return digest(np.frombuffer(Path("out.zip").read_bytes(), np.uint8))


def phantom(folder: Path) -> None:
    """What a finished simulation leaves to know it by."""
    from ambiseg.preprocessing.phantom import write_phantom

    write_phantom(folder / "cohort", 1, slices="nodules")
    for file in (folder / "cohort").rglob("*.dcm"):
        file.unlink()


def simulated() -> Any:
    """What the simulation says that was finished before."""
    return command("phantom", "-o", "cohort", "--patients", "1", "--slices", "nodules", "--json")


def digest(array: Any) -> str:
    """Type, shape and content of an array, in short."""
    array = np.ascontiguousarray(array)
    return f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()[:16]}"


# Damage that leaves no doubt


def after(mark: bytes, *kinds: damages.Damage) -> Sequence[damages.Damage]:
    """Damage behind a header that ends with `mark`."""

    def within(kind: damages.Damage, content: bytes, rng: random.Random) -> damages.Damaged:
        begin = content.index(mark) + len(mark)
        changed, what = kind(content[begin:], rng)
        return content[:begin] + changed, f"behind the header: {what}"

    return tuple(partial(within, kind) for kind in kinds)


def cut_voxels(content: bytes, rng: random.Random) -> damages.Damaged:
    """The last voxels are missing."""
    missing = rng.choice((1, 2, 17, 300))
    return content[:-missing], f"the last {missing} bytes are missing"


def no_spacing(content: bytes, rng: random.Random) -> damages.Damaged:
    """The voxels' size is no number, zero, or endless."""
    lines = re.compile(rb"^(space directions:|ElementSpacing =)(.*)$", re.MULTILINE)
    wrong = rng.choice((b"nan", b"0", b"inf", b"abc", b"1e400"))
    found = lines.search(content)
    assert found is not None
    numbers = re.sub(rb"0\.6\d+|0\.7\d*|1\.5\d*|1\.4\d+", wrong, found[2])
    return content[: found.start(2)] + numbers + content[found.end(2) :], f"spacing {wrong.decode()}"


nrrd, mha = partial(sound.itk, "scan.nrrd"), partial(sound.itk, "scan.mha")
NRRD, META = b"\n\n", b"ElementDataFile = LOCAL\n"
nrrd_gz = partial(sound.itk, "scan.nrrd", compressed=True)
mha_gz = partial(sound.itk, "scan.mha", compressed=True)

SUBJECTS: Sequence[Subject] = (
    Subject("NIfTI", sound.scan_nii, "scan.nii", partial(scan, "scan.nii"), damages.NIFTI, share=1.5),
    Subject("NIfTI cut short", sound.scan_nii, "scan.nii", partial(scan, "scan.nii"), (cut_voxels,), True, 0.3),
    Subject("NIfTI by gzip", sound.scan_nii_gz, "scan.nii.gz", partial(scan, "scan.nii.gz"), sealed=True, share=2),
    Subject("NIfTI header in gzip", sound.scan_nii_gz, "scan.nii.gz", partial(scan, "scan.nii.gz"), (damages.within_gzip,)),
    Subject("NRRD", nrrd, "scan.nrrd", partial(scan, "scan.nrrd"), damages.HEADER),
    Subject("NRRD spacing", nrrd, "scan.nrrd", partial(scan, "scan.nrrd"), (no_spacing,), True, 0.3),
    Subject("NRRD cut short", nrrd, "scan.nrrd", partial(scan, "scan.nrrd"), (cut_voxels,), True, 0.3),
    Subject("NRRD by gzip, header", nrrd_gz, "scan.nrrd", partial(scan, "scan.nrrd"), (damages.header_line,)),
    Subject("NRRD by gzip, data", nrrd_gz, "scan.nrrd", partial(scan, "scan.nrrd"), after(NRRD, *damages.BYTES), True),
    Subject("NHDR", partial(sound.itk, "scan.nhdr"), "scan.nhdr", partial(scan, "scan.nhdr"), damages.HEADER),
    Subject("NHDR, data", partial(sound.itk, "scan.nhdr"), "scan.raw", partial(scan, "scan.nhdr")),
    Subject("MHA", mha, "scan.mha", partial(scan, "scan.mha"), damages.HEADER),
    Subject("MHA spacing", mha, "scan.mha", partial(scan, "scan.mha"), (no_spacing,), True, 0.3),
    Subject("MHA cut short", mha, "scan.mha", partial(scan, "scan.mha"), (cut_voxels,), True, 0.3),
    Subject("MHA by zlib, header", mha_gz, "scan.mha", partial(scan, "scan.mha"), (damages.header_line,)),
    Subject("MHA by zlib, data", mha_gz, "scan.mha", partial(scan, "scan.mha"), after(META, *damages.BYTES), True),
    Subject("MHD", partial(sound.itk, "scan.mhd"), "scan.mhd", partial(scan, "scan.mhd"), damages.HEADER),
    Subject("MHD, data", partial(sound.itk, "scan.mhd"), "scan.raw", partial(scan, "scan.mhd")),
    Subject("DICOM", sound.dicom, "scan/*.dcm", partial(scan, "scan"), damages.DICOM, share=2),
    Subject("DICOM cut short", sound.dicom, "scan/*.dcm", partial(scan, "scan"), (cut_voxels,), True, 0.3),
    Subject("zip of NIfTI", partial(sound.scan_zip, sound.scan_nii), "scan.zip", partial(scan, "scan.zip"), sealed=True),
    Subject("zip of DICOM", partial(sound.scan_zip, sound.dicom), "scan.zip", partial(scan, "scan.zip"), sealed=True),
    Subject("predict NIfTI", sound.scan_nii, "scan.nii", partial(predicted, "scan.nii"), damages.NIFTI, share=0.1),
    Subject("predict MHA", mha, "scan.mha", partial(predicted, "scan.mha"), damages.HEADER, share=0.1),
    Subject("predict DICOM", sound.dicom, "scan/*.dcm", partial(predicted, "scan"), damages.DICOM, share=0.1),
    Subject("class probabilities, npz", sound.probabilities_npz, "probabilities.npz",
            partial(class_probabilities, "probabilities.npz"), sealed=True),
    Subject("class probabilities, NIfTI", probabilities_nii, "probabilities.nii.gz",
            partial(class_probabilities, "probabilities.nii.gz"), damages.BYTES, True),
    Subject("store manifest", sound.store, "store/manifest.json", opened_store, damages.JSON, share=2),
    Subject("store index", sound.store, "store/index.csv", opened_store, damages.TEXT, True),
    Subject("store shards", sound.store, "store/*.npy", opened_store, sealed=True),
    Subject("store of odds", partial(sound.store, readers=None), "store/*.[cn][sp][vy]", opened_store, sealed=True),
    Subject("store bank", sound.drawn_store, "store/bank.npz", drawn_crops, sealed=True, share=0.2),
    Subject("data info", sound.store, "store/manifest.json", partial(command, "data", "info", "store", "--json"),
            damages.JSON, share=0.5),
    Subject("data info, index", sound.store, "store/index.csv", partial(command, "data", "info", "store", "--json"),
            damages.TEXT, True, 0.5),
    Subject("data verify", sound.store, "store/[im]*", partial(command, "data", "verify", "store"), share=0.5),
    Subject("evaluate, manifest", sound.store, "store/manifest.json", evaluated_store, damages.JSON, share=0.3),
    Subject("evaluate, index", sound.store, "store/index.csv", evaluated_store, damages.TEXT, True, 0.2),
    Subject("evaluate, shards", sound.store, "store/*.npy", evaluated_store, sealed=True, share=0.2),
    Subject("MNIST", sound.idx, "*ubyte", digits, share=0.5),
    Subject("MNIST by gzip", partial(sound.idx, suffix=".gz"), "*ubyte.gz", digits, sealed=True, share=0.5),
    Subject("packed npz", sound.packed_npz, "pack.npz", partial(packed, "pack.npz"), sealed=True),
    Subject("packed PNG", sound.packed_png, "pack/*/*.png", partial(packed, "pack"), sealed=True),
    Subject("packed patients", sound.packed_png, "pack/patients.csv", partial(packed, "pack"), damages.TEXT, share=0.5),
    Subject("kept part", sound.part, "part.npz", part, sealed=True),
    Subject("run.json", sound.calibrated_run, "run/run.json", loaded, damages.JSON, share=2),
    Subject("weights, calibrated", sound.calibrated_run, "run/model.safetensors", loaded, sealed=True),
    Subject("weights", _model, "run/model.safetensors", loaded),
    Subject("calibration", sound.calibrated_run, "run/calibration.json", loaded, damages.JSON),
    Subject("metrics log", sound.stopped_run, "run/metrics.jsonl", log, damages.JSON_LINES),
    Subject("checkpoint", sound.stopped_run, "run/checkpoint.pt", checkpoint, sealed=True),
    Subject("train --resume", sound.stopped_run, "run/*.*", resumed, share=0.1),
    Subject("model zip", sound.model_zip, "model.zip", partial(installed, "model.zip"), sealed=True, share=2),
    Subject("installed model", sound.installed_model, "models/made/*", found_model, sealed=True, share=2),
    Subject("installed model, no calibration", partial(sound.installed_model, calibrated=False), "models/made/*", found_model,
            sealed=True),
    Subject("model list", sound.installed_model, "models/made/metadata.json", partial(with_models, "model", "list", "--json"),
            damages.JSON),
    Subject("model verify", sound.installed_model, "models/made/*", partial(with_models, "model", "verify", "made"),
            sealed=True, share=0.5),
    Subject("model export", evaluated_run, "run/**/*.[jc]s*", exported, damages.TEXT, share=0.3),
    Subject("batch record", batch_folder, "out/batch.json", batch, damages.JSON, share=0.3),
    Subject("batch points", batch_folder, "points.csv", batch, damages.TEXT, share=0.1),
    Subject("splits", sound.split_table, "t.csv", splits, damages.TEXT),
    Subject("points", sound.points_table, "t.csv", points, damages.TEXT),
    Subject("points of LUNA16", sound.luna_table, "t.csv", points, damages.TEXT),
    Subject("cases", sound.cases_table, "t.csv", cases, damages.TEXT),
    Subject("published", sound.published_table, "t.csv", partial(command, "audit", "t.csv", "--json"), damages.TEXT, share=2),
    Subject("settings", sound.settings, "c.toml", config, damages.TOML, share=2),
    Subject("--set", setting, "set.txt", one_setting, (*damages.TOML, *damages.BYTES)),
    Subject("stored evaluation", sound.evaluations, "*/*/summary.json", evaluations, damages.JSON),
    Subject("stored cases", sound.evaluations, "*/*/cases.csv", evaluations, damages.TEXT),
    Subject("phantom", phantom, "cohort/phantom.json", simulated, damages.JSON, share=0.3),
)  # fmt: skip
