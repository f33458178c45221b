from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

import stkd as package
from stkd import models
from stkd.core.errors import StkdError
from stkd.data import DataSet, Split
from stkd.models import weights
from stkd.models.files import ModelInfo, save_model
from stkd.teachers import Ensemble, LiveTeacher
from stkd.teachers.classes import read_classes
from stkd.teachers.loading import load_teacher

CLASSES = ("ant", "bee", "cat", "dog")


def data_set(channels: int = 3, size: int = 8, classes: tuple[str, ...] = CLASSES) -> DataSet:
    split = Split(np.zeros((4, channels, size, size), np.uint8), np.arange(4))
    return DataSet(
        "test", classes, channels, size, (0.5,) * channels, (0.25,) * channels, "none", split, None, None, "x"
    )


def info(**changes: Any) -> ModelInfo:
    given = {"model": "probe", "classes": CLASSES, "channels": 3, "size": 8, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return ModelInfo(**{**given, **changes})


class Probe(nn.Module):
    """Remembers what it is shown."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return torch.arange(float(self.classes)).expand(len(x), -1) + 0 * self.norm(x).mean()


def test_own_normalisation() -> None:
    probe = Probe()
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    teacher = LiveTeacher(probe, info(mean=mean, std=std), data_set())
    pixels = torch.rand(5, 3, 8, 8)
    teacher.logits((pixels - 0.5) / 0.25)
    own = (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    torch.testing.assert_close(probe.seen, own, atol=1e-5, rtol=0)


def test_same_normalisation_passes_images_through_untouched() -> None:
    probe = Probe()
    images = torch.randn(2, 3, 8, 8)
    LiveTeacher(probe, info(), data_set()).logits(images)
    assert torch.equal(probe.seen, images)


def test_own_size() -> None:
    probe = Probe()
    images = torch.rand(2, 3, 8, 8)
    LiveTeacher(probe, info(size=16), data_set()).logits(images)
    expected = F.interpolate(images, size=(16, 16), mode="bilinear", antialias=True)
    torch.testing.assert_close(probe.seen, expected)


def test_own_interpolation() -> None:
    probe = Probe()
    images = torch.rand(2, 3, 8, 8)
    plain = LiveTeacher(Probe(), info(size=16), data_set())
    teacher = LiveTeacher(probe, info(size=16, interpolation="bicubic"), data_set())
    teacher.logits(images)
    torch.testing.assert_close(probe.seen, F.interpolate(images, size=(16, 16), mode="bicubic", antialias=True))
    assert teacher.fingerprint() != plain.fingerprint()


def test_grey_images_for_a_teacher_of_colours() -> None:
    probe = Probe()
    grey = torch.rand(2, 1, 8, 8)
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    LiveTeacher(probe, info(mean=mean, std=std), data_set(channels=1)).logits((grey - 0.5) / 0.25)
    own = (grey.expand(-1, 3, -1, -1) - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    torch.testing.assert_close(probe.seen, own, atol=1e-5, rtol=0)


def test_colours_for_a_teacher_of_grey_are_refused() -> None:
    with pytest.raises(StkdError, match="teacher takes 1 channels, the data set has 3"):
        LiveTeacher(Probe(), info(channels=1, mean=(0.5,), std=(0.2,)), data_set())


def test_classes_by_name_not_by_position() -> None:
    wanted = ("dog", "ant", "cat")
    own = (*CLASSES, "emu")
    logits = LiveTeacher(Probe(5), info(classes=own), data_set(classes=wanted)).logits(torch.zeros(2, 3, 8, 8))
    assert torch.equal(logits, torch.tensor([[3.0, 0.0, 2.0]] * 2))


def test_same_classes_in_the_same_order_are_left_alone() -> None:
    assert LiveTeacher(Probe(), info(), data_set()).class_map is None


def test_classes_by_name_however_accents_are_written() -> None:
    own = ("Ka\u0308fer", " bee ")
    teacher = LiveTeacher(Probe(2), info(classes=own), data_set(classes=("bee", "K\u00e4fer")))
    assert teacher.class_map is not None
    assert teacher.class_map.tolist() == [1, 0]
    assert LiveTeacher(Probe(2), info(classes=own), data_set(classes=("K\u00e4fer", "bee"))).class_map is None


@pytest.mark.parametrize("name", ["Grey Heron", "grey_heron", "grey-heron", "GREYHERON"])
def test_another_spelling_is_suggested(name: str) -> None:
    with pytest.raises(StkdError, match=f"not know 1 of them: '{name}'.*; it has 'grey heron', which is spelt other"):
        LiveTeacher(Probe(2), info(classes=("ant", "grey heron")), data_set(classes=("ant", name)))


def test_class_that_the_teacher_does_not_know() -> None:
    with pytest.raises(
        StkdError, match="does not know 1 of them: 'emu'; name the teacher's classes with --teacher-classes"
    ):
        LiveTeacher(Probe(), info(), data_set(classes=("ant", "emu")))


def test_frozen_and_without_gradient() -> None:
    module = models.create("cnn2", num_classes=4).train()
    teacher = LiveTeacher(module, info(), data_set())
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    assert not teacher.logits(torch.randn(2, 3, 8, 8, requires_grad=True)).requires_grad


def test_fingerprint_tells_weights_and_statistics_apart() -> None:
    module = models.create("cnn2", num_classes=4)
    teacher = LiveTeacher(module, info(), data_set())
    first = teacher.fingerprint()
    assert teacher.fingerprint() == first
    next(b for name, b in module.named_buffers() if "running_mean" in name)[0] += 1
    assert teacher.fingerprint() != first


@pytest.mark.parametrize("method", ["kd", "stkd", "fm"])
def test_training_leaves_the_teacher_as_it_was(method: str, tmp_path: Path) -> None:
    """Parameters and statistics of batch norm, bit for bit, and none of them in the student's file or checkpoint."""
    module = models.create("cnn4", num_classes=10, in_channels=1)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    student = models.create("cnn2", num_classes=10, in_channels=1)
    options = {"epochs": 2, "train_images": 128, "precision": "32", "accelerator": "cpu"}
    package.distill(module, student, "digits", method, out=tmp_path / "run", **options)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    saved = load_file(tmp_path / "run" / "student.safetensors")
    assert {k: v.shape for k, v in saved.items()} == {k: v.shape for k, v in student.state_dict().items()}
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.pt", weights_only=True)
    assert state["student"].keys() == saved.keys()
    assert len(state["optimizer"]["param_groups"][0]["params"]) == len(list(student.parameters()))


def test_opened_from_weights_that_say_what_they_are(tmp_path: Path) -> None:
    module = models.create("cnn4", num_classes=4)
    path = tmp_path / "teacher.safetensors"
    save_model(module, path, info(model="cnn4", mean=(0.1, 0.2, 0.3), size=16))
    teacher = load_teacher(None, path, data_set(), torch.device("cpu"))
    assert teacher.info == info(model="cnn4", mean=(0.1, 0.2, 0.3), size=16)
    torch.testing.assert_close(teacher.module.state_dict(), module.state_dict())


def test_opened_from_bare_weights_and_a_list_of_classes(tmp_path: Path) -> None:
    module = models.create("cnn4", num_classes=5)
    weights.save(module, tmp_path / "bare.safetensors")
    (tmp_path / "classes.txt").write_text("emu\ndog\ncat\n\nbee\nant\n")
    teacher = load_teacher(
        "cnn4", tmp_path / "bare.safetensors", data_set(), torch.device("cpu"), classes=tmp_path / "classes.txt"
    )
    assert teacher.classes == CLASSES
    assert teacher.class_map is not None
    assert teacher.class_map.tolist() == [4, 3, 2, 1]
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(teacher.logits(images), module.eval()(images)[:, [4, 3, 2, 1]])


def test_weights_that_say_nothing_are_taken_by_position_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stkd")
    path = tmp_path / "bare.safetensors"
    weights.save(models.create("cnn4", num_classes=4), path)
    load_teacher("cnn4", path, data_set(), torch.device("cpu"))
    line = caplog.messages[-1]
    assert "by position (else: --teacher-classes FILE)" in line
    assert "normalised like the data's, [0.5, 0.5, 0.5, 0.25, 0.25, 0.25] (else: --teacher-norm)" in line
    caplog.clear()
    names = tmp_path / "names.txt"
    names.write_text("\n".join(CLASSES))
    load_teacher("cnn4", path, data_set(), torch.device("cpu"), classes=names, mean=(0.1,) * 3, std=(0.2,) * 3)
    assert not caplog.messages


def test_class_names_in_a_checkpoint_are_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "stkd")
    state = models.create("cnn4", num_classes=5).state_dict()
    places = {name: i for i, name in enumerate(("emu", *reversed(CLASSES)))}
    torch.save({"model": state, "class_to_idx": places}, tmp_path / "x.pth")
    teacher = load_teacher("cnn4", tmp_path / "x.pth", data_set(), torch.device("cpu"))
    assert teacher.class_map is not None
    assert teacher.class_map.tolist() == [4, 3, 2, 1]
    assert "by position" not in caplog.text


def test_key_of_the_weights(tmp_path: Path) -> None:
    plain, averaged = models.create("cnn4", num_classes=4), models.create("cnn4", num_classes=4)
    torch.save({"model": plain.state_dict(), "model_ema": averaged.state_dict()}, tmp_path / "x.pth")
    for key, module in ((None, averaged), ("model", plain)):
        teacher = load_teacher("cnn4", tmp_path / "x.pth", data_set(), torch.device("cpu"), key=key)
        torch.testing.assert_close(teacher.module.state_dict(), module.state_dict())


@pytest.mark.parametrize("text", ["", "cat\ncat\n", "K\u00e4fer\nKa\u0308fer\n"])
def test_unusable_list_of_classes(text: str, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text(text, encoding="utf-8")
    with pytest.raises(StkdError, match="must hold each class name once"):
        read_classes(tmp_path / "classes.txt")


def test_several_teachers_answer_with_the_weighted_mean_of_their_logits() -> None:
    data, images = data_set(), torch.randn(3, 3, 8, 8)
    teachers = [LiveTeacher(models.create("cnn2", num_classes=4), info(), data) for _ in range(2)]
    both = Ensemble(teachers, [1, 3])
    expected = 0.25 * teachers[0].logits(images) + 0.75 * teachers[1].logits(images)
    torch.testing.assert_close(both.logits(images), expected)
    with pytest.raises(StkdError, match="as many positive shares"):
        Ensemble(teachers, [1])
