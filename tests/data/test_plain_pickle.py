from __future__ import annotations

import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from stkd.data.plain_pickle import load_plain


class Attack:
    def __init__(self, function: object, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> object:
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_plain_containers_and_arrays_survive(protocol: int) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 12)
    content = {b"data": pixels, b"labels": [1, 2], b"names": [b"a\xff", b""], "text": ("é", 1.5, None, True)}
    loaded = load_plain(pickle.dumps(content, protocol))
    assert loaded[b"labels"] == [1, 2]
    assert loaded[b"names"] == [b"a\xff", b""]
    assert loaded["text"] == ("é", 1.5, None, True)
    np.testing.assert_array_equal(loaded[b"data"], pixels)
    assert loaded[b"data"].dtype == np.uint8


@pytest.mark.parametrize("dtype", ["<i8", ">u2", "<f4", "bool"])
def test_arrays_of_other_types_and_fortran_order(dtype: str) -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3).astype(dtype))
    np.testing.assert_array_equal(load_plain(pickle.dumps(array, 2)), array)


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_python_2_pickle(module: str) -> None:
    """As Python 2 wrote the published files: str values, array bytes as str, numpy under its old module name."""
    pixels = bytes(range(12))
    array = (
        f"c{module}\n_reconstruct\n".encode()
        + b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R"  # _reconstruct(ndarray, (0,), "b")
        + b"(K\x01K\x02K\x06\x86"  # state: version 1, shape (2, 6)
        + b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89U\x0c" + pixels + b"tb"
    )  # fmt: skip
    content = b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x00K\x01eu."
    loaded = load_plain(content)
    assert loaded[b"labels"] == [0, 1]
    np.testing.assert_array_equal(loaded[b"data"], np.frombuffer(pixels, np.uint8).reshape(2, 6))


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_and_does_not_run(protocol: int, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    for attack in (
        Attack(os.system, f"touch {proof}"),
        Attack(eval, f"open({str(proof)!r}, 'w')"),
        Attack(open, str(proof), "w"),
        Attack(np.save, str(proof), 1),
        {b"data": [Attack(os.mkdir, str(proof))]},
    ):
        with pytest.raises(pickle.UnpicklingError, match="it asks for"):
            load_plain(pickle.dumps(attack, protocol))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        b"\x80\x02}(U\x04da",
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
        b"\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.",  # an array of 2 GB by its constructor
        b"\x80\x02c__builtin__\nbytes\n(J\xff\xff\xff\x7ftR.",
        b"\x80\x02cnumpy\nndarray.__init__\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    ],
)
def test_broken_or_odd_pickles_are_refused(content: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        load_plain(content)


def test_a_cut_pickle_is_refused_at_every_length() -> None:
    content = pickle.dumps({b"data": np.zeros((2, 3), np.uint8), b"labels": [1, 2]}, 2)
    assert pickletools.optimize(content)
    for length in range(len(content)):
        with pytest.raises(pickle.UnpicklingError):
            load_plain(content[:length])
