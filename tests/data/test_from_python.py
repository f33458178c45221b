"""Data sets that a Python program holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import CIFAR10, ImageFolder

import stkd
from stkd.data.from_python import data_from, spec_of

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
FIRST = np.moveaxis(PIXELS, -1, 1)
LABELS = np.arange(40) % 4
CLASSES = ("ant", "bee", "cat", "dog")


class Pictures(Dataset[Any]):
    """A map-style data set as people write them."""

    def __init__(self, make: Callable[[int], Any], transform: Any = None, classes: Any = CLASSES) -> None:
        self.make, self.transform, self.classes = make, transform, classes

    def __len__(self) -> int:
        return 40

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        image = self.make(i)
        return (image if self.transform is None else self.transform(image)), int(LABELS[i])


def pil(i: int) -> Image.Image:
    return Image.fromarray(PIXELS[i])


def whole(data: stkd.data.DataSet) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images and labels of train and test, in the order of the labels' own images."""
    assert data.test is not None
    images = np.concatenate([np.asarray(data.train.images), np.asarray(data.test.images)])
    labels = np.concatenate([data.train.labels, data.test.labels])
    order = np.lexsort(images.reshape(len(images), -1).T)
    return images[order], labels[order]


FORMS: dict[str, Callable[[], Any]] = {
    "PIL": lambda: Pictures(pil),
    "uint8 tensors": lambda: Pictures(lambda i: torch.from_numpy(FIRST[i].copy())),
    "float tensors": lambda: Pictures(lambda i: torch.from_numpy(FIRST[i].astype(np.float32) / 255)),
    "floats to 255": lambda: Pictures(lambda i: FIRST[i].astype(np.float64)),
    "arrays": lambda: Pictures(lambda i: PIXELS[i]),
    "int64": lambda: Pictures(lambda i: PIXELS[i].astype(np.int64)),
    "ToTensor": lambda: Pictures(pil, transforms.ToTensor()),
    "random crops and normalisation": lambda: Pictures(
        pil, transforms.Compose([transforms.RandomCrop(12, 4), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    ),
    "DataLoader": lambda: DataLoader(Pictures(pil), batch_size=7, shuffle=True),
    "subset": lambda: Subset(Pictures(pil, transforms.ToTensor()), list(range(40))),
    "concatenated": lambda: ConcatDataset([Subset(Pictures(pil), range(20)), Subset(Pictures(pil), range(20, 40))]),
    "TensorDataset": lambda: TensorDataset(torch.from_numpy(FIRST.copy()), torch.from_numpy(LABELS)),
    "pair NHWC": lambda: (PIXELS, LABELS),
    "pair NCHW": lambda: (torch.from_numpy(FIRST.copy()).float() / 255, torch.from_numpy(LABELS)),
    "lists": lambda: ([pil(i) for i in range(40)], LABELS.tolist()),
    "list of pairs": lambda: [(pil(i), LABELS[i]) for i in range(40)],
}


@pytest.mark.parametrize("form", FORMS)
def test_pixels_and_labels_are_those_that_were_given(form: str) -> None:
    data = data_from(FORMS[form]())
    images, labels = whole(data)
    order = np.lexsort(FIRST.reshape(40, -1).T)
    np.testing.assert_array_equal(images, FIRST[order])
    np.testing.assert_array_equal(labels, LABELS[order])
    named = form not in ("TensorDataset", "pair NHWC", "pair NCHW", "lists", "list of pairs")
    assert data.classes == (CLASSES if named else ("0", "1", "2", "3"))
    assert (data.channels, data.size, len(data.train), data.val) == (3, 12, 32, None)
    assert data.mean == pytest.approx(np.asarray(data.train.images).mean((0, 2, 3)) / 255)
    assert np.bincount(data.test.labels).tolist() == [2, 2, 2, 2]


def test_the_fingerprint_is_of_the_content() -> None:
    forms = [data_from(FORMS[form]()).fingerprint for form in ("PIL", "arrays", "subset")]
    assert len(set(forms)) == 1
    other = FIRST.copy()
    other[3, 0, 0, 0] ^= 1
    labels = LABELS.copy()
    labels[[0, 1]] = labels[[1, 0]]
    pairs = [(FIRST, LABELS), (other, LABELS), (FIRST, labels)]
    assert len({data_from(pair).fingerprint for pair in pairs}) == 3


def test_grey_images_and_images_of_many_sizes() -> None:
    assert data_from((PIXELS[..., 0], LABELS)).channels == 1
    grey = Pictures(lambda i: pil(i).convert("L" if i % 2 else "RGBA"))
    assert data_from(grey).channels == 3
    sizes = Pictures(lambda i: pil(i).resize((12 + i % 3, 12)))
    assert data_from(sizes).size == 224
    small = data_from(sizes, image_size=8)
    assert (small.size, small.augment) == (8, "crop4")
    assert data_from((PIXELS, LABELS), image_size=8, crop_pct=0.5).crop_pct == 0.5


def test_splits() -> None:
    train, test = (PIXELS[:30], LABELS[:30]), (PIXELS[30:], LABELS[30:])
    named = data_from({"train": train, "test": test})
    assert (len(named.train), len(named.test or ()), named.val) == (30, 10, None)
    assert data_from((train, test)).fingerprint == named.fingerprint
    alone = data_from({"train": train, "validation": test})
    assert (alone.val, len(alone.test or ())) == (None, 10), "as in a folder"
    held = data_from({"train": train, "test": test}, val_fraction=0.2, train_images=8)
    assert (len(held.train), len(held.val or ())) == (8, 6)


def test_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transform is left out and said, that of labels stays."""
    monkeypatch.setattr(CIFAR10, "__init__", lambda self: None)
    data = CIFAR10()  # type: ignore[call-arg]
    data.data, data.targets, data.classes = PIXELS, LABELS.tolist(), list(CLASSES)
    data.transform, data.target_transform = transforms.ToTensor(), lambda label: 3 - label
    data.transforms = None
    _, labels = whole(data_from(data))
    order = np.lexsort(FIRST.reshape(40, -1).T)
    np.testing.assert_array_equal(labels, 3 - LABELS[order])
    assert data.transform is not None, "the data set itself is left as it is"


def test_what_is_left_out_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "stkd")
    data_from(DataLoader(Pictures(pil, transforms.ToTensor()), batch_size=4))
    assert any("sampler, batch size, collate function and transform are replaced" in m for m in caplog.messages)
    assert any("the transform of Pictures is not applied" in m for m in caplog.messages)
    assert any("20 % of the images are held out" in m for m in caplog.messages)
    caplog.clear()
    noise = np.random.default_rng(1)
    data_from(Pictures(lambda i: noise.integers(0, 256, (12, 12, 3), dtype=np.uint8)))
    assert any("each is taken once, as it comes" in m for m in caplog.messages)
    caplog.clear()
    # no image without its transform: it is taken as it comes
    data_from(Pictures(lambda i: f"{i}.png", lambda name: pil(int(name.partition(".")[0]))))
    assert not any("is not applied" in m for m in caplog.messages)


class _Columns(dict[str, Any]):
    """Features of a stand-in for `datasets.Dataset`."""


def hugging_face(image: str = "image", label: str = "label") -> Any:
    def item(self: Any, i: int) -> dict[str, Any]:
        return {image: pil(i) if self.plain else "a formatted tensor", label: int(LABELS[i])}

    methods = {
        "__module__": "datasets.arrow_dataset",
        "__len__": lambda self: 40,
        "__getitem__": item,
        "with_format": lambda self, form: type(self)(plain=form is None),
        "__init__": lambda self, plain=False: setattr(self, "plain", plain),
        "features": _Columns({image: object(), label: SimpleNamespace(names=list(CLASSES))}),
    }
    return type("Dataset", (), methods)()


def test_hugging_face() -> None:
    data = data_from({"train": hugging_face(), "test": hugging_face("img")})
    assert data.classes == CLASSES
    np.testing.assert_array_equal(np.asarray(data.train.images), FIRST)
    with pytest.raises(stkd.StkdError, match="item 0 has picture, label; name its columns image and label"):
        data_from(hugging_face("picture"))


# Folders.


def test_an_image_folder_is_the_folder(pictures: Path, tmp_path: Path) -> None:
    source = ImageFolder(pictures, transforms.RandomCrop(4))
    same, asked = data_from(source), stkd.open_data(f"folder:{pictures}")
    assert same.fingerprint == asked.fingerprint
    assert spec_of(source) == f"folder:{pictures}"
    splits = tmp_path / "splits"
    splits.mkdir()
    for name in ("train", "val"):
        (splits / name).symlink_to(pictures)
    pair = {"train": ImageFolder(splits / "train"), "val": ImageFolder(splits / "val")}
    assert spec_of(pair) == f"folder:{splits}"
    with pytest.raises(
        stkd.StkdError, match="the classes of this ImageFolder are train and val; give the splits apart"
    ):
        data_from(ImageFolder(splits))


def test_a_part_of_an_image_folder_is_read_from_its_files(pictures: Path) -> None:
    part = Subset(ImageFolder(pictures, transforms.ToTensor()), [0, 1, 2, 10, 11, 12])
    data = data_from({"train": part, "test": ImageFolder(pictures)})
    assert data.classes == ("cat", "dog")
    assert data.train.files is not None
    assert data.train.files.names == ("cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png", "dog/1.png", "dog/2.png")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert spec_of({"train": part, "test": ImageFolder(pictures)}) is None
    named = ImageFolder(pictures, target_transform=lambda label: 1 - label)
    assert data_from(Subset(named, range(20))).train.labels[0] == 1


# Runs.

SMALL = {"epochs": 1, "batch_size": 16, "precision": "32", "accelerator": "cpu"}


def test_it_goes_where_a_name_goes(tmp_path: Path, request: Any) -> None:
    data = Pictures(pil)
    result = stkd.train("cnn2", data, out=tmp_path / "teacher", val_fraction=0.2, **SMALL)
    assert set(result.scores) >= {"val", "test"}
    assert not stkd.train("cnn2", data, out=tmp_path / "teacher", val_fraction=0.2, **SMALL).fresh
    students = {"a": {"student": "cnn2"}}
    stkd.distill_many(str(result.out), students, data, "kd", out=tmp_path / "many", **SMALL)
    cache = stkd.cache_teacher(str(result.out), data, "kd", out=tmp_path / "cache", **SMALL)
    stkd.distill(None, "cnn2", data, "kd", out=tmp_path / "student", teacher_cache=cache.out, **SMALL)
    assert stkd.check(data).of("error") == []
    _, info = stkd.load(tmp_path / "student")
    assert info.classes == CLASSES
    answer = request.getfixturevalue("stkd")("evaluate", tmp_path / "student")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "these images were given from Python (Pictures) and cannot be found again; give them to" in answer.err


def test_a_run_of_an_image_folder_is_evaluated(pictures: Path, tmp_path: Path, request: Any) -> None:
    stkd.train("cnn2", ImageFolder(pictures), out=tmp_path / "run", **SMALL)
    assert request.getfixturevalue("stkd")("evaluate", tmp_path / "run").code == 0


def test_options_of_data_by_name_are_refused(tmp_path: Path) -> None:
    for option in ({"labels": "coarse"}, {"nested": True}):
        with pytest.raises(stkd.StkdError, match="is for data by name; a data set of yours has its own classes"):
            stkd.train("cnn2", Pictures(pil), out=tmp_path / "run", **SMALL, **option)
    assert not (tmp_path / "run").exists()


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


def items(make: Callable[[int], Any]) -> Any:
    return [make(i) for i in range(4)]


BAD: dict[str, tuple[Any, str]] = {
    "iterable": (Stream(), "cannot be asked for its n-th image .iterable style."),
    "no data": (7, "int cannot be asked for its n-th image"),
    "empty": ([], "has no images"),
    "no pairs": (items(pil), "item 0 is a Image; it must be an image and its label"),
    "three things": (items(lambda i: (pil(i), 0, i)), "item 0 is a tuple of 3; it must be an image and its label"),
    "normalised": ((FIRST / 255.0 - 0.5, LABELS), r"floating-point numbers from -0\.5 to 0\.5; give them before norm"),
    "NaN": ((np.full((40, 3, 8, 8), np.nan), LABELS), "floating-point numbers from nan to nan"),
    "300": ((FIRST.astype(np.int64) + 45, LABELS), "values from 45 to 300; give numbers from 0 to 255"),
    "flat": ((PIXELS.reshape(40, -1), LABELS), r"images have the shape \(40, 432\); give \(N, H, W\)"),
    "four channels": ((np.zeros((4, 4, 9, 9)), LABELS[:4]), "give 1 or 3 channels"),
    "text labels": (items(lambda i: (pil(i), "cat")), "the label of image 0 is 'cat'; give the number of its class"),
    "float labels": ((PIXELS, LABELS / 2), "labels are of type float64; give whole numbers"),
    "half a label": (items(lambda i: (pil(i), i / 2)), r"the label of image 0 is 0\.0; give the number of its class"),
    "one-hot": ((PIXELS, np.eye(4)[LABELS]), r"labels have the shape \(40, 4\); give the number of the class"),
    "negative": ((PIXELS, LABELS - 3), "a label is -3; give numbers from 0, or -1"),
    "one label less": ((PIXELS, LABELS[1:]), "there are 40 images and 39 labels"),
    "one label less in a list": (([pil(0), pil(1)], [0]), "there are 2 images and 1 labels"),
    "one class": ((PIXELS, 0 * LABELS), "there is one class, '0', and a classifier needs two"),
    "too few names": (Pictures(pil, classes=("a", "b")), "a label is 3, but there are 2 classes"),
    "mixed types": (items(lambda i: (PIXELS[i] if i % 2 else PIXELS[i] / 255, i % 2)), "give all of one type"),
    "other split": ({"trian": (PIXELS, LABELS)}, "unknown split 'trian'; did you mean"),
    "no train": ({"test": (PIXELS, LABELS)}, "there is no split 'train'"),
    "two vals": ({"train": [], "val": [], "valid": []}, "'valid' names the val split a second time"),
    "other classes": ((Pictures(pil), Pictures(pil, classes="abcd")), "the splits have other class names"),
    "other scale": (((FIRST / 255.0, LABELS), (FIRST, LABELS)), "in whether white is 1 or 255"),
    "other channels": (((PIXELS, LABELS), (PIXELS[..., 0], LABELS)), "the splits differ in the number of channels"),
    "test without labels": (((PIXELS, LABELS), (PIXELS, LABELS * 0 - 1)), "test has images without a label"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_in_one_line(name: str) -> None:
    source, said = BAD[name]
    with pytest.raises(stkd.StkdError, match=said) as error:
        data_from(source)
    assert "\n" not in str(error.value)


def test_sets_that_do_not_fit_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stkd.data.python_items.STORE_LIMIT", 9000)
    for source in ((PIXELS, LABELS), Pictures(pil)):
        with pytest.raises(stkd.StkdError, match="of memory; give a smaller image_size, or save them as files"):
            data_from(source)
        assert data_from(source, image_size=8).size == 8
