from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import stkd.losses
from stkd.core.errors import StkdError
from stkd.data import open_data
from stkd.data.loader import TrainLoader
from stkd.methods import View, methods, parse, resolve_mix
from stkd.mixing import Mix


def view(mix: Mix, size: int = 12) -> View:
    """A batch of digits with logits of nobody in particular."""
    data = open_data("digits")
    device = torch.device("cpu")
    loader = TrainLoader(data, batch_size=size, mix=mix, augmentation="none", seed=0, device=device)
    batch = next(iter(loader.epoch(0)))
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(len(batch.images), 10, generator=generator) * 3 for _ in range(2))
    return View(batch, student.requires_grad_(), teacher)


def total(spec: str, seen: View) -> torch.Tensor:
    """The whole loss of a method, as the trainer adds it up."""
    method = parse(spec)
    named = method.losses(seen)
    label = method.label_weight * F.cross_entropy(seen.student, seen.batch.targets)
    return sum(named.values(), start=label)


def hinton(seen: View, t: float, w: float) -> torch.Tensor:
    """KD, written out."""
    p, log_q = (seen.taught / t).softmax(1), (seen.student / t).log_softmax(1)
    kl = (p * (p.log() - log_q)).sum(1).mean()
    ce = -(seen.batch.targets * seen.student.log_softmax(1)).sum(1).mean()
    return (1 - w) * ce + w * t**2 * kl


@pytest.mark.parametrize("spec", ["kd", "stkd"])
@pytest.mark.parametrize("mix", [Mix("none", 1), Mix(), Mix(instances=3, per_sample=True)], ids=["one", "two", "three"])
def test_kd_and_stkd_are_hintons_loss_on_their_samples(spec: str, mix: Mix) -> None:
    seen = view(mix)
    torch.testing.assert_close(total(spec, seen), hinton(seen, 4.0, 0.9))
    torch.testing.assert_close(total(f"{spec}:temperature=2,weight=0.3", seen), hinton(seen, 2.0, 0.3))


def test_temperature_squared_stays_without_labels() -> None:
    seen = view(Mix())
    torch.testing.assert_close(total("stkd:weight=1,temperature=5", seen), hinton(seen, 5.0, 1.0))
    torch.testing.assert_close(total("fm", seen), hinton(seen, 1.0, 1.0))
    torch.testing.assert_close(total("fm:temperature=3", seen), total("stkd:weight=1,temperature=3", seen))


def test_one_instance_decoupled_is_dkd() -> None:
    seen = view(Mix("none", 1))
    ours = parse("stkd:beta=8,weight=1").losses(seen)["kl"]
    torch.testing.assert_close(ours, parse("dkd:beta=8").losses(seen)["dkd"])


def test_decoupled_with_the_teachers_own_weight_is_plain() -> None:
    """KL = KL over the cells + p_t(rest) KL among the rest."""
    seen = view(Mix(instances=3, per_sample=True))
    t = 4.0
    rest = (seen.taught / t).softmax(1).masked_fill(seen.batch.targets > 0, 0).sum(1)
    decoupled = stkd.losses.stkd(seen.student, seen.taught, seen.batch.targets, temperature=t, beta=rest)
    torch.testing.assert_close(0.9 * decoupled, parse("stkd").losses(seen)["kl"])


def test_student_alone_has_no_other_loss() -> None:
    seen = view(Mix())
    for spec in ("ce", "mixup"):
        method = parse(spec)
        assert not method.uses_teacher
        assert method.losses(View(seen.batch, seen.student)) == {}
        torch.testing.assert_close(total(spec, seen), F.cross_entropy(seen.student, seen.batch.targets))


@pytest.mark.parametrize(
    ("spec", "teacher", "labels"),
    [
        ("ce", False, True),
        ("mixup", False, True),
        ("kd", True, True),
        ("kd:weight=1", True, False),
        ("stkd", True, True),
        ("stkd:weight=1", True, False),
        ("stkd:weight=1,beta=2", True, True),
        ("fm", True, False),
        ("fm:weight=0.5", True, True),
        ("dkd", True, True),
    ],
)
def test_what_a_method_needs(spec: str, teacher: bool, labels: bool) -> None:
    method = parse(spec)
    assert method.uses_teacher is teacher
    assert method.needs_labels is labels


def test_the_strong_form_is_stkd_with_its_options() -> None:
    strong, plain = parse("stkd-strong"), parse("stkd:temperature=8")
    assert strong.mix == Mix(until=0.8)
    seen = view(Mix())
    torch.testing.assert_close(strong.losses(seen), plain.losses(seen), rtol=0, atol=0)
    assert parse("stkd-strong:temperature=2,beta=2").losses(seen).keys() == {"kl"}


@pytest.mark.parametrize("spec", ["stkd:beta=2", "dkd", "nkd", "rld", "crd", "dml", "kd+dkd"])
def test_losses_that_look_at_labels(spec: str) -> None:
    assert parse(spec).looks_at_labels
    assert not parse("stkd+at").looks_at_labels


@pytest.mark.parametrize("spec", ["kd", "stkd", "stkd:beta=2", "dkd", "fm", "stkd:standardize=true"])
def test_gradient_reaches_the_student_alone(spec: str) -> None:
    seen = view(resolve_mix(parse(spec)))
    seen.taught.requires_grad_()
    method = parse(spec)
    loss = sum(method.losses(seen).values(), start=torch.zeros(()))
    (gradient,) = torch.autograd.grad(loss, seen.student)
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient.abs().sum()) > 0


def test_a_student_like_its_teacher_has_nothing_to_learn() -> None:
    seen = view(Mix())
    same = View(seen.batch, seen.taught.clone().requires_grad_(), seen.taught)
    for spec in ("kd", "stkd", "stkd:beta=3", "dkd", "fm"):
        loss = sum(parse(spec).losses(same).values(), start=torch.zeros(()))
        assert abs(loss.item()) < 1e-5


def test_every_method_says_what_it_is() -> None:
    for entry in methods.entries():
        assert entry.summary
        assert "\n" not in entry.summary
        assert entry.name == entry.name.lower()
    assert {"ce", "mixup", "kd", "stkd", "dkd", "fm"} <= {entry.name for entry in methods.entries()}


@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "js", "mse", "cosine"])
def test_divergences_are_those_of_the_losses(divergence: str) -> None:

    seen = view(Mix())
    loss = stkd.losses.kd if divergence == "kl" else getattr(stkd.losses, divergence)
    tempered = {} if divergence in ("mse", "cosine") else {"temperature": 4.0}
    expected = 0.9 * loss(seen.student, seen.taught, **tempered)
    torch.testing.assert_close(parse(f"kd:divergence={divergence}").losses(seen), {divergence: expected})


def test_inter_instance_term_is_added_at_its_weight() -> None:

    seen = view(Mix())
    found = parse("stkd:inter=3").losses(seen)
    assert set(found) == {"kl", "inter"}
    torch.testing.assert_close(
        found["inter"], 3 * stkd.losses.inter_instance(seen.student, seen.taught, temperature=4.0)
    )


def test_divergence_and_decoupling_exclude_each_other() -> None:
    with pytest.raises(StkdError, match="either beta or divergence"):
        parse("stkd:beta=2,divergence=js")
    with pytest.raises(StkdError, match="did you mean cosine"):
        parse("kd:divergence=cosin")
