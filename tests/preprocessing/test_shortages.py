"""Messages name what the machine lacks: under real limits, and for every wording that a library uses."""

import contextlib
import errno
import os
import pickle
import resource
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from ambiseg.preprocessing.errors import DataError, ResourceError
from ambiseg.preprocessing.files import disk_errors, whole_file
from ambiseg.preprocessing.shortages import (
    DEVICE,
    HANDLES,
    MEMORY,
    NAME,
    PROCESSES,
    RIGHT,
    ROOM,
    SIZE,
    UNWRITTEN,
    Shortage,
    named,
    shortage,
)

WORDINGS = [
    (OSError("10000 requested and 2032 written"), UNWRITTEN),  # numpy's tofile
    (OSError("100 requested and -1 written"), UNWRITTEN),
    (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"), UNWRITTEN),  # torch.save
    (RuntimeError("[enforce fail at inline_container.cc:616] . PytorchStreamWriter failed writing file data/0"), UNWRITTEN),
    (RuntimeError("write(): fd 3 failed with No space left on device"), ROOM),
    (RuntimeError("write(): fd 3 failed with File too large"), SIZE),
    (OSError("encoder error -2 when writing image file"), UNWRITTEN),  # Pillow
    (OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device"), ROOM),  # pyarrow
    (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"), MEMORY),
    (RuntimeError("CUDA error: out of memory"), MEMORY),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), MEMORY),
    (RuntimeError("could not create a primitive"), MEMORY),  # oneDNN
    (RuntimeError("std::bad_alloc"), MEMORY),
    (RuntimeError("itkImportImageContainer.hxx:179:\nFailed to allocate memory for image."), MEMORY),
    (ImportError("libarrow.so: failed to map segment from shared object"), MEMORY),
    (MemoryError(), MEMORY),
    (zlib.error("Error -4 while decompressing data"), MEMORY),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), MEMORY),
    (RuntimeError("can't start new thread"), PROCESSES),
    (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), PROCESSES),
    (OSError(errno.EMFILE, "Too many open files"), HANDLES),
    (RuntimeError("unable to open shared memory object: Too many open files (24)"), HANDLES),
    (PermissionError(errno.EACCES, "Permission denied"), RIGHT),
    (OSError(errno.EROFS, "Read-only file system"), RIGHT),
    (OSError(errno.EIO, "Input/output error"), DEVICE),
    (OSError(errno.ENAMETOOLONG, "File name too long"), NAME),
]  # fmt: skip


@pytest.mark.parametrize(("error", "lacking"), WORDINGS, ids=lambda value: str(value)[:40])
def test_every_wording_is_recognised_also_under_another_error(error: Exception, lacking: Shortage) -> None:
    assert shortage(error) is lacking
    covered = ValueError("cannot close while a handle is open")
    covered.__context__ = error
    assert shortage(covered) is lacking
    with pytest.raises(DataError) as caught:
        raise DataError("The file is damaged: get it again.") from error
    told = named(caught.value)
    assert isinstance(told, ResourceError)
    assert lacking.what in str(told)
    assert lacking.remedy in str(told)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("out of memory"),
        KeyError("no space left on device"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        RuntimeError("PytorchStreamReader failed reading zip archive: failed finding central directory"),
        OSError("Cannot find reference to 10000 requested"),
        zlib.error("Error -3 while decompressing data"),
        BlockingIOError(errno.EAGAIN, "write could not complete without blocking"),
    ],
)
def test_other_errors_are_no_shortage(error: Exception) -> None:
    assert shortage(error) is None
    assert named(error) is None


def test_an_error_that_is_its_own_cause_is_looked_at_once() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert shortage(one) is None


def test_a_named_file_is_in_the_sentence_and_survives_a_process() -> None:
    told = named(PermissionError(errno.EACCES, "Permission denied", "a/scan.nii"))
    assert str(told) == (
        "Not allowed to use a/scan.nii (Permission denied): change its permissions, or name another file or folder."
    )
    assert str(pickle.loads(pickle.dumps(told))) == str(told)


def test_what_is_said_of_another_file_is_not_laid_to_the_one_that_is_written(tmp_path: Path) -> None:
    """An input that cannot be read while an output is being written beside it."""
    refusal = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "in.nii"))
    with pytest.raises(PermissionError), disk_errors(tmp_path / "out"):
        raise refusal
    for own in ("out", ".writing-out", ".writing-out/part", "out/part"):
        with pytest.raises(ResourceError, match=r"Not allowed to write .*out"), disk_errors(tmp_path / "out"):
            raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / own))


@pytest.mark.parametrize("error", [DataError("scan.nii is damaged: get it again."), KeyboardInterrupt()])
def test_other_errors_pass_as_they_are_and_folders_made_for_nothing_go(tmp_path: Path, error: BaseException) -> None:
    def write() -> None:
        with whole_file(tmp_path / "mine" / "a" / "b" / "out") as aside:
            aside.write_text("half")
            raise error

    (tmp_path / "mine").mkdir()
    with pytest.raises(type(error)) as caught:
        write()
    assert caught.value is error
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
{imports}
from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.shortages import named
numbers = np.random.default_rng(0).random(200_000)
{prepare}
path = Path(sys.argv[1])
resource.setrlimit(resource.{limit}, ({value},) * 2)
try:
    with whole_file(path) as aside:
        {work}
except Exception as error:
    print(named(error) or repr(error))
left = [file.name for file in path.parent.iterdir()]
assert not left, left
"""
WRITES = {
    "numpy": ("", "np.save(aside.open('wb'), numbers)"),
    "npz": ("", "np.savez(aside.open('wb'), a=numbers)"),
    "text": ("", "aside.write_text('x' * 1_000_000)"),
    "zip": ("import zipfile", "zipfile.ZipFile(aside, 'w').writestr('a', numbers.tobytes())"),
    "png": ("from PIL import Image", "Image.fromarray(numbers.view('u1').reshape(1000, -1)).save(aside, 'png')"),
    "parquet": ("import pyarrow.parquet", "pyarrow.parquet.write_table(pyarrow.table({'a': numbers}), aside)"),
    "torch": ("import torch", "torch.save(torch.from_numpy(numbers), aside)"),
    "safetensors": ("from safetensors.numpy import save_file", "save_file({'a': numbers}, aside)"),
}


def limited(tmp_path: Path, imports: str, work: str, limit: str, value: object, prepare: str = "") -> str:
    """What is said when the work is done under a limit, in a process of its own."""
    code = LIMITED.format(imports=imports, work=work, limit=limit, value=value, prepare=prepare)
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "empty" / "out.pt")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("library", WRITES)
def test_a_limit_on_files_is_said_for_every_way_to_write(tmp_path: Path, library: str) -> None:
    imports, work = WRITES[library]
    said = limited(tmp_path, imports, work, "RLIMIT_FSIZE", 65536)
    assert "limit on the size of" in said
    assert "while writing" in said
    assert "run the same command again" in said


NOW = "int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + 30_000_000"
ALLOCATIONS = {
    "numpy": ("", "", "np.ones(100_000_000)"),
    "python": ("", "", "bytes(1_000_000_000)"),
    "torch": ("import torch", "", "torch.ones(100_000_000)"),
    "a convolution": ("import torch", "net = torch.nn.Conv2d(1, 64, 3)", "net(torch.zeros(1, 1, 1000, 1000))"),
    "ITK": ("import SimpleITK", "", "SimpleITK.Image(1000, 1000, 100, SimpleITK.sitkFloat64)"),
    "a library": ("", "", "import pyarrow.parquet"),
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="says how much memory a process has, on Linux only")
@pytest.mark.parametrize("what", ALLOCATIONS)
def test_too_little_memory_is_said_whoever_asks_for_it(tmp_path: Path, what: str) -> None:
    imports, prepare, work = ALLOCATIONS[what]
    assert "Out of memory: use a smaller batch" in limited(tmp_path, imports, work, "RLIMIT_AS", NOW, prepare)


def test_too_many_open_files_are_said() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, hard))
        with pytest.raises(OSError) as caught:
            open_without_end(held)
    told = named(caught.value)
    assert told is not None
    assert "Too many files are open at once: raise the limit (ulimit -n)" in str(told)


def open_without_end(held: contextlib.ExitStack) -> None:
    while True:
        held.callback(os.close, os.open(__file__, os.O_RDONLY))
