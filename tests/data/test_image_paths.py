"""Which image files paths, folders and patterns stand for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stkd.core.errors import StkdError
from stkd.data.image_paths import image_paths


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Empty files: only names count here."""
    names = ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "deep/er/c.webp", "__MACOSX/d.jpg", "deep/[1].png")
    for name in names:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    return tmp_path / "photos"


def names(photos: Path, *given: str | Path) -> list[str]:
    return [str(path.relative_to(photos)) for path in image_paths(given)]


def test_a_folder_is_all_images_below_it(photos: Path) -> None:
    assert names(photos, photos) == ["a.PNG", "b.jpg", "deep/[1].png", "deep/er/c.webp"]


def test_files_keep_the_order_in_which_they_are_given_and_need_no_ending(photos: Path) -> None:
    assert names(photos, photos / "notes.txt", photos / "b.jpg", photos / "nowhere.png", photos / "a.PNG") == [
        "notes.txt",
        "b.jpg",
        "nowhere.png",
        "a.PNG",
    ]


def test_patterns_are_sorted_and_a_path_with_brackets_is_a_path(photos: Path) -> None:
    assert names(photos, f"{photos}/*.[jP]*") == ["a.PNG", "b.jpg"]
    assert names(photos, f"{photos}/**/*.webp") == ["deep/er/c.webp"]
    assert names(photos, f"{photos}/de*") == ["deep/[1].png", "deep/er/c.webp"]
    assert names(photos, photos / "deep" / "[1].png") == ["deep/[1].png"]


def test_links_in_a_circle_end(photos: Path) -> None:
    os.symlink(photos, photos / "deep" / "back")
    assert names(photos, photos) == ["a.PNG", "b.jpg", "deep/[1].png", "deep/er/c.webp"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("https://example.org/rose.jpg", "https://example.org/rose.jpg is a web address.*download it first"),
        ("HTTP://example.org/rose.jpg", "is a web address"),
        ("{}/*.gif", "no file matches .*gif; check the pattern"),
        ("{}/nowhere/*", "no file matches"),
        ("{}/empty", "empty has no images; give image files"),
    ],
)
def test_what_names_no_image_is_refused(photos: Path, given: str, said: str) -> None:
    (photos / "empty").mkdir()
    with pytest.raises(StkdError, match=said):
        image_paths([photos / "b.jpg", given.format(photos)])
