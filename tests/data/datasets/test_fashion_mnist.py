from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from stkd.core.errors import StkdError
from stkd.data import open_data
from stkd.data.datasets import fashion_mnist
from stkd.data.idx import read_idx


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": rng.integers(0, 256, (30, 28, 28)),
        "train-labels-idx1-ubyte": np.arange(30) % 10,
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (10, 28, 28)),
        "t10k-labels-idx1-ubyte": np.arange(10),
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, array in arrays().items():
        (tmp_path / name).write_bytes(idx(array))
    return tmp_path


def test_plain_and_compressed(root: Path) -> None:
    plain = open_data(f"fashion-mnist:{root}")
    assert plain.classes[0] == "T-shirt/top"
    assert len(plain.classes) == 10
    assert (plain.channels, plain.size, plain.augment) == (1, 28, "crop4")
    np.testing.assert_array_equal(plain.train.images[:, 0], arrays()["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(plain.test.labels, np.arange(10))
    assert plain.mean == pytest.approx((np.mean(plain.train.images / 255),))
    for file in list(root.iterdir()):
        (root / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    packed = open_data(f"fashion-mnist:{root}", image_size=32)
    assert packed.train.images.shape == (30, 1, 32, 32)
    assert packed.train.labels.tolist() == plain.train.labels.tolist()


def test_without_a_path(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", root)
    assert len(open_data("fashion-mnist").train) == 30
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", root / "nowhere")
    with pytest.raises(StkdError, match="write fashion-mnist:PATH, or install"):
        open_data("fashion-mnist")


@pytest.mark.skipif(not fashion_mnist.DEBIAN_FOLDER.is_dir(), reason="the Debian package is not installed")
def test_published_files() -> None:
    data = open_data("fashion-mnist")
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    assert np.bincount(data.train.labels).tolist() == [6000] * 10
    assert data.mean == pytest.approx((0.2860,), abs=1e-4)
    assert data.std == pytest.approx((0.3530,), abs=1e-4)


IMAGES = idx(np.zeros((2, 28, 28)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no IDX file"),
        (b"\0\0\x08", "is no IDX file"),
        (b"hello world, this is text", "is no IDX file"),
        (IMAGES[:-1], "has 1567 bytes of data where its header says 1568"),
        (IMAGES + b"x", "has 1569 bytes of data where its header says 1568"),
        (IMAGES[:100], "has 84 bytes of data"),
        (idx(np.zeros(20)), "holds other data than 3-dimensional bytes"),
        (idx(np.zeros((2, 28, 28)), kind=0x0D), "holds other data than 3-dimensional bytes"),
        (gzip.compress(IMAGES, mtime=0)[:-9], "is a broken gzip file"),
        (gzip.compress(IMAGES, mtime=0)[:20] + b"rubbish" * 9, "is a broken gzip file"),
        (b"\x1f\x8b", "is a broken gzip file"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1), "where its header says"),
    ],
)
def test_bad_idx_files(tmp_path: Path, content: bytes, message: str) -> None:
    (path := tmp_path / "images").write_bytes(content)
    with pytest.raises(StkdError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def header(*shape: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(2**31, 2**31, 4), (2**32 - 1,) * 3, (60_000, 400, 400), (100, 100, 100)], ids=str)
def test_a_header_that_promises_more_than_the_file_holds(shape: tuple[int, ...], packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(header(*shape)) if packed else header(*shape))
    with pytest.raises(StkdError, match="bytes of data where its header says"):
        read_idx(path, 3)


def test_a_gzip_file_that_grows_far_beyond_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "images", 0
    path.write_bytes(gzip.compress(header(1, 2, 2) + bytes(30_000_000), 1))
    real = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        nonlocal read
        content = real(self, size)
        read += len(content)
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    with pytest.raises(StkdError, match="more than 4 bytes of data where its header says 4"):
        read_idx(path, 3)
    assert read == len(header(1, 2, 2)) + 5


def test_unreadable_idx_file(tmp_path: Path) -> None:
    with pytest.raises(StkdError, match="gone cannot be read"):
        read_idx(tmp_path / "gone", 1)
    with pytest.raises(StkdError, match="cannot be read"):
        read_idx(tmp_path, 1)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1-ubyte", np.zeros(29), "has 30 images, train-labels-idx1-ubyte 29 labels"),
        ("train-labels-idx1-ubyte", np.full(30, 10), "has the label 10, but there are 10 classes"),
        ("train-images-idx3-ubyte", np.zeros((30, 28, 27)), "has images of 27 x 28 pixels; they must be square"),
        ("t10k-images-idx3-ubyte", np.zeros((10, 14, 14)), "training and test images differ in size"),
        ("train-images-idx3-ubyte", np.zeros((0, 28, 28)), "is empty: its header says 0 x 28 x 28"),
    ],
)
def test_files_that_do_not_fit_together(root: Path, name: str, array: np.ndarray, message: str) -> None:
    (root / name).write_bytes(idx(array))
    with pytest.raises(StkdError, match=message):
        open_data(f"fashion-mnist:{root}")


def test_missing_file(root: Path) -> None:
    (root / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(StkdError, match=r"has no t10k-labels-idx1-ubyte\[\.gz\]; give the folder"):
        open_data(f"fashion-mnist:{root}")
