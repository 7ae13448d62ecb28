"""Small intact inputs in every format that the commands read; each function fills an existing empty folder."""

import csv
import gzip
import shutil
import zipfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir, mkdtemp
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from ambiseg.models.bundle import export_model
from ambiseg.models.core.calibration import Calibration, Reweighting
from ambiseg.models.core.lesion_slices import Extent
from ambiseg.models.evaluation.summary_document import EvaluationSummary
from ambiseg.models.methods.registry import build
from ambiseg.models.metrics.catalogue import CASE_MEASURES
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import DataRecord, RunRecord
from ambiseg.preprocessing.files import sha256
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.sources.papers.mnist_guess_store import preprocess_mnist_guess
from ambiseg.preprocessing.store.resume import save_part
from ambiseg.preprocessing.store.store_crop import Crop

SETTINGS = """\
steps = 200
batch = 8
seed = 3

[options]
widths = [6, 8]
convs = 1

[data]
crop = 16
window = [-1000, 400]

[optimiser]
learning_rate = 3e-4
betas = [0.9, 0.99]
schedule = "steps"
milestones = [[0.5, 0.1]]

[validation]
monitor = "ged"

[for.probunet]
steps = 100
"""
Maker = Callable[[Path], None]
PLACE = gettempdir()  # of inputs that are kept, whatever the folder for temporary files is later
SHAPE = (12, 16, 5)  # of scans: x, y, z
SIZE = 16  # of crops in pixels
NARROW = ["data.crop=16", "options.widths=[6,8]", "options.convs=1", "hardware.precision=float32"]
TRAINING = [*NARROW, "steps=4", "batch=2", "validation.every=2", "validation.limit=2"]


def draw_nothing() -> None:
    """Have figures leave a word for a picture in this process: drawing takes most of the time, and reads and writes nothing."""
    Figure.savefig = _drawn  # type: ignore[assignment]


def _drawn(figure: Figure, target: Any, **choice: object) -> None:
    if isinstance(target, str | Path):
        Path(target).write_bytes(b"drawn")
    else:
        target.write(b"drawn")


def voxels() -> NDArray[np.int16]:
    """A scan of HU by x, y, z: a bright ball on noise."""
    distance = np.linalg.norm(np.indices(SHAPE) - np.array([6, 8, 2])[:, None, None, None], axis=0)
    return np.where(distance < 3, 40, np.random.default_rng(0).integers(-900, -800, SHAPE)).astype(np.int16)


# Images


def nifti(name: str, folder: Path, *, probability: bool = False) -> None:
    """A NIfTI scan of .7 x .7 x 1.5 mm, or the class probabilities of one."""
    array = (voxels() > 0).astype(np.float32) * 0.75 if probability else voxels()
    image = nib.Nifti1Image(array, np.diag([-0.7, -0.7, 1.5, 1]))
    image.header.set_xyzt_units("mm")
    nib.save(image, folder / name)


def itk(name: str, folder: Path, *, compressed: bool = False) -> None:
    """A scan as NRRD or MetaImage, with its voxels inside or beside it."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels().T))
    image.SetSpacing((0.7, 0.7, 1.5))
    image.SetOrigin((-10.0, 20.5, 3.0))
    sitk.WriteImage(image, str(folder / name), compressed)


def dicom(folder: Path) -> None:
    """A CT series of five slices in the folder `scan`."""
    (folder / "scan").mkdir()
    for number, plane in enumerate(voxels().T):
        _slice(number, plane).save_as(folder / "scan" / f"{number:03d}.dcm", enforce_file_format=True)


def _slice(number: int, plane: NDArray[np.int16]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"1.2.826.0.1.3680043.8.498.1.{number + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2", "1.2.826.0.1.3680043.8.498.3"
    dataset.Modality, dataset.PatientID, dataset.PatientName = "CT", "made", "Made^Up"
    dataset.SeriesNumber, dataset.InstanceNumber = 2, number + 1
    dataset.ImagePositionPatient = [-10.0, 20.5, 1.5 * number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.7, 0.7], 1.5
    dataset.Rows, dataset.Columns = plane.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.PixelData = plane.astype("<i2").tobytes()
    return dataset


def scan_zip(of: Maker, folder: Path) -> None:
    """A zip of one scan, as `of` makes it."""
    inner = folder / "inner"
    inner.mkdir()
    of(inner)
    with zipfile.ZipFile(folder / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in inner.rglob("*") if file.is_file()):
            archive.write(file, file.relative_to(inner))
    shutil.rmtree(inner)


def probabilities_npz(folder: Path) -> None:
    """A segmenter's class probabilities of the scan, as nnU-Net stores them, beside it."""
    nifti("scan.nii", folder)
    lesion = np.where(voxels().T > 0, 0.75, 0.125).astype(np.float32)
    np.savez_compressed(folder / "probabilities.npz", probabilities=np.stack([1 - lesion, lesion]))


# Stores and what they are made from


def store(folder: Path, *, crops: int = 12, readers: int | None = 4) -> None:
    """A dataset store of synthetic lesions, with readers' masks or with all masks and their probabilities."""
    write_known_truth(folder / "store", crops=crops, size=SIZE, readers=readers)


def idx(folder: Path, suffix: str = "") -> None:
    """The four files of MNIST, of a few made digits."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 60), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            head = bytes((0, 0, 8, array.ndim)) + b"".join(length.to_bytes(4, "big") for length in array.shape)
            content = head + array.tobytes()
            (folder / f"{name}{suffix}").write_bytes(gzip.compress(content, mtime=0) if suffix else content)


def drawn_store(folder: Path) -> None:
    """A store whose training images are drawn anew from a pool."""
    with TemporaryDirectory() as digits:
        idx(Path(digits))
        preprocess_mnist_guess(Path(digits), folder / "store", val=2, test=2)


def packed_npz(folder: Path) -> None:
    """Cut crops of three readers in an npz file."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 8, 8)).astype(np.uint8)
    masks = (rng.random((6, 3, 8, 8)) > 0.6).astype(np.uint8)
    np.savez_compressed(
        folder / "pack.npz", images=images, masks=masks, patient=np.array(["a", "a", "b", "b", "c", "c"])
    )


def packed_png(folder: Path) -> None:
    """Cut crops of two readers in folders of PNG files, with a table of patients."""
    rng = np.random.default_rng(0)
    for kind, top in (("images", 256), ("mask-0", 2), ("mask-1", 2)):
        (folder / "pack" / kind).mkdir(parents=True)
        for number in range(4):
            array = rng.integers(0, top, (8, 8)).astype(np.uint8)
            Image.fromarray(array).save(folder / "pack" / kind / f"crop-{number}.png")
    rows = [["file", "patient"], *([f"crop-{number}.png", f"p{number // 2}"] for number in range(4))]
    table(folder / "pack" / "patients.csv", rows)


def part(folder: Path) -> None:
    """The crops of a case that a stopped preprocessing keeps."""
    image = np.random.default_rng(0).integers(-900, 200, (1, 8, 8)).astype(np.int16)
    masks = np.random.default_rng(1).integers(0, 2, (4, 8, 8)).astype(np.uint8)
    crops = [Crop(image=image, masks=masks, patient="p", case="c", lesion=str(number)) for number in range(3)]
    save_part(folder / "part.npz", crops, {"empty": 0, "synthetic": False})


# Runs and models


def untrained(path: Path, method: str = "probunet", *, of_scans: bool = True) -> Run:
    """The run of a narrow model with random weights, of scans in HU or of the crops that `store` makes."""
    config = make_config(method, "known-truth", None, NARROW)
    range_of = {"unit": "HU", "low": -1024, "high": 3071} if of_scans else {"unit": "relative", "low": 0, "high": 1}
    record = DataRecord(
        path="store", name="made", content_hash="d" * 64, channels=1, class_names=("background", "lesion"),
        spacing_mm=0.5 if of_scans else None, **range_of,
    )  # fmt: skip
    about = RunRecord(version="0.1.0", torch=torch.__version__, device="cpu", config=config, data=record)
    run = Run.create(path, about)
    torch.manual_seed(0)
    run.save_weights(build(method, 1, 2, config.options), 0)
    return run


def calibrated_run(folder: Path, *, calibrated: bool = True) -> None:
    """A run with a calibration of its weights, or without."""
    run = untrained(folder / "run")
    if calibrated:
        calibration().model_copy(update={"weights_hash": sha256(run.weights)}).write(run.path)


def calibration() -> Calibration:
    """Numbers as `ambiseg calibrate` finds them."""
    return Calibration(
        slices=Reweighting(presence_shift=0.25), lesions=Reweighting(size_sharpness=1.5), samples=256, seed=0, split="val",
        extent=Extent(intercept=2.5, slope=1.5, peak=0.5, among=4), data_hash="d" * 64,
        weights_hash="f" * 64,
    )  # fmt: skip


def stopped_run(folder: Path) -> None:
    """A store, and a run on it that was stopped half way: with a checkpoint, a log, and weights."""
    from ambiseg.models.training.loop import BudgetSpent, train
    from ambiseg.preprocessing.store.store import Store

    store(folder)
    opened = Store.open(folder / "store")
    config = make_config("probunet", "demo", None, TRAINING)
    record = RunRecord.of(config, opened, "cpu")
    here = record.model_copy(update={"data": record.data.model_copy(update={"path": "store"})})
    steps = iter((False, False, True))
    try:
        train(Run.create(folder / "run", here), opened, torch.device("cpu"), enough=lambda: next(steps, True))
    except BudgetSpent:
        return
    raise AssertionError("the training was not stopped")


def model_zip(folder: Path, *, calibrated: bool = True) -> None:
    """A model as it is shared."""
    calibrated_run(folder, calibrated=calibrated)
    export_model(folder / "run", folder / "model.zip", name="made", authors="nobody", licence="CC-BY-4.0")


def installed_model(folder: Path, *, calibrated: bool = True) -> None:
    """An installed model: what the zip holds, unpacked."""
    model_zip(folder, calibrated=calibrated)
    with zipfile.ZipFile(folder / "model.zip") as archive:
        archive.extractall(folder / "models")
    (folder / "model.zip").unlink()


# Tables and documents


def table(path: Path, rows: Sequence[Any]) -> None:
    """A CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def split_table(folder: Path) -> None:
    """Splits by patient."""
    table(folder / "t.csv", [["patient", "split"], *([f"p{n}", ("train", "val", "test")[n % 3]] for n in range(6))])


def points_table(folder: Path) -> None:
    """Places in a scan, in mm."""
    table(folder / "t.csv", [["x", "y", "z", "name"], [4.25, 5.6, 3, "a"], [2.8, 4.2, 1.5, "b"], [-1e-1, 0, 1, "c"]])


def luna_table(folder: Path) -> None:
    """Places in a scan, as LUNA16 gives them."""
    rows = [["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"], ["1.2.3", -4.25, -5.6, 3, 4.5]]
    table(folder / "t.csv", rows)


def cases_table(folder: Path) -> None:
    """Images with readers' masks, as `preprocess nifti` reads them."""
    for name in ("image.nii.gz", "mask1.nii.gz", "mask2.nii.gz"):
        nifti(name, folder)
    head = ["case", "patient", "image", "mask_1", "mask_2"]
    rows = [[f"c{n}", f"p{n}", "image.nii.gz", "mask1.nii.gz", "mask2.nii.gz"] for n in range(3)]
    table(folder / "t.csv", [head, *rows])


def published_table(folder: Path) -> None:
    """Published energy distances."""
    head = ["method", "ged16", "ged50", "ged100", "readers", "reader_diversity", "diversity"]
    rows = [["ours", ".30", ".275", "0.269", 4, 0.25, ""], ["theirs", 0.287, "-", 0.252, "", "", 0.4]]
    table(folder / "t.csv", [head, *rows])


def settings(folder: Path) -> None:
    """Settings of a training as people write them."""
    (folder / "c.toml").write_text(SETTINGS)


def evaluations(folder: Path) -> None:
    """The stored evaluations of two runs."""
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        place = folder / name / "evaluation-test"
        place.mkdir(parents=True)
        about = {
            "ambiseg": "0.4.0", "run": name, "method": "probunet", "weights_hash": "f" * 64, "calibrated": None,
            "trained_on": "d" * 64, "data": "made", "data_hash": "d" * 64, "split": "test", "cases": 8, "crop": [16, 16],
            "spacing_mm": 0.5, "known_odds": False, "scored": None, "samples": 100, "seed": 0, "weights": "draws",
            "estimators": {"ged*_v": "squared GED, V-statistic"}, "floor": {"ged16_v": 0.1},
        }  # fmt: skip
        EvaluationSummary.model_validate(about).write(place)
        measures = list(CASE_MEASURES)[:6]
        rows = [[row, f"p{row // 2}", *(f"{value:.6f}" for value in rng.random(len(measures)))] for row in range(8)]
        table(place / "cases.csv", [["row", "patient", *measures], *rows])


@cache
def kept(make: Maker) -> Path:
    """A folder with a sound input, made once a process and its children."""
    folder = Path(mkdtemp(dir=PLACE, prefix="sound-"))
    make(folder)
    return folder


scan_nii = partial(nifti, "scan.nii")
scan_nii_gz = partial(nifti, "scan.nii.gz")
