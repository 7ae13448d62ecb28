"""Pickles as data: what numpy and Python write comes back, and hostile programs are refused and run nothing."""

import io
import os
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ambiseg.preprocessing.errors import DataError, ResourceError
from ambiseg.preprocessing.sources.packed import pickle_reader
from ambiseg.preprocessing.sources.packed.pickle_reader import Pickled, PickledArray, Span, is_pickle, read_pickle

RNG = np.random.default_rng(5)
VALUES: dict[str, Any] = {
    "floats": RNG.random((9, 8)),
    "bytes": RNG.integers(0, 256, (4, 5), np.uint8),
    "flags": RNG.random((3, 3)) < 0.5,
    "other order": np.arange(5, dtype=">i2"),
    "columns first": np.asfortranarray(RNG.random((30, 5))),
    "none": np.zeros((0, 3)),
    "scalar": np.float64(3.5),
    "numbers": [1, -5, 70000, 2**70, 1.5, True, None],
    "texts": ("x", "y" * 1000, ""),
    (1, "two"): {"inner": [np.int16(7)]},
}


class Python2Pickler(pickle._Pickler):  # type: ignore[misc]
    """A pickler that writes texts and bytes as Python 2 wrote its strings."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, text: str | bytes) -> None:
        data = text if isinstance(text, bytes) else text.encode("latin-1")
        short = len(data) < 256
        self.write((b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))) + data)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string


def python2(value: object) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(value)
    return file.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


def read(path: Path, content: bytes) -> Pickled:
    path.write_bytes(content)
    return read_pickle(path)


def same(pickled: Pickled, read: object, value: object) -> bool:
    if isinstance(value, np.ndarray):
        assert isinstance(read, PickledArray)
        array = pickled.array(read)
        return array.shape == value.shape and array.dtype.kind == value.dtype.kind and bool((array == value).all())
    if isinstance(value, dict):
        assert isinstance(read, dict)
        return list(read) == list(value) and all(same(pickled, read[key], value[key]) for key in value)
    if isinstance(value, list | tuple):
        assert isinstance(read, list | tuple)
        return len(read) == len(value) and all(same(pickled, *pair) for pair in zip(read, value, strict=True))
    return isinstance(read, Span) if isinstance(value, str) and len(value) > 256 else bool(read == value)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_gives_back_what_went_in(protocol: int, tmp_path: Path) -> None:
    found = read(tmp_path / "p", pickle.dumps(VALUES, protocol))
    assert is_pickle(tmp_path / "p")
    assert same(found, found.value, VALUES)


def test_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    content = python2({"image": VALUES["floats"], "masks": [VALUES["bytes"]], "series_uid": "1.2.3"})
    assert b"U\x05image" in content
    found = read(tmp_path / "p", content)
    assert same(found, found.value, {"image": VALUES["floats"], "masks": [VALUES["bytes"]], "series_uid": "1.2.3"})


class Calls:
    """An object whose pickle calls a function when Python reads it."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.reduced


class Subclass(np.ndarray):
    """An array of a class of its own."""


def hostile(marker: Path) -> dict[str, bytes]:
    command = f"touch {marker}"
    writes = f"open({str(marker)!r}, 'w')"
    system = f"cposix\nsystem\n(V{command}\ntR.".encode()
    array = pickle.dumps(np.zeros(3), 2)
    return {
        "a command": pickle.dumps(Calls(os.system, command)),
        "a command in a crop": pickle.dumps({"k": {"image": Calls(os.system, command)}}),
        "eval": pickle.dumps(Calls(eval, writes), 2),
        "exec": pickle.dumps(Calls(exec, writes)),
        "getattr": pickle.dumps(Calls(getattr, "", "join")),
        "protocol 0": system,
        "an instance": f"(V{command}\niposix\nsystem\n.".encode(),
        "an object": b"(cposix\nsystem\n" + f"V{command}\no.".encode(),
        "a new object": b"\x80\x02cposix\nsystem\n" + f"X{chr(len(command))}\0\0\0{command}".encode() + b"\x85\x81.",
        "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0bf2py.os.sys\x93.",
        "numpy's own eval": b"\x80\x02cnumpy.testing._private.utils\nrunstring\n(tR.",
        "another encoder": b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0rot13\x86R.",
        "a persistent identity": b"Pwhatever\n.",
        "an extension": b"\x80\x02\x82\x01.",
        "a buffer elsewhere": b"\x80\x05\x97.",
        "a state for a dict": b"\x80\x02}}X\x01\0\0\0aK\x01sb.",
        "a subclass": pickle.dumps(np.zeros(3).view(Subclass)),
        "objects in an array": pickle.dumps(np.array([Calls(os.system, command)], object)),
        "records": pickle.dumps(np.zeros(2, [("a", "i4")])),
        "texts in an array": pickle.dumps(np.array(["a"])),
        "a set": pickle.dumps({1, 2}),
        "a call of no function": array.replace(b"tq", b"tR", 1),
    }


@pytest.mark.parametrize("name", hostile(Path("x")))
def test_hostile_pickles_are_refused_and_run_nothing(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(DataError, match=r"expected a pickle of numpy arrays|no whole pickle"):
        read(tmp_path / "p", hostile(marker)[name])
    assert not marker.exists()


def shaped(*shape: int) -> bytes:
    """A pickle whose array claims a shape that its bytes do not have."""
    sides = b"".join(b"J" + struct.pack("<i", side) for side in shape)
    return pickle.dumps(np.zeros((3, 2)), 2).replace(b"K\x03K\x02\x86", sides + b"\x86")


@pytest.mark.parametrize(
    "content",
    [
        shaped(2**30, 2**30),
        shaped(-3, -2),
        shaped(3, 1),
        b"\x80\x04\x8e" + b"\xff" * 8 + b"abc.",
        b"\x80\x02T\xff\xff\xff\xffabc.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",
        b"\x80\x02" + b"0" * 10,
        b"\x80\x02h\x07.",
        b"\x80\x02}",
        b"\x80\x02t.",
        b"S'abc\n.",
        b"I" + b"9" * 5000 + b"\n.",
        pickle.dumps(VALUES, 2)[:-30],
    ],
)
def test_damaged_and_forged_pickles_take_no_memory(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no whole pickle"):
        read(tmp_path / "p", content)


def test_references_that_grow_and_nesting_cost_nothing(tmp_path: Path) -> None:
    laughs: list[object] = []
    for _ in range(60):
        laughs = [laughs] * 10
    assert isinstance(read(tmp_path / "a", pickle.dumps(laughs)).value, list)
    deep = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    assert isinstance(read(tmp_path / "b", deep).value, list)
    with pytest.raises(DataError, match="whose keys are no texts or numbers"):
        read(tmp_path / "c", b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s.")


def test_a_program_without_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_reader, "MAX_STEPS", 1000)
    monkeypatch.setattr(pickle_reader, "MAX_TEXT", 1000)
    with pytest.raises(ResourceError, match="more than 1,000 parts"):
        read(tmp_path / "a", b"\x80\x02" + b"N" * 5000 + b".")
    with pytest.raises(ResourceError, match="more than 1,000 characters"):
        read(tmp_path / "b", b"\x80\x02" + (b"U\xff" + b"x" * 255) * 10 + b".")


def test_the_length_of_a_frame_is_not_believed(tmp_path: Path) -> None:
    assert read(tmp_path / "p", b"\x80\x04\x95" + b"\xff" * 8 + b"}.").value == {}


def test_arrays_stay_in_the_file(tmp_path: Path) -> None:
    """The value of a pickle of 8 MB is a few objects."""
    found = read(tmp_path / "p", pickle.dumps({"image": np.zeros((1000, 1000))}))
    assert isinstance(found.value, dict)
    (array,) = found.value.values()
    assert isinstance(array.data, Span)
    assert sys.getsizeof(array.data) < 200
