"""Every command that writes, on a real but small disk: one correct sentence, nothing half-written, and it can be repeated.

The disk is a tmpfs. Where none can be mounted, these tests are skipped, and those with a patched error number remain.
"""

import gc
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ambiseg.models.bundle import export_model
from ambiseg.preprocessing.store.store import Store

pytestmark = pytest.mark.drawn

Command = Callable[..., tuple[int, str, str]]
PAGE, FILLER = 4096, "filler"
ROOMY = 2**28
SHARES = (0.0, 0.7)  # of what a command writes, that there is room for
TINY = ("--preset", "demo", "--set", "data.crop=16", "--set", "options.widths=[4,8]", "--set", "validation.limit=4")


class Disk:
    """A small file system of its own, empty at first."""

    def __init__(self, place: Path):
        self.place = place

    def mount(self, size: int) -> None:
        """Mount it with room for so many bytes, rounded down to whole pages; none at all cannot be had, so a page is filled."""
        how = ["mount", "-t", "tmpfs", "-o", f"size={(size // PAGE + 1) * PAGE}", "none", self.place]
        if subprocess.run(how, capture_output=True).returncode:
            pytest.skip("no file system may be mounted here")
        (self.place / FILLER).write_bytes(bytes(PAGE))

    def grow(self) -> None:
        subprocess.run(["mount", "-o", f"remount,size={ROOMY}", self.place], check=True)

    def unmount(self) -> None:
        gc.collect()  # of files that the traceback of an error still holds open
        subprocess.run(["umount", self.place], check=True)

    def used(self) -> int:
        """How much of it the files take but the filling page."""
        return shutil.disk_usage(self.place).used - PAGE

    def files(self) -> dict[str, int]:
        """What lies on it, by name, and how much of it a file takes."""
        found = (path for path in self.place.rglob("*") if path.is_file() and path.name != FILLER)
        return {str(path.relative_to(self.place)): path.stat().st_size for path in found}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    yield Disk(place)
    while place.is_mount():
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def inputs(tmp_path: Path, made_run: Callable[..., Path], known_truth: Store) -> dict[str, Any]:
    """What the commands read; none of it lies on the small disk."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 32, 32)).astype(np.uint8)
    masks = np.zeros((40, 4, 32, 32), np.uint8)
    masks[:, :, 10:20, 10:20] = 1
    np.savez(tmp_path / "crops.npz", images=images, masks=masks)
    (tmp_path / "published.csv").write_text("method,ged16,ged100\nours,.3,.25\n")
    run = made_run(data=known_truth)
    export_model(run, tmp_path / "model.zip")
    scans = tmp_path / "scans"
    scans.mkdir()
    scan = nib.Nifti1Image(rng.normal(-600, 100, (24, 24, 6)).astype(np.float32), np.diag([0.5, 0.5, 1.0, 1.0]))
    for name in ("first", "second"):
        nib.save(scan, scans / f"{name}.nii.gz")
    case = tmp_path / "cases" / "one"
    case.mkdir(parents=True)
    nib.save(scan, case / "image.nii.gz")
    lesion = np.zeros(scan.shape, np.uint8)
    lesion[8:14, 8:14, 2:4] = 1
    nib.save(nib.Nifti1Image(lesion, scan.affine), case / "reader_1.nii.gz")
    codes = made_run("modal", {"latent_widths": [8], "codes": 4, "code_dim": 4}, name="codes", data=known_truth)
    return {"IN": tmp_path, "RUN": run, "CODES": codes, "STORE": known_truth.path}


COMMANDS = {  # what is to be done before, then the command that writes on the small disk
    "phantom": "phantom --patients 2 --slices nodules --workers 2 -o DISK/cohort",
    "packed": "preprocess packed IN/crops.npz -o DISK/store",
    "evaluate": "evaluate RUN -d STORE --limit 3 --samples 16 -o DISK/evaluation",
    "numbers": "evaluate RUN -d STORE --limit 3 --samples 16 --no-report --parquet -o DISK/evaluation",
    "audit": "audit IN/published.csv -o DISK/audit.csv",
    "gallery": "gallery CODES -d STORE -o DISK/gallery.png",
    "split": "data split STORE -o DISK/split",
    "mosaic": "data export STORE -o DISK/mosaic.png",
    "export": "model export RUN -o DISK/model.zip",
    "install": "model install IN/model.zip",
    "onnx": "model onnx RUN -o DISK/onnx",
    "predict": "predict IN/scans/first.nii.gz --model RUN --draws 16 -o DISK/prediction",
    "points": "predict IN/scans/first.nii.gz --model RUN --draws 16 --at=12,12,3 --voxel --format seg-nrrd -o DISK/prediction",
    "compare": "evaluate CODES -d STORE --limit 3 --samples 16 --no-report"
    " && evaluate RUN -d STORE --limit 3 --samples 16 --no-report"
    " && compare CODES RUN -o DISK/comparison",
    "nifti": "preprocess nifti IN/cases --size 16 -o DISK/store",
}


def words(command: str, disk: Disk, inputs: dict[str, Any]) -> list[str]:
    for name, value in {**inputs, "DISK": disk.place}.items():
        command = command.replace(name, str(value))
    return command.split()


def every_command() -> list:
    """All of them; those that only write as others do, or take long, are tried with the exhaustive tests."""
    rare = ("phantom", "numbers", "gallery", "onnx", "points", "compare")
    return [pytest.param(name, marks=[pytest.mark.exhaustive] * (name in rare)) for name in COMMANDS]


@pytest.mark.slow
@pytest.mark.parametrize("name", every_command())
def test_a_disk_that_fills_up_is_said_truly(
    ambiseg: Command, disk: Disk, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("AMBISEG_MODELS", str(disk.place / "models"))
    *before, arguments = (words(command, disk, inputs) for command in COMMANDS[name].split(" && "))
    for preparation in before:
        assert ambiseg("-q", *preparation)[0] == 0
    disk.mount(ROOMY)
    code, _, err = ambiseg("-q", *arguments)
    assert code == 0, err
    whole, needed = disk.files(), disk.used()
    disk.unmount()
    for share in SHARES:
        disk.mount(int(share * needed))
        code, _, err = ambiseg("-q", *arguments)
        left = disk.files()
        assert code == 6, (share, err)
        assert err.startswith("Error: No room left on the disk"), (share, err)
        assert err.count("\n") == 1, err
        assert "nothing half-written" in err
        assert {file: size for file, size in left.items() if whole.get(file) != size} == {}, (share, left, whole)
        if share == SHARES[-1]:
            disk.grow()
            code, _, err = ambiseg("-q", *arguments)
            assert code == 0, err
            assert disk.files().keys() == whole.keys()
        disk.unmount()


@pytest.mark.slow
def test_training_on_a_full_disk_goes_on_as_it_says(
    ambiseg: Command, disk: Disk, known_truth: Store, tmp_path: Path
) -> None:
    arguments = ("train", "-d", known_truth.path, *TINY, "--steps", "6", "--set", "validation.every=3")
    disk.mount(ROOMY)
    code, _, err = ambiseg("-q", *arguments, "-o", disk.place / "run")
    assert code == 0, err
    whole, needed = disk.files(), disk.used()
    weights = (disk.place / "run" / "model.safetensors").read_bytes()
    disk.unmount()
    for share in SHARES:
        disk.mount(int(share * needed))
        code, _, err = ambiseg("-q", *arguments, "-o", disk.place / "run")
        assert code == 6, (share, err)
        assert err.startswith("Error: No room left on the disk"), err
        disk.grow()
        if "--resume" in err:
            code, _, err = ambiseg("-q", *err.rstrip(".\n").rpartition("ambiseg ")[2].split())
        else:
            assert "run the same command again" in err
            code, _, err = ambiseg("-q", *arguments, "-o", disk.place / "run")
        assert code == 0, err
        assert disk.files().keys() == whole.keys()
        assert (disk.place / "run" / "model.safetensors").read_bytes() == weights
        disk.unmount()
