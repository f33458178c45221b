"""Bad input of every kind: exit code 2, one line that says what is wrong and how to mend it, nothing half-written."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from stkd import models
from stkd.models.weights import read_state
from stkd.runs.checkpoint import load_checkpoint
from stkd.runs.directory import RunDir
from stkd.training import learner

SHORT = ["--epochs", "4", "--train-images", "128", "--precision", "32", "--accelerator", "cpu"]


@dataclass(frozen=True)
class Place:
    """A folder with everything that a bad command may need; `{name}` in a command is a path below `root`."""

    root: Path

    def path(self, name: str) -> Path:
        return self.root / name


Make = Callable[[Place], None]


@dataclass(frozen=True)
class Bad:
    """A command, the words its answer must have, and what has to be there before."""

    command: str
    says: tuple[str, ...]
    make: Make | None = None
    out: str = "out"


def train(rest: str, *says: str, make: Make | None = None, out: str = "out") -> Bad:
    """A bad `stkd train`; defaults are good."""
    return Bad(_with_defaults(f"train {rest}", data="digits", model="cnn2", out=f"{{{out}}}"), says, make, out)


def distill(rest: str, *says: str, make: Make | None = None, out: str = "out") -> Bad:
    """A bad `stkd distill`; defaults are good."""
    options = {"data": "digits", "student": "cnn2", "teacher_weights": "{teacher_run}", "out": f"{{{out}}}"}
    return Bad(_with_defaults(f"distill {rest}", **options), says, make, out)


def _with_defaults(command: str, **defaults: str) -> str:
    given = set(command.split())
    flags = {f"--{name.replace('_', '-')}": value for name, value in defaults.items()}
    rest = " ".join(f"{flag} {value}" for flag, value in flags.items() if flag not in given)
    return f"{command} {rest}".replace("--no-such ", "")


def without(command: Bad, flag: str) -> Bad:
    """The same command without a flag and its value."""
    words = command.command.split()
    at = words.index(flag)
    return Bad(" ".join(words[:at] + words[at + 2 :]), command.says, command.make, command.out)


# What has to be there.


def text_file(name: str, text: str = "this is text\n") -> Make:
    def make(place: Place) -> None:
        place.path(name).parent.mkdir(parents=True, exist_ok=True)
        place.path(name).write_text(text)

    return make


def cut_short(name: str, new: str, share: float = 0.6) -> Make:
    def make(place: Place) -> None:
        content = place.path(name).read_bytes()
        place.path(new).write_bytes(content[: int(len(content) * share)])

    return make


def pth(name: str, model: str = "cnn4", classes: int = 10, spoil: Callable[[Any], Any] = lambda state: state) -> Make:
    def make(place: Place) -> None:
        state = models.create(model, num_classes=classes, in_channels=1).state_dict()
        torch.save(spoil(state), place.path(name))

    return make


def short_pth(place: Place) -> None:
    pth("whole.pth")(place)
    cut_short("whole.pth", "short.pth")(place)


def nan_weights(place: Place) -> None:
    state = models.create("cnn4", num_classes=10, in_channels=1).state_dict()
    state["fc.weight"][0, 0] = float("nan")
    save_file(state, place.path("nan.safetensors"))


class Foreign:
    """An object whose unpickling would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


def foreign_pickle(place: Place) -> None:
    place.path("foreign.pkl").write_bytes(pickle.dumps(Foreign(place.path("TRACE"))))


def foreign_pth(place: Place) -> None:
    torch.save({"model": {}, "extra": Foreign(place.path("TRACE"))}, place.path("foreign.pth"))


def broken_picture(place: Place) -> None:
    place.path("pictures/cat/3.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing of use")


def cut_picture(place: Place) -> None:
    Image.effect_noise((64, 64), 80).convert("RGB").save(place.path("whole.jpg"))
    cut_short("whole.jpg", "pictures/dog/cut.jpg")(place)


def empty_folder(place: Place) -> None:
    place.path("empty").mkdir()


def empty_class(place: Place) -> None:
    place.path("pictures/emu").mkdir()


def unlabelled(place: Place) -> None:
    place.path("loose").mkdir()
    for i, picture in enumerate(sorted(place.path("pictures").rglob("*.png"))):
        shutil.copy(picture, place.path("loose") / f"{i}.png")


def unlabelled_and_teacher(place: Place) -> None:
    unlabelled(place)
    other_classes(place)
    state = models.create("cnn4", num_classes=10, in_channels=3).state_dict()
    torch.save(state, place.path("rgb.pth"))


def foreign_folder(place: Place) -> None:
    text_file("mine/thesis.txt")(place)


def recipe(text: str) -> Make:
    return text_file("recipe.yaml", text)


def unfinished(name: str) -> Make:
    def make(place: Place) -> None:
        place.path(f"{name}/result.json").unlink()
        for weights in place.path(name).glob("*.safetensors"):
            weights.unlink()

    return make


def damaged_config(place: Place) -> None:
    place.path("student_run/config.yaml").write_text("model: [")


def damaged_checkpoint(place: Place) -> None:
    unfinished("teacher_run")(place)
    last = place.path("teacher_run/checkpoints/last.pt")
    last.write_bytes(last.read_bytes()[:1000])


def foreign_checkpoint(place: Place) -> None:
    unfinished("teacher_run")(place)
    torch.save({"epoch": 1}, place.path("teacher_run/checkpoints/last.pt"))


def damaged_student(place: Place) -> None:
    cut_short("student_run/student.safetensors", "student_run/student.safetensors")(place)


def other_classes(place: Place) -> None:
    text_file("classes.txt", "\n".join(f"class {i}" for i in range(10)))(place)


CASES: dict[str, Bad] = {
    # names
    "unknown-command": Bad("distil --data digits", ("unknown command 'distil'", "distill")),
    "unknown-option": train("--epohcs 3", "unknown option 'epohcs'", "epochs"),
    "unknown-method": distill("--method stdk", "unknown method 'stdk'", "stkd"),
    "unknown-model": train("--model resnet21", "unknown model 'resnet21'", "resnet20"),
    "model-of-timm-without-prefix": train("--model resnet18", "unknown model 'resnet18'", "timm/resnet18"),
    "unknown-timm-model": train("--model timm/resnet81", "unknown timm model 'resnet81'", "resnet18"),
    "unknown-torchvision-model": train("--model torchvision/resnet81", "unknown torchvision model", "resnet18"),
    "unknown-model-source": train("--model tim/resnet18", "unknown model source 'tim'", "timm"),
    "unknown-student": distill("--student cnx2", "unknown model 'cnx2'", "cnn2"),
    "unknown-teacher": distill("--teacher cnx4 --teacher-weights {w.pth}", "unknown model 'cnx4'", make=pth("w.pth")),
    "unknown-data": train("--data digit", "unknown data set 'digit'", "digits"),
    "unknown-recipe": train("--recipe crdd", "unknown recipe 'crdd'", "crd"),
    "unknown-split": Bad("evaluate {student_run} --split tset", ("unknown split 'tset'", "test")),
    "unknown-schedule": train("--schedule cosinus", "--schedule must be one of", "'cosine'", "cosinus"),
    "unknown-optimizer": train("--optimizer adam", "--optimizer must be one of", "'adamw'"),
    "unknown-mix": train("--mix mixip", "--mix must be one of", "'mixup'"),
    "unknown-list": Bad("list modles --json", ("modles", "models")),
    "unknown-method-option": distill("--method kd:temprature=2", "option of method kd", "temprature", "temperature"),
    # types and ranges
    "epochs-0": train("--epochs 0", "epochs must be at least 1", "0"),
    "epochs-negative": train("--epochs -1", "epochs must be at least 1", "-1"),
    "epochs-word": train("--epochs x", "--epochs must be a whole number", "x"),
    "epochs-fraction": train("--epochs 1.5", "--epochs must be a whole number", "1.5"),
    "batch-size-0": train("--batch-size 0", "batch_size must be at least 1"),
    "lr-negative": train("--lr -1", "lr must be a positive number", "-1"),
    "lr-nan": train("--lr nan", "--lr must be a number", "nan"),
    "lr-infinite": train("--lr inf", "--lr must be a number", "inf"),
    "weight-decay-infinite": train("--weight-decay inf", "--weight-decay must be a number"),
    "seed-negative": train("--seed -1", "seed must be at least 0"),
    "val-fraction-too-large": train("--val-fraction 1.5", "val_fraction must be at least 0 and below 1", "1.5"),
    "momentum-too-large": train("--momentum 1", "momentum must be at least 0 and below 1"),
    "alpha-0": distill("--alpha 0", "alpha must be a positive number", "0"),
    "instances-0": distill("--instances 0", "instances must be 1 or more", "0"),
    "real-too-large": distill("--real 1.5", "share of real samples", "1.5"),
    "temperature-0": distill("--method stkd:temperature=0", "temperature must be a positive number", "0"),
    "temperature-nan": distill("--method stkd:temperature=nan", "temperature must be a positive number", "nan"),
    "temperature-infinite": distill("--method stkd:temperature=inf", "temperature must be a positive number", "inf"),
    "temperature-word": distill("--method stkd:temperature=hot", "temperature", "must be float", "hot"),
    "weight-2": distill("--method kd:weight=2", "weight must lie between 0", "2"),
    "beta-nan": distill("--method stkd:beta=nan", "beta must be zero or a positive number", "nan"),
    "method-option-without-value": distill("--method kd:weight", "has no value", "kd:weight=VALUE"),
    "warmup-too-long": train("--epochs 2 --warmup-epochs 2", "warmup_epochs (2.0) must be less than epochs (2)"),
    "milestones-beyond-the-end": train(
        "--epochs 2 --schedule multistep --milestones [150]", "milestones [150.0]", "before the last of 2 epochs"
    ),
    "milestones-falling": train("--milestones [0.9,0.5]", "milestones must be positive and rising"),
    "milestones-word": train("--milestones soon", "--milestones must be a list", "soon"),
    "nesterov-without-momentum": train("--nesterov true --momentum 0", "nesterov needs momentum"),
    "nesterov-word": train("--nesterov maybe", "--nesterov must be true or false", "maybe"),
    "more-images-than-there-are": train("--train-images 99999", "train_images is 99999", "ask for fewer"),
    "fewer-images-than-classes": train("--train-images 3", "10 classes", "at least one image of each"),
    "image-size-4": train("--image-size 4", "image_size must be at least 8", "4"),
    "coarse-labels-of-digits": train("--labels coarse", "digits has no coarse labels", "cifar100"),
    "top-0": Bad("predict {student_run} {picture.png} --top 0", ("--top must be at least 1",)),
    # device
    "precision-16-on-cpu": train("--accelerator cpu --precision 16", "precision 16 needs a GPU", "bf16"),
    "accelerator-nonsense": train("--accelerator abacus", "cannot use accelerator=abacus"),
    "devices-99": train("--accelerator cuda --devices 99", "cannot use accelerator=cuda devices=99"),
    "strategy-nonsense": train("--strategy telepathy", "strategy=telepathy"),
    # missing
    "no-data": without(train("", "--data is missing", "KIND[:PATH]"), "--data"),
    "no-model": without(train("", "--model is missing"), "--model"),
    "no-out": without(train("", "--out is missing"), "--out"),
    "no-student": without(distill("", "--student is missing"), "--student"),
    "no-value": Bad("train --data digits --model", ("expected", "model")),
    "no-images": Bad("predict {student_run}", ("images",)),
    "extra-word": train("cnn4", "unexpected 'cnn4'"),
    "teacher-without-weights": without(
        distill("--teacher cnn4", "teacher needs weights", "--teacher-weights"), "--teacher-weights"
    ),
    "method-needs-teacher": train("--method kd", "'kd' needs a teacher", "stkd distill"),
    "no-teacher-name": distill("--teacher-weights {w.pth}", "--teacher is missing", make=pth("w.pth")),
    "pretrained-teacher-without-classes": without(
        distill("--teacher timm/resnet18 --teacher-pretrained true", "--teacher-classes FILE"), "--teacher-weights"
    ),
    # paths
    "data-missing": train("--data folder:{nowhere}", "nowhere does not exist", "check the path"),
    "data-without-path": train("--data folder", "folder needs the place of its files", "folder:PATH"),
    "data-without-kind": train("--data {pictures}", "without a kind", "write folder:"),
    "data-is-a-file": train("--data folder:{a.txt}", "is a file", "folder", make=text_file("a.txt")),
    "data-takes-no-path": train("--data digits:{pictures}", "takes no path", "write digits alone"),
    "weights-missing": distill("--teacher-weights {nowhere}", "nowhere does not exist", "give a .safetensors"),
    "start-weights-missing": train("--weights {nowhere.pth}", "nowhere.pth does not exist"),
    "classes-missing": distill("--teacher-classes {nowhere}", "cannot read the class names", "one name a line"),
    "out-is-a-file": train("", "is a file", "give --out a directory", make=text_file("file"), out="file"),
    "out-under-a-file": train("", "cannot write to", "--out", make=text_file("file"), out="file/out"),
    "out-is-a-foreign-folder": train("", "is not empty", "new directory", make=foreign_folder, out="mine"),
    "out-cannot-be-made": Bad(
        "train --data digits --model cnn2 --out /proc/stkd", ("cannot write to /proc/stkd", "--out"), out="nowhere"
    ),
    # images
    "corrupt-image": train("--data folder:{pictures}", "3.png is broken or no image", "replace", make=broken_picture),
    "truncated-image": train("--data folder:{pictures}", "cut.jpg is broken", "replace", make=cut_picture),
    "empty-folder": train("--data folder:{empty}", "has no images", "give a folder of images", make=empty_folder),
    "empty-class": train("--data folder:{pictures}", "emu has no images", "add some or remove", make=empty_class),
    "unlabelled-with-kd": distill(
        "--data folder:{loose} --method kd --teacher cnn4 --teacher-weights {rgb.pth} --teacher-classes {classes.txt}",
        "'kd' needs labels",
        "--method fm",
        make=unlabelled_and_teacher,
    ),
    "unlabelled-alone": train("--data folder:{loose}", "needs labels", make=unlabelled),
    "predict-text": Bad("predict {student_run} {a.png}", ("a.png is broken or no image",), text_file("a.png")),
    "predict-missing": Bad("predict {student_run} {nowhere.png}", ("nowhere.png cannot be read", "check the file")),
    "predict-folder": Bad("predict {student_run} {pictures}", ("pictures",)),
    # weights
    "truncated-safetensors": distill(
        "--teacher cnn4 --teacher-weights {cut.safetensors}",
        "cut.safetensors is damaged or cut short",
        "again",
        make=cut_short("teacher_run/model.safetensors", "cut.safetensors"),
    ),
    "truncated-pth": distill(
        "--teacher cnn4 --teacher-weights {short.pth}", "short.pth is damaged, cut short", "again", make=short_pth
    ),
    "empty-pth": distill(
        "--teacher cnn4 --teacher-weights {e.pth}", "e.pth is empty", "give a .safetensors", make=text_file("e.pth", "")
    ),
    "text-as-weights": distill(
        "--teacher cnn4 --teacher-weights {a.pth}", "a.pth is not a weights file", make=text_file("a.pth")
    ),
    "pickle-of-foreign-objects": distill(
        "--teacher cnn4 --teacher-weights {foreign.pkl}", "foreign.pkl", "again", make=foreign_pickle
    ),
    "pth-of-foreign-objects": distill(
        "--teacher cnn4 --teacher-weights {foreign.pth}", "more than tensors", "state_dict()", make=foreign_pth
    ),
    "weights-of-another-model": distill(
        "--teacher cnn4 --teacher-weights {w.pth}", "does not fit", "weights of cnn8", make=pth("w.pth", "cnn8")
    ),
    "card-of-another-model": distill("--teacher cnn8", "weights are of cnn4, not of cnn8", "give --teacher cnn4"),
    "weights-of-other-classes": distill(
        "--teacher cnn4 --teacher-weights {w.pth}", "has 7 classes, the model 10", "use", make=pth("w.pth", classes=7)
    ),
    "weights-are-nan": distill(
        "--teacher cnn4 --teacher-weights {nan.safetensors}", "holds NaN", "fc.weight", make=nan_weights
    ),
    "state-dict-of-numbers": distill(
        "--teacher cnn4 --teacher-weights {w.pth}",
        "holds no state dict",
        make=pth("w.pth", spoil=lambda s: {"epoch": 3}),
    ),
    "teacher-has-other-classes": distill(
        "--teacher-classes {classes.txt}", "teacher does not know '0'", "--teacher-classes", make=other_classes
    ),
    "teacher-of-other-data": distill("--data folder:{pictures}", "10 classes, the data set 2", "'cat'"),
    "teacher-is-unfinished": distill("", "holds no student", "is the run finished?", make=unfinished("teacher_run")),
    # recipes
    "recipe-missing": train("--recipe {nowhere.yaml}", "nowhere.yaml does not exist", "crd"),
    "recipe-not-yaml": train("--recipe {recipe.yaml}", "is not valid YAML", make=recipe("epochs: [1\nlr: }")),
    "recipe-not-a-mapping": train("--recipe {recipe.yaml}", "'option: value'", make=recipe("- epochs\n- lr\n")),
    "recipe-empty": train("--recipe {recipe.yaml}", "'option: value'", make=recipe("")),
    "recipe-unknown-key": train("--recipe {recipe.yaml}", "unknown option 'epoch'", "epochs", make=recipe("epoch: 3")),
    "recipe-wrong-type": train("--recipe {recipe.yaml}", "epochs must be a whole", "many", make=recipe("epochs: many")),
    "recipe-wrong-range": train("--recipe {recipe.yaml}", "lr must be a positive", make=recipe("lr: -0.1")),
    "recipe-not-text": train(
        "--recipe {recipe.yaml}", "valid YAML", make=lambda p: Image.new("L", (9, 9)).save(p.path("recipe.yaml"), "PNG")
    ),
    # mixing
    "mix-without-virtual-samples": distill("--method kd --alpha 2", "alpha set", "add --mix mixup"),
    "mix-none-with-instances": distill("--mix none --instances 3", "instances set", "--mix mixup"),
    "real-and-beside": distill("--real 0.5 --beside true", "share of the batch or beside it"),
    # runs
    "evaluate-missing": Bad("evaluate {nowhere}", ("nowhere is not a run directory", "stkd train")),
    "evaluate-foreign": Bad("evaluate {pictures}", ("pictures is not a run directory", "config.yaml")),
    "evaluate-unfinished": Bad("evaluate {student_run}", ("is the run finished?",), unfinished("student_run")),
    "evaluate-damaged-config": Bad("evaluate {student_run}", ("config.yaml is damaged",), damaged_config),
    "evaluate-missing-split": Bad("evaluate {teacher_run} --split val", ("digits has no val split", "--split")),
    "evaluate-other-classes": Bad("evaluate {student_run} --data folder:{pictures}", ("other classes", "--data")),
    "evaluate-damaged-weights": Bad("evaluate {student_run}", ("student.safetensors is damaged",), damaged_student),
    "predict-damaged-weights": Bad(
        "predict {student_run} {picture.png}", ("student.safetensors is damaged",), damaged_student
    ),
    "predict-missing-run": Bad("predict {nowhere} {picture.png}", ("nowhere does not exist",)),
    "predict-weights-without-card": Bad("predict {w.pth} {picture.png}", ("which model it holds",), pth("w.pth")),
    "resume-with-other-options": train(
        "--model cnn4 --epochs 9 --precision 32 --accelerator cpu",
        "was started with epochs=3, now epochs=9",
        "another --out",
        out="teacher_run",
    ),
    "resume-with-damaged-config": distill("", "config.yaml is damaged", make=damaged_config, out="student_run"),
    "resume-with-damaged-checkpoint": train(
        "--model cnn4 --epochs 3 --precision 32 --accelerator cpu",
        "last.pt is damaged",
        "delete",
        make=damaged_checkpoint,
        out="teacher_run",
    ),
    "resume-with-foreign-checkpoint": train(
        "--model cnn4 --epochs 3 --precision 32 --accelerator cpu",
        "last.pt",
        "delete",
        make=foreign_checkpoint,
        out="teacher_run",
    ),
}


@pytest.fixture
def place(teacher_run: Path, student_run: Path, pictures: Path) -> Place:
    shutil.copy(pictures / "cat" / "0.png", teacher_run.parent / "picture.png")
    return Place(teacher_run.parent)


def _fill(word: str, place: Place) -> str:
    head, brace, rest = word.partition("{")
    return f"{head}{place.path(rest.removesuffix('}'))}" if brace else word


_NOTES = (".lock", "env.json")  # where and when a run last started; all else that is there must stay as it is


def _temporaries(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.name.startswith(".") and p.name != ".lock"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_one_line(case: Bad, place: Place, stkd: Any, recwarn: pytest.WarningsRecorder) -> None:
    if case.make is not None:
        case.make(place)
    before = {p: p.read_bytes() for p in place.root.rglob("*") if p.is_file() and p.name not in _NOTES}

    answer = stkd(*(_fill(word, place) for word in case.command.split()))

    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("stkd: error: ")
    assert answer.err.endswith("\n")
    assert answer.err.count("\n") == 1
    for words in case.says:
        assert words in answer.err
    # Python never shows ResourceWarning by itself; what an earlier test dropped may be collected here.
    shown = [str(w.message) for w in recwarn if not issubclass(w.category, ResourceWarning)]
    assert not shown, "a warning is another line on the terminal"
    assert not place.path("TRACE").exists()
    assert all(p.read_bytes() == content for p, content in before.items())
    assert not _temporaries(place.root)
    if "{out}" in case.command:
        # what a failed start leaves behind must not be in the way of the right command
        again = stkd("train", "--data", "digits", "--model", "cnn2", *SHORT, "--seed", 5, "--out", place.path("out"))
        assert again.code == 0, again.err


@pytest.mark.parametrize(
    "command",
    ["train --data digits --model cnn3 --out {out}", "evaluate {nowhere}", "distil", "list methods --jsn"],
)
def test_one_line_from_a_process(command: str, place: Place) -> None:
    argv = [_fill(word, place) for word in command.split()]
    done = subprocess.run([sys.executable, "-m", "stkd", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("stkd: error: ")
    assert done.stderr.count("\n") == 1


def test_changed_data_and_teacher_are_named(place: Place, stkd: Any) -> None:
    pictures, run = place.path("pictures"), place.path("run")
    teacher = ["train", "--data", f"folder:{pictures}", "--model", "cnn2", "--epochs", "1"]
    assert stkd(*teacher, "--out", place.path("t")).code == 0
    assert stkd(*teacher, "--seed", 1, "--out", place.path("other")).code == 0
    command = ["distill", "--data", f"folder:{pictures}", "--student", "cnn2", "--epochs", "2"]
    command += ["--teacher-weights", str(place.path("t")), "--out", str(run)]
    assert stkd(*command).code == 0
    (run / "result.json").unlink()

    weights = (place.path("t") / "model.safetensors").read_bytes()
    shutil.copy(place.path("other") / "model.safetensors", place.path("t"))
    answer = stkd(*command)
    assert answer.code == 2
    assert "the teacher changed since" in answer.err

    (place.path("t") / "model.safetensors").write_bytes(weights)
    Image.new("RGB", (8, 8), "red").save(pictures / "cat" / "0.png")
    answer = stkd(*command)
    assert answer.code == 2
    assert "the data changed since" in answer.err
    assert answer.err.count("\n") == 1


def _full_after(monkeypatch: pytest.MonkeyPatch, epochs: int, room: int) -> None:
    """From the end of an epoch on no file may grow beyond `room` bytes, which is how a full disk looks to a program."""
    log = RunDir.log

    def log_and_fill(self: RunDir, rows: list[dict[str, Any]]) -> None:
        log(self, rows)
        if len(rows) == epochs:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    monkeypatch.setattr(RunDir, "log", log_and_fill)


@pytest.fixture
def disk() -> Iterator[None]:
    """Room again after the test."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize(("epochs", "epoch_kept"), [(1, 0), (2, 1), (4, 3)])
def test_full_disk(epochs: int, epoch_kept: int, tmp_path: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["train", "--data", "digits", "--model", "cnn2", *SHORT]
    assert stkd(*command, "--out", tmp_path / "whole").code == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        _full_after(patch, epochs, room=2000)
        answer = stkd(*command, "--out", tmp_path / "run")
    assert answer.code == 2
    assert answer.err.startswith("stkd: error: the disk is full")
    assert "free some space and run the same command again" in answer.err
    assert answer.err.count("\n") == 1
    assert not _temporaries(tmp_path)
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    assert (load_checkpoint(last)["epoch"] if last.exists() else 0) == epoch_kept

    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert stkd(*command, "--out", tmp_path / "run").code == 0
    whole, run = (read_state(tmp_path / name / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(whole[name], run[name]) for name in whole)


@pytest.mark.usefixtures("disk")
def test_full_disk_at_the_final_weights(tmp_path: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["train", "--data", "digits", "--model", "cnn2", *SHORT, "--out", tmp_path / "run"]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    save = learner.save_model

    def fill_and_save(*args: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
        save(*args)

    with monkeypatch.context() as patch:
        patch.setattr(learner, "save_model", fill_and_save)
        answer = stkd(*command)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert answer.code == 2
    assert answer.err.startswith("stkd: error: the disk is full")
    assert not _temporaries(tmp_path)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert stkd(*command).code == 0


def test_a_disk_that_is_really_full(tmp_path: Path, stkd: Any) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        answer = stkd("train", "--data", "digits", "--model", "cnn4", *SHORT, "--out", disk / "run")
        assert answer.code == 2
        assert answer.err.startswith("stkd: error: the disk is full")
        assert answer.err.count("\n") == 1
        assert not _temporaries(disk)
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert stkd("train", "--data", "digits", "--model", "cnn4", *SHORT, "--out", disk / "run").code == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_temporary_files_of_a_killed_process_are_removed(tmp_path: Path, stkd: Any) -> None:
    command = ["train", "--data", "digits", "--model", "cnn2", "--train-images", "64"]
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text("")
    for name in (".config.yaml.abc.part", "checkpoints/.last.pt.abc.part"):
        (tmp_path / "run" / name).write_text("half")
    assert stkd(*command, "--epochs", "1", "--out", tmp_path / "run").code == 0
    assert not _temporaries(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(tmp_path: Path, stkd: Any) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    answer = stkd("train", "--data", "digits", "--model", "cnn2", "--out", tmp_path / "locked" / "run")
    assert answer.code == 2
    assert "cannot write to" in answer.err
