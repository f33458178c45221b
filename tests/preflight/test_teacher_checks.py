"""What is said of a teacher: at chance, in another order, fed with other pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from stkd.data import DataSet
from stkd.models.files import ModelInfo
from stkd.preflight import Finding, Subject, check
from stkd.teachers import Ensemble, LiveTeacher

from .conftest import MEAN, STD, Reader


def found(subject: Subject, name: str) -> list[Finding]:
    return [finding for of, finding in check(subject).findings if of == name]


def test_a_sound_teacher_is_a_note(make_data: Callable[..., DataSet], make_subject: Callable[..., Subject]) -> None:
    report = check(make_subject(make_data(), Reader(10)))
    assert not report.of("error", "warning")
    assert report.facts["teacher"]["right"] == 1.0
    assert report.facts["teacher"]["images"] == 400


def test_a_teacher_at_chance_is_an_error(
    make_data: Callable[..., DataSet], make_subject: Callable[..., Subject]
) -> None:
    class Guess(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(nn.init.zeros_(nn.Parameter(Reader(2).unused.new_zeros(1))))

        def forward(self, images):  # type: ignore[no-untyped-def]
            return nn.functional.one_hot((images.std((1, 2, 3)) * 1e5).long() % 10, 10).float()

    (finding,) = found(make_subject(make_data(), Guess()), "chance")
    assert finding.level == "error"
    assert "no better than chance with 10 classes" in finding.message


def test_a_weak_teacher_is_not_at_chance(
    make_data: Callable[..., DataSet], make_subject: Callable[..., Subject]
) -> None:
    subject = make_subject(make_data(), Reader(10, mistakes=0.4))
    assert not check(subject).of("error")


@pytest.mark.parametrize("swapped", [(3, 7), tuple(range(10))])
def test_another_order_is_an_error_with_the_file_that_mends_it(
    swapped: tuple[int, ...], make_data: Callable[..., DataSet], make_subject: Callable[..., Subject]
) -> None:
    order = np.arange(10)
    order[list(swapped)] = np.roll(order[list(swapped)], 1)
    data, module = make_data(), Reader(10, order)
    (finding,) = found(make_subject(data, module), "class-order")
    assert finding.level == "error"
    assert "--teacher-classes" in finding.message
    assert finding.file is not None
    names = tuple(finding.file[1].split())
    assert names == tuple(data.classes[c] for c in order)
    mended = LiveTeacher(module, ModelInfo("reader", names, 3, 8, MEAN, STD), data)
    assert not check(replace_teacher(make_subject(data), mended)).of("error")


def replace_teacher(subject: Subject, teacher: LiveTeacher | Ensemble) -> Subject:
    return replace(subject, teacher=teacher)


def test_the_order_of_more_classes_than_the_data_has(
    make_data: Callable[..., DataSet], make_subject: Callable[..., Subject]
) -> None:
    data = make_data(classes=5)
    known = ("x", "c1", "c0", "y", "c2", "c3", "c4")  # it takes its outputs for these; c0 and c1 are swapped

    class Wide(Reader):
        def forward(self, images):  # type: ignore[no-untyped-def]
            logits = super().forward(images)
            out = logits.new_full((len(logits), 7), -9.0)
            out[:, [1, 2, 4, 5, 6]] = logits
            return out

    teacher = LiveTeacher(Wide(5), ModelInfo("wide", known, 3, 8, MEAN, STD), data)
    (finding,) = found(replace_teacher(make_subject(data), teacher), "class-order")
    assert finding.file is not None
    assert finding.file[1].split() == ["x", "c0", "c1", "y", "c2", "c3", "c4"]


def test_another_normalisation_is_a_warning(
    make_data: Callable[..., DataSet], make_subject: Callable[..., Subject]
) -> None:
    data = make_data(each=80)
    info = ModelInfo("reader", data.classes, 3, 8, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    subject = replace_teacher(make_subject(data), LiveTeacher(Reader(10), info, data))
    (finding,) = found(subject, "normalisation")
    assert finding.level == "warning"
    assert "(the data's)" in finding.message
    assert "--teacher-mean [0.4,0.4,0.4] --teacher-std [0.3,0.3,0.3]" in finding.message


def test_the_right_normalisation_is_not_spoken_of(
    make_data: Callable[..., DataSet], make_subject: Callable[..., Subject]
) -> None:
    assert not found(make_subject(make_data(), Reader(10, mistakes=0.2)), "normalisation")


def test_several_teachers_are_checked_as_one(
    make_data: Callable[..., DataSet], make_subject: Callable[..., Subject]
) -> None:
    data = make_data()
    info = ModelInfo("reader", data.classes, 3, 8, MEAN, STD)
    pair = Ensemble([LiveTeacher(Reader(10, np.roll(np.arange(10), 1)), info, data) for _ in range(2)])
    assert [f.level for f in found(replace_teacher(make_subject(data), pair), "class-order")] == ["error"]


def test_answers_are_remembered(make_data: Callable[..., DataSet], make_subject: Callable[..., Subject]) -> None:
    asked = 0

    class Counting(Reader):
        def forward(self, images):  # type: ignore[no-untyped-def]
            nonlocal asked
            asked += 1
            return super().forward(images)

    data = make_data()
    check(make_subject(data, Counting(10)))
    assert asked > 0
    before = asked
    assert check(make_subject(data, Counting(10))).facts["teacher"]["images"] == 400
    assert asked == before


def test_no_time_asks_for_one_batch(make_data: Callable[..., DataSet], make_subject: Callable[..., Subject]) -> None:
    subject = replace(make_subject(make_data(), Reader(10)), seconds=0.0)
    assert check(subject).facts["teacher"]["images"] == 64


def test_unlabelled_images_say_nothing(make_data: Callable[..., DataSet], make_subject: Callable[..., Subject]) -> None:
    data = make_data(test=None)
    blind = replace(data, train=replace(data.train, labels=np.full(len(data.train), -1)))
    assert not check(make_subject(blind, Reader(10))).of("error", "warning")
