"""Images that a table lists: as the same images in folders, and one line for each mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import stkd
from stkd.core.errors import StkdError
from stkd.data import UNLABELLED, open_data

SaveImage = Callable[..., Path]


def write(file: Path, *lines: str, header: str = "path,label,split") -> str:
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return f"csv:{file}"


def lines_of(pictures: Path, separator: str = ",") -> list[str]:
    files = sorted(pictures.rglob("*.png"))
    return [separator.join((str(f.relative_to(pictures)), f.parts[-2], f.parts[-3])) for f in files]


def test_a_table_of_folders_is_the_same_data(pictures: Path) -> None:
    table = open_data(write(pictures / "images.csv", *lines_of(pictures)))
    folder = open_data(f"folder:{pictures}")
    assert (table.classes, table.size, table.augment) == (folder.classes, folder.size, folder.augment)
    assert (table.mean, table.std) == (folder.mean, folder.std)
    for own, other in ((table.train, folder.train), (table.test, folder.test)):
        assert (own.labels == other.labels).all()
        assert (own.images == other.images).all()


@pytest.mark.parametrize("header", ["filename,class", "Image , Category", "label,file"])
def test_columns_by_their_usual_names_and_a_drawn_test_split(pictures: Path, header: str) -> None:
    rows = [line.rpartition(",")[0] for line in lines_of(pictures)]
    if header.startswith("label"):
        rows = [",".join(reversed(row.split(","))) for row in rows]
    data = open_data(write(pictures / "images.csv", *rows, header=header))
    assert data.classes == ("cat", "dog")
    assert (len(data.train), len(data.test)) == (13, 3)
    assert np.bincount(data.test.labels, minlength=2).min() >= 1


def test_tabs_absolute_paths_and_names_with_commas(pictures: Path, tmp_path: Path, save_image: SaveImage) -> None:
    odd = save_image(tmp_path / "elsewhere" / "a, b\N{LATIN SMALL LETTER E WITH ACUTE}.png", (16, 16))
    rows = [*lines_of(pictures), f'"{odd}",cat,train']
    commas = open_data(write(pictures / "images.csv", *rows))
    rows = [*lines_of(pictures, "\t"), f"{odd}\tcat\ttrain"]
    tabs = open_data(write(pictures / "images.tsv", *rows, header="path\tlabel\tsplit"))
    assert len(commas.train) == len(tabs.train) == 11
    assert commas.fingerprint == tabs.fingerprint


def test_unlabelled_training_images(pictures: Path) -> None:
    rows = [row if "/0.png" in row else row.replace("cat,train", ",train") for row in lines_of(pictures)]
    data = open_data(write(pictures / "images.csv", *rows))
    assert data.classes == ("cat", "dog")
    assert (data.train.labels == UNLABELLED).sum() == 4


def test_other_labels_are_other_data(pictures: Path) -> None:
    rows = lines_of(pictures)
    one = open_data(write(pictures / "a.csv", *rows)).fingerprint
    assert one == open_data(write(pictures / "b.csv", *rows)).fingerprint
    rows[0], rows[-1] = rows[0].replace(",cat", ",dog"), rows[-1].replace(",dog", ",cat")
    assert one != open_data(write(pictures / "c.csv", *rows)).fingerprint


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("picture,label", "x.png,cat", "no column 'image'"),
        ("path,name", "x.png,cat", "no column 'label'"),
        ("path,label,split", "x.png,cat", "2 columns where the first line names 3"),
        ("path,label,split", "x.png,cat,tran", "did you mean train"),
        ("path,label,split", ",cat,train", "there is no path"),
        ("path,label,split", "train/cat/0.png,dog,test", "more than once, such as train/cat/0.png"),
        ("path,label,split", "x.png,cat,train", "x.png is not there"),
        ("path,label,split", "test/cat/0.png,,test", "1 test images have no label"),
        ("path,label,split", '"x.png,cat,train', "no table in UTF-8"),
    ],
)
def test_mistakes_get_one_line(pictures: Path, header: str, row: str, words: str) -> None:
    rows = [line for line in lines_of(pictures) if not line.startswith(row.partition(",")[0] + ",") or "dog" in row]
    rows = rows if header == "path,label,split" else [line.rpartition(",")[0] for line in rows]
    with pytest.raises(StkdError, match=words) as error:
        open_data(write(pictures / "images.csv", *rows, row, header=header))
    assert "\n" not in str(error.value)


def test_files_that_are_not_there_are_counted_or_left_out(pictures: Path) -> None:
    spec = write(pictures / "images.csv", *lines_of(pictures))
    for k in range(1, 5):
        (pictures / "train" / "cat" / f"{k}.png").unlink()
    with pytest.raises(StkdError, match=r"4 .*train/cat/1\.png"):
        open_data(spec)
    left = open_data(spec, skip_bad=True)
    assert len(left.train) == 6
    assert left.listing is not None
    assert len(left.listing.left["broken"]) == 4


@pytest.mark.parametrize(("place", "words"), [("", "is a folder; give the table"), ("no.csv", "does not exist")])
def test_no_table(pictures: Path, place: str, words: str) -> None:
    with pytest.raises(StkdError, match=words):
        open_data(f"csv:{pictures / place}")


def test_one_class_and_no_training_images(pictures: Path) -> None:
    rows = lines_of(pictures)
    with pytest.raises(StkdError, match="one class 'cat'"):
        open_data(write(pictures / "a.csv", *[row for row in rows if ",cat" in row]))
    with pytest.raises(StkdError, match="no training images"):
        open_data(write(pictures / "b.csv", *[row for row in rows if ",test" in row]))


def test_a_run_trains_on_a_table_and_is_opened_again(pictures: Path, tmp_path: Path) -> None:
    spec = write(pictures / "images.csv", *lines_of(pictures))
    run = stkd.train("cnn2", spec, out=tmp_path / "run", epochs=1, batch_size=4, compile="none", preflight="off")
    assert not stkd.train(
        "cnn2", spec, out=tmp_path / "run", epochs=1, batch_size=4, compile="none", preflight="off"
    ).fresh
    assert run.scores["test"]["top1"] in {k / 6 for k in range(7)}
