"""Seeded damage: what copying, editing, spreadsheets and attackers do to a file; each kind is a function of its bytes.

A damage takes the file's bytes and random numbers. It returns the new bytes and a description of the damage.
"""

import gzip
import io
import json
import random
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pydicom
from pydicom.dataelem import DataElement

Damaged = tuple[bytes, str]
Damage = Callable[[bytes, random.Random], Damaged]

NUMBER = re.compile(rb"(?<![\w.])[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
WRONG_NUMBERS = (
    "0", "-1", "1", "2", "7", "255", "256", "65535", "65536", "99999999", "2147483648", "1e6", "1e20", "1e308", "1e999999999",
    "-0", "0.1", "NaN", "nan", "inf", "-Infinity", "0,5", "1_000", "0x10", "1e-30", "", "abc", "true", "null", "1.2.3",
    "9" * 5000, "١", "=1+1", '"', "[", "1 2", "--3",
)  # fmt: skip
WRONG_VALUES: Sequence[Any] = (
    None, True, False, 0, -1, 1, 3, 10**9, 2**63, 10**400, 0.5, -0.5, 1e308, float("nan"), float("inf"), "", "x", "1", "NaN",
    "../../etc/passwd", "\x1b[31mred", "a" * 100_000, "\ud800", [], [[]], [1, 2], ["x", None], {}, {"x": 1}, "0" * 64,
)  # fmt: skip
WORDS = (
    b"",
    b"x",
    b"\0",
    b"\xff\xfe",
    b"\x1b[2J",
    "ä€".encode(),
    b"\xe4",
    *(bytes((sign,)) for sign in b'"\n\r,;\t{]'),
)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 1234\n"
PAGE = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
STRANGE = (b"", b"\n", b"\0" * 400, LFS, PAGE, b"PK\x03\x04", b"\x1f\x8b")
DEEP = 20_000


# Any bytes


def flip_bits(content: bytes, rng: random.Random) -> Damaged:
    """One to four bits."""
    places = [(rng.randrange(len(content)), rng.randrange(8)) for _ in range(rng.choice((1, 1, 1, 2, 4)))]
    changed = bytearray(content)
    for place, bit in places:
        changed[place] ^= 1 << bit
    return bytes(changed), "bits flipped " + ", ".join(f"{place}.{bit}" for place, bit in places)


def change_bytes(content: bytes, rng: random.Random) -> Damaged:
    """One to eight bytes, near the beginning as often as anywhere."""
    end = len(content) if rng.random() < 0.5 else min(400, len(content))
    places = [rng.randrange(end) for _ in range(rng.choice((1, 1, 2, 8)))]
    changed = bytearray(content)
    for place in places:
        changed[place] = rng.randrange(256)
    return bytes(changed), f"bytes changed {places}"


def cut_short(content: bytes, rng: random.Random) -> Damaged:
    """The end is missing."""
    end = rng.choice((rng.randrange(len(content)), max(0, len(content) - rng.randint(1, 16)), len(content) // 2))
    return content[:end], f"cut to {end} of {len(content)} bytes"


def zero_range(content: bytes, rng: random.Random) -> Damaged:
    """A stretch of zeros, as of a block that was never written."""
    begin, length = rng.randrange(len(content)), rng.choice((1, 4, 64, 512, 4096))
    end = min(begin + length, len(content))
    return content[:begin] + bytes(end - begin) + content[end:], f"zeros from {begin} to {end}"


def insert_bytes(content: bytes, rng: random.Random) -> Damaged:
    """Bytes too many."""
    place, more = rng.randint(0, len(content)), rng.randbytes(rng.choice((1, 1, 2, 16, 300)))
    return content[:place] + more + content[place:], f"{len(more)} bytes inserted at {place}"


def drop_bytes(content: bytes, rng: random.Random) -> Damaged:
    """A stretch is missing."""
    begin, length = rng.randrange(len(content)), rng.choice((1, 1, 2, 16, 300))
    return content[:begin] + content[begin + length :], f"{length} bytes dropped at {begin}"


def repeat_chunk(content: bytes, rng: random.Random) -> Damaged:
    """A stretch comes twice."""
    begin = rng.randrange(len(content))
    end = min(len(content), begin + rng.choice((1, 8, 64, 512)))
    return content[:end] + content[begin:], f"bytes {begin} to {end} twice"


def swap_chunks(content: bytes, rng: random.Random) -> Damaged:
    """Two halves in the wrong order."""
    place = rng.randrange(len(content))
    return content[place:] + content[:place], f"turned round at {place}"


def another_file(content: bytes, rng: random.Random) -> Damaged:
    """Something else lies under the name: nothing, a pointer, a page of the web, the first bytes of a zip."""
    number = rng.randrange(len(STRANGE))
    return STRANGE[number], f"another file, number {number}"


def more_at_the_end(content: bytes, rng: random.Random) -> Damaged:
    """Something follows."""
    more = rng.choice((b"\0", b"\n", rng.randbytes(20), content))
    return content + more, f"{len(more)} bytes more at the end"


BYTES: Sequence[Damage] = (
    flip_bits, flip_bits, change_bytes, cut_short, zero_range, insert_bytes, drop_bytes, repeat_chunk, swap_chunks,
    another_file, more_at_the_end,
)  # fmt: skip


# Lines of text


def _lines(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True) or [b""]


def drop_line(content: bytes, rng: random.Random) -> Damaged:
    """A line is missing."""
    lines = _lines(content)
    place = rng.randrange(len(lines))
    return b"".join(lines[:place] + lines[place + 1 :]), f"line {place + 1} dropped"


def repeat_line(content: bytes, rng: random.Random) -> Damaged:
    """A line comes twice, the second time anywhere."""
    lines = _lines(content)
    place, where = rng.randrange(len(lines)), rng.randint(0, len(lines))
    return b"".join([*lines[:where], lines[place], *lines[where:]]), f"line {place + 1} again as line {where + 1}"


def swap_lines(content: bytes, rng: random.Random) -> Damaged:
    """Two lines change places."""
    lines = _lines(content)
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines), f"lines {one + 1} and {other + 1} swapped"


def wrong_number(content: bytes, rng: random.Random) -> Damaged:
    """A number becomes another one, or none."""
    found = list(NUMBER.finditer(content))
    if not found:
        return wrong_word(content, rng)
    place, text = rng.choice(found), rng.choice(WRONG_NUMBERS)
    return content[: place.start()] + text.encode() + content[place.end() :], (
        f"{place[0].decode()} at {place.start()} becomes {text[:20]}"
    )


def wrong_word(content: bytes, rng: random.Random) -> Damaged:
    """A word becomes another one, a separator, or bytes that are no text."""
    found = list(re.finditer(rb"[^\s,;=:\"]+", content))
    if not found:
        return insert_bytes(content, rng)
    place, word = rng.choice(found), rng.choice((*WORDS, rng.choice(found)[0]))
    return content[: place.start()] + word + content[place.end() :], (
        f"{place[0][:20]!r} at {place.start()} becomes {word[:20]!r}"
    )


def another_encoding(content: bytes, rng: random.Random) -> Damaged:
    """Saved by another program: UTF-16, code page 1252, other line ends, other separators."""
    text = content.decode("utf-8", "replace")
    variants = {
        "utf-16": text.encode("utf-16"),
        "utf-16 cut": text.encode("utf-16")[:-1],
        "utf-32": text.encode("utf-32"),
        "utf-8-sig": text.encode("utf-8-sig"),
        "cp1252": ("é" + text).encode("cp1252", "replace"),
        "old Mac": content.replace(b"\n", b"\r"),
        "Windows": content.replace(b"\n", b"\r\n"),
        "semicolons": content.replace(b",", b";"),
        "blanks": content.replace(b",", b" , "),
        "a last row of commas": content + b",,,,\n",
        "a quote never closed": content.replace(b"\n", b'\n"', 1),
    }
    name = rng.choice(list(variants))
    return variants[name], f"saved as {name}"


TEXT: Sequence[Damage] = (
    drop_line, repeat_line, swap_lines, wrong_number, wrong_number, wrong_number, wrong_word, wrong_word, another_encoding,
    flip_bits, cut_short, zero_range, insert_bytes, another_file, more_at_the_end,
)  # fmt: skip


# JSON


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there are values in a document."""
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in _places(part, (*path, key)))]


def _edited(value: Any, path: tuple[Any, ...], edit: Callable[[Any, Any], None]) -> None:
    """Call `edit(container, key)` for the place at `path`."""
    for key in path[:-1]:
        value = value[key]
    edit(value, path[-1])


def wrong_value(content: bytes, rng: random.Random) -> Damaged:
    """A value of another type, out of range, not finite, or huge."""
    document, value = json.loads(content), rng.choice(WRONG_VALUES)
    path = rng.choice(_places(document))
    if path:
        _edited(document, path, lambda holder, key: holder.__setitem__(key, value))
    else:
        document = value
    return json.dumps(document, indent=1).encode("utf-8", "surrogatepass"), f"{path} becomes {str(value)[:20]!r}"


def drop_key(content: bytes, rng: random.Random) -> Damaged:
    """A key or an entry is missing."""
    document = json.loads(content)
    path = rng.choice(_places(document)[1:])
    _edited(document, path, lambda holder, key: holder.__delitem__(key))
    return json.dumps(document, indent=1).encode(), f"{path} dropped"


def other_key(content: bytes, rng: random.Random) -> Damaged:
    """A key too many, with any value."""
    document, value = json.loads(content), rng.choice(WRONG_VALUES)
    holders = [path for path in _places(document) if isinstance(_at(document, path), dict)]
    path = rng.choice(holders)
    _at(document, path)[rng.choice(("x", "", "__class__", "rows", "schema"))] = value
    return json.dumps(document, indent=1).encode("utf-8", "surrogatepass"), f"a key more at {path}: {str(value)[:20]!r}"


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def deep_value(content: bytes, rng: random.Random) -> Damaged:
    """A value that is lists in lists, or tables in tables, without end."""
    document = json.loads(content)
    path = rng.choice(_places(document)[1:])
    _edited(document, path, lambda holder, key: holder.__setitem__(key, "DEEP"))
    opened, closed = rng.choice((("[", "]"), ('{"x":', "}")))
    text = opened * DEEP + "1" + closed * DEEP
    return json.dumps(document, indent=1).replace('"DEEP"', text).encode(), f"{path} nested {DEEP} deep"


JSON: Sequence[Damage] = (
    wrong_value, wrong_value, wrong_value, drop_key, drop_key, other_key, deep_value, wrong_number, wrong_word, cut_short,
    flip_bits, zero_range, insert_bytes, another_encoding, another_file, more_at_the_end,
)  # fmt: skip


def json_line(content: bytes, rng: random.Random) -> Damaged:
    """One line of a file of JSON lines is damaged as a document."""
    lines = _lines(content)
    place = rng.randrange(len(lines))
    changed, what = rng.choice((wrong_value, drop_key, other_key, deep_value))(lines[place], rng)
    lines[place] = changed.replace(b"\n", b"") + b"\n"
    return b"".join(lines), f"line {place + 1}: {what}"


JSON_LINES: Sequence[Damage] = (json_line, json_line, *TEXT)


# TOML


def deep_toml(content: bytes, rng: random.Random) -> Damaged:
    """A key with more parts, or lists in lists, than anybody writes."""
    lists, parts = b"x = " + b"[" * DEEP + b"]" * DEEP, b".".join([b"a"] * 2000)
    more = rng.choice((lists, parts + b" = 1", b"[" + parts + b"]"))
    lines = _lines(content)
    place = rng.randint(0, len(lines))
    return b"".join([*lines[:place], more + b"\n", *lines[place:]]), f"deep nesting in line {place + 1}"


def wrong_setting(content: bytes, rng: random.Random) -> Damaged:
    """A setting of another type."""
    lines = _lines(content)
    place = rng.choice([number for number, line in enumerate(lines) if b"=" in line])
    value = rng.choice(WRONG_SETTINGS)
    lines[place] = lines[place].split(b"=")[0] + b"= " + value.encode() + b"\n"
    return b"".join(lines), f"line {place + 1} becomes {value}"


WRONG_SETTINGS = (
    "true",
    '"x"',
    "[]",
    "[[1]]",
    "{x=1}",
    "nan",
    "-inf",
    "1979-05-27",
    "07:32:00",
    "1e400",
    "'",
    "9" * 30,
)
TOML: Sequence[Damage] = (*TEXT, wrong_setting, wrong_setting, wrong_setting, deep_toml)


# NIfTI's header

FIELDS: Mapping[str, tuple[int, str]] = {
    "sizeof_hdr": (0, "i"), **{f"dim{n}": (40 + 2 * n, "h") for n in range(8)}, "datatype": (70, "h"), "bitpix": (72, "h"),
    **{f"pixdim{n}": (76 + 4 * n, "f") for n in range(8)}, "vox_offset": (108, "f"), "scl_slope": (112, "f"),
    "scl_inter": (116, "f"), "xyzt_units": (123, "b"), "qform_code": (252, "h"), "sform_code": (254, "h"),
    **{f"quatern_{n}": (256 + 4 * n, "f") for n in range(6)}, **{f"srow_{n}": (280 + 4 * n, "f") for n in range(12)},
    "magic": (344, "i"),
}  # fmt: skip
EXTREMES: Mapping[str, Sequence[float]] = {
    "b": (0, -1, 127, 3, 2), "h": (0, -1, 1, 2, 7, 8, 512, 32767, -32768), "i": (0, -1, 540, 2**31 - 1),
    "f": (0, -1, 1, 352, 1e-30, 1e-3, 1e3, 1e10, 1e38, -1e38, float("nan"), float("inf"), -float("inf")),
}  # fmt: skip


def nifti_field(content: bytes, rng: random.Random) -> Damaged:
    """One or two fields of the header take extreme values."""
    changed, done = bytearray(content), []
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(list(FIELDS))
        offset, kind = FIELDS[name]
        value = rng.choice(EXTREMES[kind])
        struct.pack_into(f"<{kind}", changed, offset, value)
        done.append(f"{name} = {value}")
    return bytes(changed), ", ".join(done)


NIFTI: Sequence[Damage] = (nifti_field,) * 8 + tuple(BYTES)


def within_gzip(content: bytes, rng: random.Random) -> Damaged:
    """A header field of a compressed NIfTI is changed, and the file is whole."""
    changed, what = nifti_field(gzip.decompress(content), rng)
    return gzip.compress(changed), f"{what}, compressed again"


# Headers of text before voxels (NRRD, MetaImage)


def header_line(content: bytes, rng: random.Random) -> Damaged:
    """The header's text is damaged as text is; what follows it stays."""
    ends = (content.find(mark) for mark in (b"\n\n", b"ElementDataFile = LOCAL\n"))
    end = next((place for place in ends if place >= 0), len(content))
    kinds = (wrong_number, wrong_number, wrong_number, wrong_word, wrong_word, drop_line, repeat_line, swap_lines)
    changed, what = rng.choice(kinds)(content[:end], rng)
    return changed + content[end:], what


def many_dimensions(content: bytes, rng: random.Random) -> Damaged:
    """More axes than memory has room for."""
    count = str(rng.choice((0, 1, 4, 17, 65536, 2**31, 10**12))).encode()
    changed = re.sub(rb"(dimension: |NDims = )\d+", lambda found: found[1] + count, content)
    return changed, f"{count.decode()} dimensions"


HEADER: Sequence[Damage] = (*(header_line,) * 8, many_dimensions, *BYTES)


# DICOM

RAW = (
    b"", b" ", b"0", b"-1", b"1", b"99999", b"abc", b"1,5", b"nan", b"1e400", b"1\\2", b"0\\0", b"1\\0\\0\\0\\0\\1",
    b"\xff\xff", b"\0\0", b"\x01\0", b"\0" * 8, b"1.2.3", b"0.7\\nan", b"MONOCHROME1", b"RGB", b"PALETTE COLOR",
    b"CT", b"MR", b"SEG", b"9" * 70,
)  # fmt: skip


def dicom_element(content: bytes, rng: random.Random) -> Damaged:
    """An element is missing, empty, of another value or of another kind."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    tag = rng.choice([element.tag for element in dataset])
    if rng.random() < 0.3:
        del dataset[tag]
        what = "missing"
    else:
        raw, kind = rng.choice(RAW), rng.choice((dataset[tag].VR, dataset[tag].VR, "LO", "OB"))
        what = f"{kind} {raw[:20]!r}"
        raw += b" " * (len(raw) % 2)
        dataset[tag] = pydicom.dataelem.RawDataElement(tag, kind, len(raw), raw, 0, False, True)
    out = io.BytesIO()
    try:
        pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    except Exception:  # what cannot be written as a file is no damage: take bytes instead
        return change_bytes(content, rng)
    return out.getvalue(), f"{tag} {pydicom.datadict.keyword_for_tag(tag)}: {what}"


ELEMENTS: Sequence[tuple[str, str, Any]] = (
    ("NumberOfFrames", "IS", "3"),
    ("GantryDetectorTilt", "DS", "0.4"),
    ("SpecificCharacterSet", "CS", "ISO 9999"),
    ("ImageType", "CS", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    ("PlanarConfiguration", "US", 1),
    ("PixelPaddingValue", "US", 3),
    ("ModalityLUTSequence", "SQ", []),
)


def dicom_more(content: bytes, rng: random.Random) -> Damaged:
    """An element more that changes what the others mean."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    keyword, kind, value = rng.choice(ELEMENTS)
    dataset[keyword] = DataElement(pydicom.datadict.tag_for_keyword(keyword) or 0, kind, value)
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue(), f"{keyword} = {value}"


DICOM: Sequence[Damage] = (*(dicom_element,) * 8, dicom_more, *BYTES)
