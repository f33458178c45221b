"""Bad input of every kind: exit code 2, one line that says what is wrong and how to mend it, nothing half-written.

The files beside this one are tables of it. A row is a command, the words that its answer must have, and functions that
make what has to be there before. `{name}` in a command is a path below the test's folder. `stkd train` and `stkd
distill` get good values for the options that they need; `without --data` in a command leaves one out.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from stkd import models

GOOD = {
    "train": {"--data": "digits", "--model": "cnn2", "--out": "{out}"},
    "distill": {"--data": "digits", "--student": "cnn2", "--teacher-weights": "{teacher_run}", "--out": "{out}"},
}
AGAIN = ("--epochs", "4", "--train-images", "128", "--precision", "32", "--accelerator", "cpu", "--seed", "5")
NOTES = (".lock", "env.json", "manifest.json")  # where and when a run last started; all else must stay as it is


@dataclass(frozen=True)
class Place:
    """A folder with everything that a bad command may need: two runs, a folder of images, a picture."""

    root: Path

    def path(self, name: str) -> Path:
        return self.root / name

    def text(self, name: str, text: str = "this is text\n") -> None:
        """Write a text file."""
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(text)

    def cut(self, name: str, new: str) -> None:
        """Write the first part of a file."""
        content = self.path(name).read_bytes()
        self.path(new).write_bytes(content[: int(len(content) * 0.6)])

    def weights(
        self,
        name: str,
        model: str = "cnn4",
        classes: int = 10,
        channels: int = 1,
        change: Callable[[Any], Any] = lambda state: state,
    ) -> None:
        """Write the initial weights of a model as a .pth file."""
        state = models.create(model, num_classes=classes, in_channels=channels).state_dict()
        torch.save(change(state), self.path(name))

    def unlabelled(self) -> None:
        """Write the folder `loose`, images without classes."""
        self.path("loose").mkdir()
        for i, picture in enumerate(sorted(self.path("pictures").rglob("*.png"))):
            shutil.copy(picture, self.path("loose") / f"{i}.png")

    def unfinished(self, run: str) -> None:
        """Bring a run back to before its end."""
        self.path(f"{run}/result.json").unlink()
        for weights in self.path(run).glob("*.safetensors"):
            weights.unlink()

    def words(self, command: str) -> list[str]:
        """The arguments of a row's command."""
        given = command.split()
        left_out = {flag for word, flag in pairwise(given) if word == "without"}
        words = [word for word in given if word != "without" and word not in left_out]
        for flag, value in GOOD.get(given[0], {}).items():
            words += [] if flag in given else [flag, value]
        return [self._filled(word) for word in words]

    def _filled(self, word: str) -> str:
        head, brace, rest = word.partition("{")
        return f"{head}{self.path(rest.removesuffix('}'))}" if brace else word


@pytest.fixture
def place(teacher_run: Path, student_run: Path, pictures: Path) -> Place:
    shutil.copy(pictures / "cat" / "0.png", teacher_run.parent / "picture.png")
    return Place(teacher_run.parent)


def _temporaries(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.name.startswith(".") and p.name != ".lock"]


@pytest.fixture
def temporaries() -> Callable[[Path], list[Path]]:
    """Lists what an unfinished write has left in a folder."""
    return _temporaries


@pytest.fixture
def refused(place: Place, stkd: Any, recwarn: pytest.WarningsRecorder) -> Callable[..., None]:
    """Gives a row's command and looks at the answer."""

    def check(command: str, *rest: str | Callable[[Place], Any]) -> None:
        for make in rest:
            if callable(make):
                make(place)
        before = {p: p.read_bytes() for p in place.root.rglob("*") if p.is_file() and p.name not in NOTES}

        words = place.words(command)
        answer = stkd(*words)

        assert answer.code == 2
        assert answer.out == ""
        assert answer.err.startswith("stkd: error: ")
        assert answer.err.endswith("\n")
        assert answer.err.count("\n") == 1
        for said in rest:
            assert callable(said) or said in answer.err
        # Python never shows ResourceWarning by itself; what an earlier test dropped may be collected here.
        shown = [str(w.message) for w in recwarn if not issubclass(w.category, ResourceWarning)]
        assert not shown, "a warning is another line on the terminal"
        assert not place.path("TRACE").exists()
        assert all(p.read_bytes() == content for p, content in before.items())
        assert not _temporaries(place.root)
        if str(place.path("out")) in words:
            # what a failed start leaves behind must not be in the way of the right command
            again = stkd("train", "--data", "digits", "--model", "cnn2", *AGAIN, "--out", place.path("out"))
            assert again.code == 0, again.err

    return check
