"""What is said of images, classes and files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stkd.data import DataSet, ImageFiles, Listing, Split
from stkd.preflight import Finding, Subject, check
from stkd.preflight.file_pass import pass_over
from stkd.preflight.image_records import describe_pixels

from .conftest import bright

Make = Callable[..., Any]


def found(subject: Subject, name: str) -> list[Finding]:
    return [finding for of, finding in check(subject).findings if of == name]


def photos(folder: Path, count: int, size: int = 48, seed: int = 0) -> tuple[str, ...]:
    """Smooth random pictures, each its own."""
    rng, names = np.random.default_rng(seed), []
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
        names.append(f"{folder.name}/{i}.png")
    return tuple(names)


def with_files(data: DataSet, root: Path, train: tuple[str, ...], test: tuple[str, ...]) -> DataSet:
    labels = [np.arange(len(names)) % len(data.classes) for names in (train, test)]
    splits = [Split(ImageFiles(root, n, 3, 32), own) for n, own in zip((train, test), labels, strict=True)]
    return replace(data, size=32, train=splits[0], test=splits[1])


@pytest.mark.parametrize(("copied", "level"), [(1, "warning"), (5, "error")])
def test_copies_of_training_images_in_test(copied: int, level: str, make_data: Make, make_subject: Make) -> None:
    data = make_data(each=10)
    test = bright(10, 20, seed=1)
    test.images[:copied] = data.train.images[:copied]  # type: ignore[index]
    (finding,) = found(make_subject(replace(data, test=test)), "copies")
    assert finding.level == level
    assert list(finding.names) == [f"train[{i}] = test[{i}]" for i in range(copied)]


def test_the_same_image_in_two_classes(make_data: Make, make_subject: Make) -> None:
    data = make_data(each=10)
    data.train.images[95] = data.train.images[2]
    (finding,) = found(make_subject(data), "copies")
    assert finding.level == "warning"
    assert list(finding.names) == ["train[2] = train[95]"]


def test_a_copy_of_another_format_is_a_copy_and_one_saved_again_is_near(
    tmp_path: Path, make_data: Make, make_subject: Make
) -> None:
    train, test = photos(tmp_path / "train", 8), photos(tmp_path / "test", 4, seed=1)
    Image.open(tmp_path / "train" / "3.png").save(tmp_path / "test" / "0.bmp")
    Image.open(tmp_path / "train" / "5.png").save(tmp_path / "test" / "9.jpg", quality=85)
    data = with_files(make_data(classes=2), tmp_path, train, (*test, "test/0.bmp", "test/9.jpg"))
    data = replace(data, test=replace(data.test, labels=np.array([0, 1, 0, 1, 1, 1])))  # as their originals
    exact, near = found(make_subject(data), "copies")
    assert list(exact.names) == ["train/3.png = test/0.bmp"]
    assert near.level == "note"
    assert list(near.names) == ["train/5.png ~ test/9.jpg"]


def test_broken_files_are_counted_together(tmp_path: Path, make_data: Make, make_subject: Make) -> None:
    train, test = photos(tmp_path / "train", 9), photos(tmp_path / "test", 4, seed=1)
    for i in (2, 4, 6, 7):
        whole = (tmp_path / "train" / f"{i}.png").read_bytes()
        (tmp_path / "train" / f"{i}.png").write_bytes(whole[: len(whole) // 2])
    data = with_files(make_data(classes=2), tmp_path, train, test)
    (finding,) = found(make_subject(data), "broken-files")
    assert finding.level == "error"
    assert "4 broken image files ('train/2.png', 'train/4.png', 'train/6.png' ...)" in finding.message
    assert "--skip-bad true" in finding.message
    assert len(finding.names) == 4
    (skipped,) = found(make_subject(data, skip_bad=True), "broken-files")
    assert skipped.level == "warning"


def test_a_pass_goes_on_where_it_stopped(tmp_path: Path) -> None:
    names = photos(tmp_path / "a", 200)
    files = {name: tmp_path / name for name in names}
    looked = []

    def describe(pixels: Any) -> tuple[int, int]:
        looked.append(pixels.shape)
        return describe_pixels(pixels)

    first = pass_over(tmp_path, files, describe, 0.0)
    assert first.left == 200 - len(looked) > 0
    assert first.seconds_left > 0
    seen = len(looked)
    rest = pass_over(tmp_path, files, describe, None)
    assert (rest.left, len(looked)) == (0, 200)
    assert {n: rest.described[n] for n in first.described} == first.described
    assert seen == len(first.described)
    Image.new("RGB", (9, 9)).save(tmp_path / names[0])  # changed: looked at again, and it alone
    again = pass_over(tmp_path, files, describe, None)
    assert len(looked) == 201
    assert again.described[names[0]] != rest.described[names[0]]


def test_files_that_were_not_looked_at_are_said(tmp_path: Path, make_data: Make, make_subject: Make) -> None:
    train, test = photos(tmp_path / "train", 150), photos(tmp_path / "test", 4, seed=1)
    subject = make_subject(with_files(make_data(classes=2), tmp_path, train, test))
    hurried = replace(subject, seconds=0.0)
    (finding,) = found(hurried, "broken-files")
    assert finding.level == "note"
    assert "'stkd check --full'" in finding.message
    assert not found(replace(subject, full=True), "broken-files")


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ({"train": {"cat": 3, "masks": 3}}, "1 class folder with an unusual name ('masks')"),
        ({"train": {"cat": 3, "Cat ": 3}}, "'Cat ' and 'cat'"),
        ({"train": {"caf\u00e9": 3, "cafe\u0301": 3}}, "'cafe\\u0301' and 'caf\\xe9'"),
        ({"train": {"cat": 3, "\ufeffcat": 2}}, "'cat' and '\\ufeffcat'"),
        ({"train": {"cat": 3, "dog": 0}}, "1 class folder without images ('train/dog')"),
    ],
)
def test_folders_that_look_like_no_class(
    folders: dict[str, dict[str, int]], words: str, make_data: Make, make_subject: Make
) -> None:
    data = make_data(listing=Listing(Path("x"), folders, {}))  # type: ignore[arg-type]
    (finding,) = found(make_subject(data), "class-folders")
    assert finding.level == "warning"
    assert words in finding.message


def test_ordinary_folders_say_nothing(make_data: Make, make_subject: Make) -> None:
    listing = Listing(Path("x"), {"train": {"cat": 3, "cat food": 3, "training shoe": 2}}, {})
    assert not found(make_subject(make_data(listing=listing)), "class-folders")


def test_files_left_are_counted_with_the_reason(make_data: Make, make_subject: Make) -> None:
    listing = Listing(Path("x"), {"train": {"a": 1}}, {"no ending": tuple("abcd"), "zero bytes": ("e",)})
    first, second = found(make_subject(make_data(listing=listing)), "files-left")
    assert first.message == "4 files not taken ('a', 'b', 'c' ...): no ending"
    assert (second.level, list(second.names)) == ("warning", ["e"])


def test_one_class_is_an_error(make_data: Make, make_subject: Make) -> None:
    data = make_data(classes=3)
    only = replace(data, train=replace(data.train, labels=np.ones(len(data.train), np.int64)), test=None)
    (finding,) = found(make_subject(only), "balance")
    assert finding.level == "error"
    assert "'c1'" in finding.message


def test_classes_that_a_split_lacks_are_a_warning(make_data: Make, make_subject: Make) -> None:
    data = make_data(classes=3)
    (finding,) = found(make_subject(replace(data, test=bright(2, 5))), "balance")
    assert finding.level == "warning"
    assert "1 class of train without test images ('c2')" in finding.message


def test_extreme_imbalance_is_a_note(make_data: Make, make_subject: Make) -> None:
    data = make_data(classes=2, each=200)
    keep = np.r_[0:200, 200:203]
    uneven = replace(data, train=Split(data.train.images[keep], data.train.labels[keep]))
    (finding,) = found(make_subject(uneven), "balance")
    assert finding.level == "note"
    assert "--class-weights balanced" in finding.message


def test_every_check_has_a_summary_and_runs_on_sound_data(make_data: Make, make_subject: Make, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    report = check(make_subject(make_data()))
    assert not report.of("error", "warning")
    assert report.record()["findings"] == [
        {"check": name, "level": f.level, "message": f.message, "names": list(f.names), "file": None}
        for name, f in report.findings
    ]
