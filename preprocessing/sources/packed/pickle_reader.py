"""Pickles as plain data: arrays, dicts, lists, tuples, texts and numbers, and nothing else.

A pickle is a program for a stack machine, and Python's own reader calls whatever function the program names. This reader
has a machine of its own, which knows the few functions with which numpy writes its arrays, and calls none: it notes the
type and shape of an array and where its bytes lie in the file. So a hostile pickle runs nothing, and a file of any size
needs little memory. Protocols 0 to 5 are read, those of Python 2 too.
"""

import codecs
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, ResourceError

MAX_STEPS = 10_000_000  # of the program; 15,096 crops with four masks take about 2.2 million
MAX_TEXT = 100_000_000  # characters that are kept
LONG = 256  # bytes; a longer text stays in the file
MAX_LINE = 1 << 16  # bytes of a line of protocol 0
MAX_DATA_LINE = 1 << 27  # and of one with the numbers of an array
ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")
FUNCTIONS = {
    **{(module, name): name for module in ARRAYS for name in ("_reconstruct", "scalar")},
    **{(module, "_frombuffer"): "_frombuffer" for module in ("numpy.core.numeric", "numpy._core.numeric")},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",  # how Python 3 writes bytes for Python 2
    ("__builtin__", "bytes"): "bytes",
    ("builtins", "bytes"): "bytes",
}
NUMBERS = re.compile(r"[<>|=]?([biu][1248]|f[248]|\?)")  # types without objects, fields or text


class _Foreign(Exception):
    """The program names something other than data."""


class _Broken(Exception):
    """The program ends too soon, or makes no sense."""


@dataclass(frozen=True)
class Span:
    """Bytes that stay in the file: where, and how they are written there ("plain", "utf-8", "escaped" or "unicode")."""

    start: int
    length: int
    written: str = "plain"


@dataclass
class PickledArray:
    """A numpy array whose numbers may still lie in the file; `Pickled.array` reads them."""

    shape: tuple[int, ...] = (0,)
    dtype: np.dtype[np.generic] = field(default_factory=lambda: np.dtype(np.uint8))
    fortran: bool = False
    data: "Span | bytes | str" = b""


@dataclass
class _Type:
    """A numpy type: its letter and size, and its order of bytes, which comes later in the program."""

    name: str
    order: str = "="

    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(self.order + self.name.lstrip("<>|="))


@dataclass(frozen=True)
class _Function:
    name: str


_MARK = _Function("mark")


@dataclass(frozen=True)
class Pickled:
    """The value of a pickle, and the file in which the numbers of its arrays lie."""

    path: Path
    value: object

    def array(self, found: PickledArray) -> NDArray[np.generic]:
        """The numbers of an array of this file."""
        if isinstance(found.data, Span):
            with self.path.open("rb") as file:
                file.seek(found.data.start)
                data = _plain(file.read(found.data.length), found.data.written)
        else:
            data = found.data.encode("latin-1") if isinstance(found.data, str) else found.data
        if len(data) != math.prod(found.shape) * found.dtype.itemsize:
            raise DataError(
                f"{self.path}: an array has other bytes than its shape needs: the file is damaged; get it again."
            )
        return np.frombuffer(data, found.dtype).reshape(found.shape, order="F" if found.fortran else "C")


def is_pickle(path: Path) -> bool:
    """Whether a file begins as a pickle of a dict, a list or a tuple does."""
    with path.open("rb") as file:
        begin = file.read(4)
    return (begin[:1] == b"\x80" and begin[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")) or bool(
        re.match(rb"\((?:[dlt]|[dl]p)|[\]})][q.r(]", begin)
    )


def read_pickle(path: Path) -> Pickled:
    """Read a pickle as data.

    Raises:
        DataError: The file is damaged, or holds something other than arrays, dicts, lists, texts and numbers.
        ResourceError: It has more parts than a data set of crops can have.
    """
    with path.open("rb") as file:
        machine = _Machine(file, path.stat().st_size)
        try:
            value = machine.run()
        except _Foreign as error:
            raise DataError(
                f"{path} holds {error}: expected a pickle of numpy arrays, dicts, lists, texts and numbers alone. Nothing "
                "in it was run; save its arrays as npz."
            ) from error
        except (_Broken, IndexError, KeyError, ValueError, TypeError, struct.error, OverflowError) as error:
            raise DataError(f"{path} is no whole pickle (cut short or damaged): get it again.") from error
    return Pickled(path, value)


def _plain(data: bytes, written: str) -> bytes:
    try:
        if written == "utf-8":
            return data.decode("utf-8").encode("latin-1")
        if written == "unicode":
            return data.decode("raw-unicode-escape").encode("latin-1")
        return codecs.escape_decode(data)[0] if written == "escaped" else data
    except ValueError as error:
        raise DataError("The bytes of an array in the pickle are damaged: get the file again.") from error


class _Machine:
    """The stack machine of pickle's language, with data alone."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size = file, size
        self._at = 0
        self._text = 0
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}

    def run(self) -> object:
        """The value that the program makes."""
        for _ in range(MAX_STEPS):
            code = self._take(1)
            if code == b".":
                return self._stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise _Foreign("Python objects")
            step(self)
        raise ResourceError(
            f"The pickle has more than {MAX_STEPS:,} parts, more than crops need: save its arrays as npz."
        )

    def _take(self, count: int) -> bytes:
        if count > self._size - self._at:
            raise _Broken
        self._at += count
        return self._file.read(count)

    def _number(self, form: str) -> int:
        (number,) = struct.unpack(form, self._take(struct.calcsize(form)))
        return int(number)

    def _line(self, longest: int = MAX_LINE) -> bytes:
        line = self._file.readline(longest)
        if line[-1:] != b"\n":
            raise _Broken
        self._at += len(line)
        return line[:-1]

    def _push_bytes(self, length: int, written: str, text: bool) -> None:
        """Push a text or bytes; when long, the place in the file alone."""
        if not 0 <= length <= self._size - self._at:
            raise _Broken
        if length > LONG:
            self._stack.append(Span(self._at, length, written))
            self._at += length
            self._file.seek(self._at)
            return
        self._count_text(length)
        data = self._take(length)
        self._stack.append(data.decode("utf-8" if written == "utf-8" else "latin-1") if text else data)

    def _count_text(self, length: int) -> None:
        self._text += length
        if self._text > MAX_TEXT:
            raise ResourceError(f"The pickle has more than {MAX_TEXT:,} characters of text, more than crops need.")

    def string_line(self) -> None:
        start = self._at
        line = self._line(MAX_DATA_LINE)
        self._count_text(min(len(line), LONG))
        if len(line) < 2 or line[:1] not in b"'\"" or line[-1:] != line[:1]:
            raise _Broken
        if len(line) > LONG:
            self._stack.append(Span(start + 1, len(line) - 2, "escaped"))
        else:
            self._stack.append(codecs.escape_decode(line[1:-1])[0].decode("latin-1"))

    def unicode_line(self) -> None:
        start = self._at
        line = self._line(MAX_DATA_LINE)
        self._count_text(min(len(line), LONG))
        long = len(line) > LONG
        self._stack.append(Span(start, len(line), "unicode") if long else line.decode("raw-unicode-escape"))

    def whole_number_line(self) -> None:
        text = self._line(LONG).rstrip(b"L")
        self._stack.append(text == b"01" if text in (b"00", b"01") else int(text))

    def float_line(self) -> None:
        self._stack.append(float(self._line()))

    def float_8(self) -> None:
        (number,) = struct.unpack(">d", self._take(8))
        self._stack.append(number)

    def long(self) -> None:
        self._stack.append(int.from_bytes(self._take(self._number("<B")), "little", signed=True))

    def skip(self, count: int) -> None:
        self._take(count)

    def push(self, value: object) -> None:
        self._stack.append(value)

    def push_number(self, form: str) -> None:
        self._stack.append(self._number(form))

    def push_data(self, form: str, written: str, text: bool) -> None:
        self._push_bytes(self._number(form), written, text)

    def pop(self) -> None:
        self._stack.pop()

    def pop_mark(self) -> None:
        self._since_mark()

    def duplicate(self) -> None:
        self._stack.append(self._stack[-1])

    def _since_mark(self) -> list[object]:
        place = len(self._stack) - 1
        while self._stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise _Broken
        items = self._stack[place + 1 :]
        del self._stack[place:]
        return items

    def append(self) -> None:
        item = self._stack.pop()
        self._list().append(item)

    def appends(self) -> None:
        items = self._since_mark()
        self._list().extend(items)

    def make_list(self) -> None:
        self._stack.append(self._since_mark())

    def make_tuple(self) -> None:
        self._stack.append(tuple(self._since_mark()))

    def tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise _Broken
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._stack.append(items)

    def _list(self) -> list[object]:
        if not isinstance(self._stack[-1], list):
            raise _Broken
        return self._stack[-1]

    def make_dict(self) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._set(items)

    def set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def set_items(self) -> None:
        self._set(self._since_mark())

    def _set(self, items: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise _Broken
        for key, value in zip(items[::2], items[1::2], strict=True):
            parts = key if isinstance(key, tuple) else (key,)
            if len(parts) > 16 or not all(isinstance(part, str | bytes | int | float | None) for part in parts):
                raise _Foreign("a dict whose keys are no texts or numbers")
            target[key] = value

    def put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def put_line(self) -> None:
        self.put(int(self._line(LONG)))

    def put_number(self, form: str) -> None:
        self.put(self._number(form))

    def memoize(self) -> None:
        self.put(len(self._memo))

    def get_line(self) -> None:
        self._stack.append(self._memo[int(self._line(LONG))])

    def get_number(self, form: str) -> None:
        self._stack.append(self._memo[self._number(form)])

    def name_lines(self) -> None:
        module, name = self._line(), self._line()
        self._push_function(module.decode("utf-8"), name.decode("utf-8"))

    def name_stack(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._push_function(module, name)

    def _push_function(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise _Broken
        known = FUNCTIONS.get((module, name))
        if known is None:
            full = f"{module}.{name}".encode("ascii", "replace").decode()
            raise _Foreign(f"the Python object {full[:80]}")
        self._stack.append(_Function(known))

    def call(self) -> None:
        """What a call of one of numpy's functions would give, as data."""
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, _Function) or not isinstance(arguments, tuple):
            raise _Foreign("a call of something that is no function of numpy")
        self._stack.append(_CALLS.get(function.name, _not_called)(*arguments))

    def build(self) -> None:
        """Give an array or a type its content."""
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, _Type) and isinstance(state, tuple):
            _, order, parent, names, fields, *_ = state
            if order not in ("<", ">", "|", "=") or not (parent is names is fields is None):
                raise _Foreign("arrays of records")
            target.order = order
        elif isinstance(target, PickledArray) and isinstance(state, tuple):
            made = _filled(*state[-4:])
            target.shape, target.dtype, target.fortran, target.data = made.shape, made.dtype, made.fortran, made.data
        else:
            raise _Foreign("Python objects")


def _filled(shape: object, kind: object, fortran: object, data: object) -> PickledArray:
    """An array of a shape whose bytes are as many as it needs."""
    if isinstance(data, list) or not isinstance(kind, _Type):
        raise _Foreign("arrays of Python objects")
    if not isinstance(shape, tuple) or len(shape) > 4 or not isinstance(data, Span | bytes | str):
        raise _Broken
    if not all(type(side) is int and side >= 0 for side in shape):
        raise _Broken
    dtype = kind.dtype()
    needed, stored = math.prod(shape) * dtype.itemsize, data.length if isinstance(data, Span) else len(data)
    plain = not isinstance(data, Span) or data.written == "plain"
    if needed != stored if plain else needed > stored:
        raise _Broken
    return PickledArray(shape, dtype, bool(fortran), data)


def _reconstruct(kind: object, *_: object) -> PickledArray:
    if not isinstance(kind, _Function) or kind.name != "ndarray":
        raise _Foreign("arrays of a class of their own")
    return PickledArray()


def _from_buffer(data: object, kind: object, shape: object, order: object) -> PickledArray:
    return _filled(shape, kind, order == "F", data)


def _type(name: object, *_: object) -> _Type:
    if not isinstance(name, str) or not NUMBERS.fullmatch(name):
        raise _Foreign(
            "arrays of Python objects" if name in ("O", "O8", "O4") else "arrays of something else than numbers"
        )
    return _Type(name)


def _scalar(kind: object, data: object) -> object:
    array = _filled((), kind, False, data)
    stored = array.data.encode("latin-1") if isinstance(array.data, str) else array.data
    if not isinstance(stored, bytes):
        raise _Broken
    return np.frombuffer(stored, array.dtype)[0].item()


def _encoded(text: object, encoding: object = None) -> object:
    if encoding not in ("latin1", "latin-1"):
        raise _Foreign("a text of an unknown encoding")
    if isinstance(text, Span) and text.written in ("utf-8", "unicode"):
        return text
    if not isinstance(text, str):
        raise _Broken
    return text.encode("latin-1")


def _bytes(*arguments: object) -> bytes:
    if arguments:
        raise _Foreign("a call of something that is no function of numpy")
    return b""


def _not_called(*_: object) -> object:
    raise _Foreign("a call of something that is no function of numpy")


_CALLS: dict[str, Callable[..., object]] = {
    "_reconstruct": _reconstruct,
    "_frombuffer": _from_buffer,
    "dtype": _type,
    "scalar": _scalar,
    "encode": _encoded,
    "bytes": _bytes,
}
_Step = Callable[[_Machine], None]
_STEPS: dict[bytes, _Step] = {
    b"\x80": lambda machine: machine.skip(1),  # protocol
    b"\x95": lambda machine: machine.skip(8),  # frame
    b"(": lambda machine: machine.push(_MARK),
    b"0": _Machine.pop,
    b"1": _Machine.pop_mark,
    b"2": _Machine.duplicate,
    b"N": lambda machine: machine.push(None),
    b"\x88": lambda machine: machine.push(True),
    b"\x89": lambda machine: machine.push(False),
    b"I": _Machine.whole_number_line,
    b"L": _Machine.whole_number_line,
    b"J": lambda machine: machine.push_number("<i"),
    b"K": lambda machine: machine.push_number("<B"),
    b"M": lambda machine: machine.push_number("<H"),
    b"\x8a": _Machine.long,
    b"F": _Machine.float_line,
    b"G": _Machine.float_8,
    b"S": _Machine.string_line,
    b"T": lambda machine: machine.push_data("<i", "plain", True),  # bytes of Python 2, which knows no other text
    b"U": lambda machine: machine.push_data("<B", "plain", True),
    b"V": _Machine.unicode_line,
    b"X": lambda machine: machine.push_data("<I", "utf-8", True),
    b"\x8c": lambda machine: machine.push_data("<B", "utf-8", True),
    b"\x8d": lambda machine: machine.push_data("<Q", "utf-8", True),
    b"B": lambda machine: machine.push_data("<I", "plain", False),
    b"C": lambda machine: machine.push_data("<B", "plain", False),
    b"\x8e": lambda machine: machine.push_data("<Q", "plain", False),
    b"\x96": lambda machine: machine.push_data("<Q", "plain", False),
    b"]": lambda machine: machine.push([]),
    b"a": _Machine.append,
    b"e": _Machine.appends,
    b"l": _Machine.make_list,
    b")": lambda machine: machine.push(()),
    b"t": _Machine.make_tuple,
    b"\x85": lambda machine: machine.tuple_of(1),
    b"\x86": lambda machine: machine.tuple_of(2),
    b"\x87": lambda machine: machine.tuple_of(3),
    b"}": lambda machine: machine.push({}),
    b"d": _Machine.make_dict,
    b"s": _Machine.set_item,
    b"u": _Machine.set_items,
    b"p": _Machine.put_line,
    b"q": lambda machine: machine.put_number("<B"),
    b"r": lambda machine: machine.put_number("<I"),
    b"\x94": _Machine.memoize,
    b"g": _Machine.get_line,
    b"h": lambda machine: machine.get_number("<B"),
    b"j": lambda machine: machine.get_number("<I"),
    b"c": _Machine.name_lines,
    b"\x93": _Machine.name_stack,
    b"R": _Machine.call,
    b"b": _Machine.build,
}
