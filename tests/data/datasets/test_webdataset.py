"""Images in tar shards: the same as in folders, also where they stay there; one line for each mistake."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stkd
from stkd.core.errors import StkdError
from stkd.data import UNLABELLED, DataSet, ImageFiles, image_tree, open_data, tar_index
from stkd.data.loader import TrainLoader, eval_batches
from stkd.mixing import Mix

Write = Callable[..., Path]
CPU = torch.device("cpu")


def png(save_image: Write, tmp_path: Path, name: str) -> bytes:
    return save_image(tmp_path / "one" / f"{name}.png", (16, 16)).read_bytes()


def test_tars_are_the_same_data_as_folders(
    pictures: Path, as_tars: Write, same: Callable[[DataSet, DataSet], None]
) -> None:
    same(open_data(f"webdataset:{as_tars()}"), open_data(f"folder:{pictures}"))


@pytest.mark.parametrize("size", [16, 72])
def test_batches_of_tars_that_stay_on_disk(
    pictures: Path, as_tars: Write, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_tree, "STORE_LIMIT", 0)
    sets = [open_data(spec, image_size=size) for spec in (f"webdataset:{as_tars()}", f"folder:{pictures}")]
    assert all(isinstance(data.train.images, ImageFiles) for data in sets)
    loaders = [
        TrainLoader(data, batch_size=4, mix=Mix(), augmentation=data.augment, seed=1, device=CPU, workers=workers)
        for data, workers in zip(sets, (1, 0), strict=True)
    ]
    for own, other in zip(loaders[0].epoch(1), loaders[1].epoch(1), strict=True):
        assert torch.equal(own.images, other.images)
        assert torch.equal(own.targets, other.targets)
    shown = [[images for images, _ in eval_batches(d.test, d, batch_size=4, device=CPU)] for d in sets if d.test]
    assert torch.equal(torch.cat(shown[0]), torch.cat(shown[1]))


def test_numbers_are_labels_in_their_own_order(as_tars: Write) -> None:
    root = as_tars({"cat": "3", "dog": "1"})
    data = open_data(f"webdataset:{root}")
    assert data.classes == ("0", "1", "2", "3")
    assert data.train.labels.tolist() == [3] * 5 + [1] * 5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "ant\nbee\ncow\nbee\n"),
        ("dataset_info.json", '{"features": {"cls": {"names": ["ant", "bee", "cow", "bee"]}}}'),
        (
            "README.md",
            "---\ndataset_info:\n- config_name: a\n  features:\n  - name: label\n    dtype:\n      class_label:\n"
            "        names: {'0': ant, '3': bee, '1': bee, '2': cow}\n---\n# A\n",
        ),
    ],
)
def test_names_of_numbers(as_tars: Write, name: str, text: str) -> None:
    root = as_tars({"cat": "3", "dog": "0"})
    (root / name).write_text(text)
    assert open_data(f"webdataset:{root}").classes == ("ant", "bee (1)", "cow", "bee (3)")


def test_one_file_folders_of_splits_and_labels_in_json(
    as_tars: Write, write_tar: Write, save_image: Write, tmp_path: Path
) -> None:
    root = as_tars(root=tmp_path / "nested", pattern="{}/photos-{:03d}.tar")
    assert len(open_data(f"webdataset:{root}").train) == 10
    members = [(f"./x/{k}.PNG", png(save_image, tmp_path, f"j{k}")) for k in range(10)]
    members += [(f"./x/{k}.json", f'{{"caption": "?", "label": {k % 2}}}'.encode()) for k in range(10)]
    members += [("./x/0.txt", b"a caption"), ("./.DS_Store", b""), ("./x/LICENSE", b"free")]
    one = open_data(f"webdataset:{write_tar(tmp_path / 'all.tar', members)}")
    assert (len(one.train), len(one.test), one.classes) == (8, 2, ("0", "1"))
    assert one.listing is not None
    assert {reason: len(names) for reason, names in one.listing.left.items()} == {"hidden": 1, "no ending": 1}


def test_images_without_labels_are_unlabelled(write_tar: Write, save_image: Write, tmp_path: Path) -> None:
    images = [(f"{k}.png", png(save_image, tmp_path, f"u{k}")) for k in range(4)]
    write_tar(tmp_path / "tars" / "train.tar", images)
    labels = [(f"{k}.cls", b"ab"[k % 2 : k % 2 + 1]) for k in range(4)]
    write_tar(tmp_path / "tars" / "val.tar", [member for pair in zip(images, labels, strict=True) for member in pair])
    data = open_data(f"webdataset:{tmp_path / 'tars'}")
    assert data.train.labels.tolist() == [UNLABELLED] * 4
    assert data.classes == ("a", "b")


def test_a_test_split_without_labels_is_left_out(as_tars: Write, write_tar: Write, pictures: Path) -> None:
    root = as_tars()
    (root / "test-000.tar").rename(root / "val-000.tar")
    (root / "test-001.tar").unlink()
    file = pictures / "test" / "cat" / "0.png"
    write_tar(root / "test-000.tar", [("a.png", file.read_bytes()), ("b.png", file.read_bytes())])
    data = open_data(f"webdataset:{root}")
    assert len(data.test) == 4
    assert data.listing is not None
    assert len(data.listing.left["of a test split without labels"]) == 2


def link(name: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member


@pytest.mark.parametrize(
    ("members", "words", "left"),
    [
        ([("../evil.png", b"x")], r"train-009\.tar/\.\./evil\.png has '\.\.' in its path", 10),
        ([("a\\..\\evil.png", b"x")], "in its path", 10),
        ([("/etc/evil.png", b"x")], "has an absolute path", 10),
        ([link("evil.png")], r"evil\.png is a link", 10),
        ([link("evil.png", tarfile.LNKTYPE)], r"evil\.png is a link", 10),
        ([link("evil.png", tarfile.FIFOTYPE)], r"evil\.png is no plain file", 10),
        ([("a.png", b"x")], r"a\.png has no label beside it \(\.cls or \.json\)", 10),
        ([("a.cls", b"cat"), ("b.cls", b"cat")], r"2 files .*train-009\.tar/a has a label and no image", 10),
        ([("a.png", b"x"), ("a.jpg", b"x"), ("a.cls", b"cat")], "has another image of the same key beside it", 10),
        ([("a.png", b""), ("a.cls", b"cat")], r"a\.png has zero bytes", 10),
        ([("a.png", b"x"), ("a.cls", b"")], r"a \.cls that is no label \(neither a number nor a name\)", 10),
        ([("a.png", b"x"), ("a.json", b'{"label": [1]}')], r"a \.json that is no label", 10),
        ([("a.png", b"x"), ("a.json", b'{"label": true}')], r"a \.json that is no label", 10),
        ([("a.png", b"x"), ("a.json", b"[" * 100_000)], r"that is no label \(no JSON\)", 10),
        ([("a.png", b"x"), ("a.json", b'{"text": "a"}')], r"a\.png has no label beside it", 10),
        ([("a.png", b"x"), ("a.cls", b"cat")], r"a\.png is broken or no image", 10),
    ],
)
def test_members_that_cannot_be_used_are_counted_or_left_out(
    as_tars: Write, write_tar: Write, tmp_path: Path, members: list[Any], words: str, left: int
) -> None:
    root = as_tars()
    write_tar(root / "train-009.tar", members)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(StkdError, match=words) as error:
        open_data(f"webdataset:{root}")
    assert "\n" not in str(error.value)
    assert "--skip-bad true" in str(error.value)
    data = open_data(f"webdataset:{root}", skip_bad=True)
    assert len(data.train) == left
    assert data.listing is not None
    assert data.listing.left["broken"]
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("damage", "words", "kept"),
    [
        (lambda raw: raw[:3000], "is cut off or damaged before its end", 7),
        (lambda raw: raw[:3072], "is cut off or damaged before its end", 7),
        (lambda raw: raw[:2560], "is cut off or damaged before its end", 7),
        (lambda raw: raw[:3072] + b"\xff" * 512 + raw[3584:], "is broken or no image", 9),
        (lambda raw: b"", "is damaged, compressed or no tar file", 6),
        (lambda raw: b"\x1f\x8b" + raw[2:], "is damaged, compressed or no tar file", 6),
    ],
)
def test_a_tar_that_is_cut_off_or_damaged(
    as_tars: Write, damage: Callable[[bytes], bytes], words: str, kept: int
) -> None:
    root = as_tars()
    file = root / "train-000.tar"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(StkdError, match=rf"train-000\.tar.* ({words})") as error:
        open_data(f"webdataset:{root}")
    assert "\n" not in str(error.value)
    assert len(open_data(f"webdataset:{root}", skip_bad=True).train) == kept


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: [path.unlink() for path in root.iterdir()], r"has no \.tar files"),
        (lambda root: [path.rename(f"{path}.gz") for path in root.iterdir()], r"left out: test-000\.tar\.gz"),
        (lambda root: [path.unlink() for path in root.glob("train*")], "no shard of train"),
        (lambda root: (root / "train-000.tar").rename(root / "train-test-000.tar"), "names of two splits"),
        (lambda root: (root / "train-000.tar").rename(root / "train-00002-of-00003.tar"), "lacks 2 of 3 files"),
        (lambda root: (root / "classes.txt").write_text("ant\nbee\n"), "unknown class .* 'cat'"),
        (lambda root: (root / "classes.txt").write_bytes(b"\xff\xfe"), "no text in UTF-8"),
    ],
)
def test_shards_that_make_no_data_set(as_tars: Write, change: Callable[[Path], Any], words: str) -> None:
    root = as_tars()
    change(root)
    with pytest.raises(StkdError, match=words) as error:
        open_data(f"webdataset:{root}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("cat", "words"),
    [
        ("cat", "some labels are numbers, such as 1, and some are names, such as 'cat'"),
        ("-2", "a label is -2; give numbers from 0, or -1"),
        ("2000000", "a label is 2000000; give the classes numbers from 0 on"),
    ],
)
def test_labels_that_make_no_classes(as_tars: Write, cat: str, words: str) -> None:
    with pytest.raises(StkdError, match=words):
        open_data(f"webdataset:{as_tars({'cat': cat, 'dog': '1'})}")
    root = as_tars({"cat": "7", "dog": "1"})
    (root / "classes.txt").write_text("ant\nbee\n")
    with pytest.raises(StkdError, match="a label is 7, but 2 classes have a name"):
        open_data(f"webdataset:{root}")


def test_the_index_is_read_once_and_again_when_a_file_changes(
    as_tars: Write, write_tar: Write, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, read = as_tars(), []
    monkeypatch.setattr("stkd.data.digest.SETTLED_S", -60.0)  # the time of a file's last change cannot be set
    kept = tar_index._index
    monkeypatch.setattr(tar_index, "_index", lambda *given: read.append(given) or kept(*given))
    first = open_data(f"webdataset:{root}")
    assert len(read) == 2
    assert open_data(f"webdataset:{root}").fingerprint == first.fingerprint
    assert len(read) == 2
    write_tar(root / "train-000.tar", [("a.png", next(pictures.rglob("*.png")).read_bytes()), ("a.cls", b"dog")])
    assert len(open_data(f"webdataset:{root}").train) == 7
    assert len(read) == 3


def test_memory_does_not_grow_with_the_members(tmp_path: Path, write_tar: Write) -> None:
    write_tar(tmp_path / "many.tar", [(f"{k}.txt", b"") for k in range(300)])
    with tarfile.open(tmp_path / "many.tar", "r:") as tar:
        most = max(len(tar.members) for _ in tar_index._members(tar))  # type: ignore[attr-defined]
    assert most <= 1


def test_a_run_trains_on_tars_and_is_opened_again(as_tars: Write, tmp_path: Path) -> None:
    spec = f"webdataset:{as_tars()}"
    options: dict[str, Any] = {"epochs": 1, "batch_size": 4, "compile": "none", "preflight": "off"}
    run = stkd.train("cnn2", spec, out=tmp_path / "run", **options)
    assert not stkd.train("cnn2", spec, out=tmp_path / "run", **options).fresh
    assert run.scores["test"]["top1"] in {k / 6 for k in range(7)}
    assert np.isfinite(run.scores["test"]["nll"])
