from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from stkd.core.errors import StkdError
from stkd.data import open_data
from stkd.data.datasets import cifar

CIFAR10 = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]


def dump(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def pixels(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    root = tmp_path / "cifar-10-batches-py"
    for seed, name in enumerate(CIFAR10):
        labels = list(range(10)) * 2
        dump(
            root / name,
            {b"batch_label": b"a batch", b"labels": labels, b"data": pixels(20, seed), b"filenames": [b"x"]},
        )
    dump(root / "batches.meta", {b"label_names": [b"class%d" % k for k in range(10)], b"num_vis": 3072})
    return root


@pytest.fixture
def cifar100(tmp_path: Path) -> Path:
    root = tmp_path / "cifar-100-python"
    for seed, (name, count) in enumerate({"train": 200, "test": 100}.items()):
        fine = [i % 100 for i in range(count)]
        record = {"fine_labels": fine, "coarse_labels": [y // 5 for y in fine], "data": pixels(count, seed)}
        dump(root / name, record)
    names = {
        "fine_label_names": [f"fine{k}" for k in range(100)],
        "coarse_label_names": [f"coarse{k}" for k in range(20)],
    }
    dump(root / "meta", names)
    return root


def pack(folder: Path, archive: Path, prefix: str = "") -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, prefix + folder.name)
    return archive


def test_cifar10(cifar10: Path) -> None:
    data = open_data(f"cifar10:{cifar10}")
    assert data.classes == tuple(f"class{k}" for k in range(10))
    assert (data.name, data.channels, data.size, data.augment) == ("cifar10", 3, 32, "crop4")
    assert data.mean == (0.4914, 0.4822, 0.4465)
    assert data.train.images.shape == (100, 3, 32, 32)
    assert data.test.images.shape == (20, 3, 32, 32)
    np.testing.assert_array_equal(data.train.images[20:40].reshape(20, -1), pixels(20, 1))
    np.testing.assert_array_equal(data.test.images.reshape(20, -1), pixels(20, 5))
    np.testing.assert_array_equal(data.train.labels, list(range(10)) * 10)
    assert data.train.labels.dtype == np.int64


def test_second_opening_reads_the_cache(cifar10: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_data(f"cifar10:{cifar10}")
    monkeypatch.setattr(cifar, "load_plain", lambda content: pytest.fail("unpickled again"))
    again = open_data(f"cifar10:{cifar10}")
    assert again.fingerprint == first.fingerprint
    assert isinstance(again.train.images, np.memmap)
    np.testing.assert_array_equal(again.train.images, first.train.images)
    monkeypatch.undo()


def test_changed_file_is_read_again(cifar10: Path) -> None:
    first = open_data(f"cifar10:{cifar10}")
    dump(cifar10 / "test_batch", {"labels": [3], "data": pixels(1, 9)})
    again = open_data(f"cifar10:{cifar10}")
    assert again.fingerprint != first.fingerprint
    np.testing.assert_array_equal(again.test.images.reshape(1, -1), pixels(1, 9))


def test_folder_parent_and_archive_are_the_same_data(cifar10: Path, tmp_path: Path) -> None:
    expected = open_data(f"cifar10:{cifar10}")
    archives = [
        pack(cifar10, tmp_path / "cifar-10-python.tar.gz"),
        pack(cifar10, tmp_path / "dotted.tar.gz", "./"),
    ]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    pack(cifar10, elsewhere / "cifar-10-python.tar.gz")
    for path in (tmp_path, *archives, elsewhere):
        data = open_data(f"cifar10:{path}")
        np.testing.assert_array_equal(data.train.images, expected.train.images)
        np.testing.assert_array_equal(data.test.labels, expected.test.labels)
        assert data.classes == expected.classes
    assert sorted(p.name for p in elsewhere.iterdir()) == ["cifar-10-python.tar.gz"]


def test_cifar100_fine_and_coarse(cifar100: Path) -> None:
    fine, coarse = (open_data(f"cifar100:{cifar100}", labels=labels) for labels in ("fine", "coarse"))
    assert (len(fine.classes), len(coarse.classes)) == (100, 20)
    assert (fine.classes[7], coarse.classes[7]) == ("fine7", "coarse7")
    np.testing.assert_array_equal(fine.train.labels // 5, coarse.train.labels)
    np.testing.assert_array_equal(fine.train.images, coarse.train.images)
    assert fine.fingerprint != coarse.fingerprint
    assert fine.mean == (0.5071, 0.4865, 0.4409)


def test_other_size(cifar10: Path) -> None:
    data = open_data(f"cifar10:{cifar10}", image_size=48)
    assert data.train.images.shape == (100, 3, 48, 48)
    assert (data.size, data.augment) == (48, "crop8")


def test_malicious_batch_is_refused_without_running(cifar10: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"

    class Attack:
        def __reduce__(self) -> object:
            return os.system, (f"touch {proof}",)

    dump(cifar10 / "data_batch_3", {b"labels": [0], b"data": Attack()})
    with pytest.raises(StkdError, match=r"data_batch_3 is refused: it asks for (posix|nt)\.system"):
        open_data(f"cifar10:{cifar10}")
    assert not proof.exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("test_batch", [1, 2], "test_batch has no 'data'; is it the Python version"),
        ("test_batch", {b"data": pixels(2, 0)}, "test_batch has no 'labels'"),
        ("test_batch", {b"labels": [0, 1]}, "test_batch has no 'data'"),
        ("test_batch", {b"labels": [0], b"data": pixels(2, 0)}, "test_batch has 2 images but 1 labels"),
        ("test_batch", {b"labels": [0, 10], b"data": pixels(2, 0)}, r"test_batch has labels outside 0\.\.9"),
        ("test_batch", {b"labels": [0, -1], b"data": pixels(2, 0)}, r"test_batch has labels outside 0\.\.9"),
        ("test_batch", {b"labels": [0, 0.5], b"data": pixels(2, 0)}, "test_batch has 2 images but 0 labels"),
        ("test_batch", {b"labels": [[0], [1, 2]], b"data": pixels(2, 0)}, "test_batch has 2 images but 0 labels"),
        ("test_batch", {b"labels": [], b"data": pixels(0, 0)}, "test_batch holds no 32 x 32 colour images"),
        ("data_batch_1", {b"labels": [0], b"data": pixels(1, 0)[:, :784]}, "data_batch_1 holds no 32 x 32"),
        ("data_batch_1", {b"labels": [0], b"data": pixels(1, 0).astype(float)}, "data_batch_1 holds no 32 x 32"),
        ("data_batch_1", {b"labels": [0], b"data": [1, 2]}, "data_batch_1 holds no 32 x 32"),
        ("data_batch_1", {b"labels": [0], b"data": "text"}, "data_batch_1 has no 'data'"),
        ("batches.meta", {b"label_names": [b"a", b"b"]}, "names 2 classes instead of 10"),
        ("batches.meta", {b"label_names": None}, "batches.meta has no 'label_names'"),
        ("batches.meta", {}, "batches.meta has no 'label_names'"),
    ],
)
def test_bad_records(cifar10: Path, file: str, content: object, message: str) -> None:
    dump(cifar10 / file, content)
    with pytest.raises(StkdError, match=message) as caught:
        open_data(f"cifar10:{cifar10}")
    assert str(cifar10) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_places(cifar10: Path, cifar100: Path, tmp_path: Path) -> None:
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(StkdError, match=r"empty has neither cifar-10-batches-py/batches\.meta nor cifar-10-python"):
        open_data(f"cifar10:{empty}")
    with pytest.raises(StkdError, match="cifar-100-python has neither"):
        open_data(f"cifar10:{cifar100}")
    with pytest.raises(StkdError, match="cifar10 has no coarse labels"):
        open_data(f"cifar10:{cifar10}", labels="coarse")
    (cifar10 / "data_batch_4").unlink()
    with pytest.raises(StkdError, match=r"has no data_batch_4; unpack cifar-10-python\.tar\.gz again"):
        open_data(f"cifar10:{cifar10}")
    (cifar10 / "data_batch_4").mkdir()
    with pytest.raises(StkdError, match="data_batch_4 cannot be read"):
        open_data(f"cifar10:{cifar10}")


def test_cut_file(cifar10: Path) -> None:
    file = cifar10 / "data_batch_2"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(StkdError, match=r"data_batch_2 is refused: .*; fetch the published files again"):
        open_data(f"cifar10:{cifar10}")


def test_bad_archives(cifar10: Path, cifar100: Path, tmp_path: Path) -> None:
    whole = pack(cifar10, tmp_path / "whole.tar.gz").read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "text": b"hello", "empty": b"", "gzip": whole[:40]}.items():
        (path := tmp_path / f"{name}.tar.gz").write_bytes(content)
        with pytest.raises(StkdError, match=r"fetch cifar-10-python\.tar\.gz again"):
            open_data(f"cifar10:{path}")
    with pytest.raises(StkdError, match="has no cifar-10-batches-py/data_batch_1"):
        open_data(f"cifar10:{pack(cifar100, tmp_path / 'other.tar.gz')}")


def test_archive_members_that_are_links_or_elsewhere_are_not_read(cifar10: Path, tmp_path: Path) -> None:
    path = tmp_path / "links.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in CIFAR10:
            tar.add(cifar10 / name, f"cifar-10-batches-py/{name}")
        link = tarfile.TarInfo("cifar-10-batches-py/batches.meta")
        link.type, link.linkname = tarfile.SYMTYPE, str(cifar10 / "batches.meta")
        tar.addfile(link)
        content = (cifar10 / "batches.meta").read_bytes()
        outside = tarfile.TarInfo("../cifar-10-batches-py/batches.meta")
        outside.size = len(content)
        tar.addfile(outside, io.BytesIO(content))
    with pytest.raises(StkdError, match=r"has no cifar-10-batches-py/batches\.meta"):
        open_data(f"cifar10:{path}")
