from __future__ import annotations

import torch

from stkd.training.meter import Meter

CPU = torch.device("cpu")


def _add(meter: Meter, losses: dict[str, torch.Tensor], *others: torch.Tensor) -> None:
    meter.add(losses, *others)
    meter.count(len(others[1]))


def _one_hot(*labels: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(labels), 3).float()


def test_means_over_steps_and_rows() -> None:
    meter = Meter(CPU)
    _add(meter, {"kl": torch.tensor(1.0)}, torch.tensor(3.0), _one_hot(0, 1), _one_hot(0, 2))
    _add(meter, {"kl": torch.tensor(2.0)}, torch.tensor(5.0), _one_hot(1, 1, 1, 1), _one_hot(1, 1, 1, 0))
    assert meter.means() == {"loss": 4.0, "kl": 1.5, "accuracy": 4 / 6}


def test_hits_are_of_the_likeliest_class_of_a_mixed_label() -> None:
    meter = Meter(CPU)
    targets = torch.tensor([[0.4, 0.6, 0.0], [0.7, 0.3, 0.0]])
    _add(meter, {}, torch.tensor(0.0), _one_hot(1, 1), targets)
    assert meter.means()["accuracy"] == 0.5


def test_rows_without_a_label_are_no_hits_and_no_misses() -> None:
    meter = Meter(CPU)
    targets = torch.tensor([[0.0, 0.0, 0.0], [0.4, 0.0, 0.0], [0.0, 0.0, 0.0]])
    _add(meter, {}, torch.tensor(0.0), _one_hot(0, 0, 1), targets)
    assert meter.means()["accuracy"] == 1.0
    other = Meter(CPU)
    other.load_state_dict(meter.state_dict())
    _add(other, {}, torch.tensor(0.0), _one_hot(0), _one_hot(1))
    assert (other.means()["accuracy"], meter.means()["accuracy"]) == (0.5, 1.0)


def test_first_bad_step_is_kept() -> None:
    meter = Meter(CPU)
    for value in (1.0, float("inf"), 1.0, float("nan")):
        assert meter.bad_step() in (None, 1)
        _add(meter, {}, torch.tensor(value), _one_hot(0), _one_hot(0))
    assert meter.bad_step() == 1
    meter.reset()
    assert meter.bad_step() is None
    assert meter.means() == {"accuracy": 0.0}


def test_one_bad_logit_of_the_teacher_is_remembered_until_the_epoch_ends() -> None:
    meter = Meter(CPU)
    for value, finite in ((1.0, True), (float("inf"), False), (-float("inf"), False), (1.0, False)):
        _add(meter, {}, torch.tensor(1.0), _one_hot(0), _one_hot(0), torch.tensor([[0.0, value, 2.0]]))
        assert meter.teacher_finite() == finite
    assert meter.bad_step() is None
    meter.reset()
    assert meter.teacher_finite()


def test_state_goes_on_where_it_was() -> None:
    torch.manual_seed(0)
    steps = [(torch.rand(()), torch.rand(5, 3), torch.rand(5, 3)) for _ in range(6)]
    whole, first = Meter(CPU), Meter(CPU)
    for loss, logits, targets in steps:
        _add(whole, {"ce": loss}, loss, logits, targets)
    for loss, logits, targets in steps[:2]:
        _add(first, {"ce": loss}, loss, logits, targets)
    second, before = Meter(CPU), first.means()
    second.load_state_dict(first.state_dict())
    for loss, logits, targets in steps[2:]:
        _add(second, {"ce": loss}, loss, logits, targets)
    assert second.means() == whole.means()
    assert first.means() == before
    assert (second.rows, second.steps) == (whole.rows, whole.steps)


def test_takes_no_gradient_along() -> None:
    meter = Meter(CPU)
    loss = torch.ones((), requires_grad=True)
    _add(meter, {"ce": loss}, loss, _one_hot(0).requires_grad_(), _one_hot(0))
    assert not any(value.requires_grad for value in meter.sums.values())
