"""What is packed with its zeros cut short is unpacked to the same bytes, by any program."""

import gzip
import io
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambiseg.preprocessing.scans.formats.gzip_of_zeros import LEAST, GzipOfZeros

PIECES = st.lists(
    st.one_of(
        st.integers(0, 3 * LEAST).map(bytes),
        st.sampled_from((LEAST - 1, LEAST, LEAST + 1)).map(bytes),
        st.binary(max_size=200),
        st.binary(min_size=1, max_size=3).map(lambda some: some * LEAST),
    ),
    max_size=8,
)


def packed(pieces: list[bytes]) -> bytes:
    file = io.BytesIO()
    with GzipOfZeros(file) as to:
        for piece in pieces:
            assert to.write(piece) == len(piece)
        assert to.tell() == sum(map(len, pieces))
    return file.getvalue()


@given(PIECES)
def test_it_unpacks_to_what_was_written(pieces: list[bytes]) -> None:
    assert gzip.decompress(packed(pieces)) == b"".join(pieces)


def test_it_is_as_small_as_the_usual_gzip() -> None:
    pieces = [bytes(2**18)] * 40 + [bytes(2**17) + b"\1\0\1\1" * 300 + bytes(2**17)] + [bytes(2**18)] * 40
    assert len(packed(pieces)) < 1.05 * len(gzip.compress(b"".join(pieces), 1))


@pytest.mark.skipif(shutil.which("gzip") is None, reason="needs the program gzip")
def test_gzip_itself_finds_no_fault(tmp_path: Path) -> None:
    pieces = [b"head", bytes(10 * LEAST), b"ab" * 5000, bytes(LEAST), bytes(LEAST), b"end"]
    (tmp_path / "mask.gz").write_bytes(packed(pieces))
    unpacked = subprocess.run(["gzip", "-dc", tmp_path / "mask.gz"], check=True, capture_output=True).stdout
    assert unpacked == b"".join(pieces)


def test_one_can_go_forward_over_zeros_and_never_back() -> None:
    file = io.BytesIO()
    with GzipOfZeros(file) as to:
        to.write(b"abc")
        assert to.seek(5) == 5
        with pytest.raises(io.UnsupportedOperation):
            to.seek(0)
    assert gzip.decompress(file.getvalue()) == b"abc\0\0"
