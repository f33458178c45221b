from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stkd.core.pickles import BoundedUnpickler

resource = pytest.importorskip("resource")

VALUES = st.recursive(
    st.none() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_are_read(value: object, protocol: int) -> None:
    stream = io.BytesIO(b"before" + pickle.dumps(value, protocol) + b"after")
    stream.seek(6)
    assert BoundedUnpickler(stream).load() == value
    assert stream.read() == b"after"


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02]r\xff\xff\xff\x7f.",  # an empty list, remembered as object 2^31 - 1
        b"(lp2147483647\n.",
        b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"short.",
        b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little") + b"short.",
        b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"short.",
        pickle.dumps([1, 2, 3])[:-2],
        b"",
    ],
    ids=["number", "number in letters", "bytes", "more bytes", "bytearray", "cut", "empty"],
)
def test_what_asks_for_memory_or_is_cut_is_refused_at_once(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)  # a file makes room for what it is asked for, other than a BytesIO
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (tmp_path / "x").open("rb") as file, pytest.raises(pickle.UnpicklingError):
        BoundedUnpickler(file).load()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
