"""MLKD with a strong view: the loss of the authors' code, and runs whose batches hold both views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import stkd
from stkd import losses
from stkd.core.errors import StkdError
from stkd.data.loader import Batch
from stkd.methods import View, parse
from stkd.methods.spec import resolve_mix
from stkd.mixing import draw
from stkd.training.step import Step

B, C = 6, 8
LABELS = torch.tensor([0, 4, 4, 7, 2, 1])
G = torch.Generator().manual_seed(5)
WEAK, STRONG, TAUGHT, TAUGHT_STRONG = (3 * torch.randn(B, C, generator=G, dtype=torch.float64) for _ in range(4))


def view(
    weak: Tensor = WEAK, strong: Tensor = STRONG, taught: Tensor = TAUGHT, taught_strong: Tensor = TAUGHT_STRONG
) -> View:
    labels = torch.cat([LABELS, LABELS])
    parts = draw(parse("mlkd:strong=true").mix, B, np.random.default_rng())
    images, targets = torch.zeros(2 * B, 1, 8, 8), F.one_hot(labels, C).double()
    batch = Batch(images, targets, labels, labels, parts, 2 * B, 0, 0, strong=B)
    return View(batch, torch.cat([weak, strong]), torch.cat([taught, taught_strong]))


def total(method: str, seen: View) -> Tensor:
    """With the trainer's cross-entropy, the mean over all rows."""
    parsed = parse(method)
    label = parsed.label_weight * F.cross_entropy(seen.student, seen.batch.labels)
    return torch.stack([label, *parsed.losses(seen).values()]).sum()


def z_scored(logits: Tensor) -> Tensor:
    return (logits - logits.mean(1, keepdim=True)) / (logits.std(1, keepdim=True) + 1e-7)


def kl(student: Tensor, teacher: Tensor, t: float) -> Tensor:
    """Of each sample, times T^2."""
    p, q = (teacher / t).softmax(1), (student / t).softmax(1)
    return t**2 * (p * (p / q).log()).sum(1)


def between(student: Tensor, teacher: Tensor, t: float, *, classes: bool = False) -> Tensor:
    """Squared differences of the similarities of samples or classes, divided by their number."""
    p, q = (teacher / t).softmax(1), (student / t).softmax(1)
    p, q = (p.T, q.T) if classes else (p, q)
    return (p @ p.T - q @ q.T).square() / len(p)


@pytest.mark.parametrize("standardize", [False, True])
def test_is_what_the_authors_code_computes(standardize: bool) -> None:
    """Masks are multiplied onto losses that are reduced; two terms of the strong view have the weak one's logits."""
    scored = z_scored if standardize else lambda logits: logits
    s, t, s_strong, t_strong = map(scored, (WEAK, TAUGHT, STRONG, TAUGHT_STRONG))
    p = TAUGHT.softmax(1)
    samples, classes = (torch.from_numpy(v.numpy() <= np.percentile(v, 50)).double() for v in (p.amax(1), p.sum(0)))
    first, weight, ce = (2, 9.0, 0.1) if standardize else (4, 0.9, 0.1)
    ts = (first, 3, 5, 2, 6)
    expected = ce * (F.cross_entropy(WEAK, LABELS) + F.cross_entropy(STRONG, LABELS))
    for temperature in ts:
        expected += weight * (kl(s, t, temperature).mean() * samples).mean()
        expected += weight * (between(WEAK, TAUGHT, temperature).sum() * samples).mean()
        expected += weight * (between(WEAK, TAUGHT, temperature, classes=True).sum() * classes).mean()
    expected += weight * sum(kl(s_strong, t_strong, temperature).mean() for temperature in (first, 3, 5))
    expected += weight * sum(kl(s, t, temperature).mean() for temperature in (2, 6))
    options = f"strong=true,standardize={str(standardize).lower()},weight={weight},ce={ce}"
    torch.testing.assert_close(total(f"mlkd:{options}", view()), expected)


def test_the_same_image_in_both_views() -> None:
    """Every temperature then has one and a half of the weight."""
    named = parse("mlkd:strong=true").losses(view(strong=WEAK, taught_strong=TAUGHT))
    expected = sum(1.5 * 0.9 * kl(WEAK, TAUGHT, t).mean() for t in (2, 3, 4, 5, 6))
    torch.testing.assert_close(named["instance"] + named["strong"], expected)


def test_masked_as_the_paper_means_it() -> None:
    """Only samples of which the teacher is unsure, and classes to which it gives little, are compared."""
    p = TAUGHT.softmax(1)
    unsure, rare = (v <= v.median() for v in (p.amax(1), p.sum(0)))
    assert (int(unsure.sum()), int(rare.sum())) == (B // 2, C // 2)
    temperatures = (2, 3, 4, 5, 6)
    expected = {
        "instance": sum(kl(WEAK, TAUGHT, t)[unsure].sum() / B for t in temperatures),
        "batch": sum(between(WEAK, TAUGHT, t)[:, unsure].sum() for t in temperatures),
        "class": sum(between(WEAK, TAUGHT, t, classes=True)[:, rare].sum() for t in temperatures),
    }
    both = view()
    one = View(both.batch, WEAK, TAUGHT)
    named = parse("mlkd:masked=true").losses(one)
    for name, value in expected.items():
        torch.testing.assert_close(named[name], 0.9 * value)
    two = parse("mlkd:masked=true,strong=true").losses(both)
    torch.testing.assert_close(two["class"], named["class"])
    more = sum(0.9 * kl(WEAK, TAUGHT, t).mean() for t in (2, 6))
    torch.testing.assert_close(two["instance"], named["instance"] + more)


def test_masked_samples_get_no_gradient() -> None:
    student = WEAK.clone().requires_grad_()
    named = parse("mlkd:masked=true").losses(View(view().batch, student, TAUGHT))
    named["instance"].backward()
    assert student.grad is not None
    moved = student.grad.abs().sum(1) > 0
    assert torch.equal(moved, losses.mlkd_masks(TAUGHT)[0])


def test_levels_of_batches_and_classes() -> None:
    shuffled, relabelled = torch.randperm(B, generator=G), torch.randperm(C, generator=G)
    for loss in (losses.mlkd_batch, losses.mlkd_class):
        assert loss(TAUGHT, TAUGHT) == 0
    of_classes, of_samples = losses.mlkd_class(WEAK, TAUGHT), losses.mlkd_batch(WEAK, TAUGHT)
    torch.testing.assert_close(losses.mlkd_class(WEAK[shuffled], TAUGHT[shuffled]), of_classes)
    torch.testing.assert_close(losses.mlkd_batch(WEAK[:, relabelled], TAUGHT[:, relabelled]), of_samples)


# Runs.

SMALL: dict[str, Any] = {
    "epochs": 2,
    "train_images": 48,
    "batch_size": 16,
    "precision": "32",
    "accelerator": "cpu",
    "compile": "none",
}
TWO_VIEWS = "mlkd:strong=true"


def weights(run: Path) -> bytes:
    return (run / "student.safetensors").read_bytes()


@pytest.mark.parametrize("options", [{}, {"mix": "mixup", "mix_until": 0.5}], ids=["real", "mixed"])
def test_a_stopped_run_and_a_cache_see_the_same_views(
    options: dict[str, Any], teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, step_of, made = {**SMALL, **options}, Step.__call__, 0

    def run(out: str, teacher: str | None, **more: Any) -> bytes:
        stkd.distill(teacher, "cnn2", "digits", TWO_VIEWS, out=tmp_path / out, **{**given, **more})
        return weights(tmp_path / out)

    def stopped(step: Step, batch: Batch) -> None:
        nonlocal made
        made += 1
        if made == 5:
            raise KeyboardInterrupt
        step_of(step, batch)

    whole = run("whole", str(teacher_run))
    with monkeypatch.context() as patch:
        patch.setattr(Step, "__call__", stopped)
        with pytest.raises(KeyboardInterrupt):
            run("parts", str(teacher_run), checkpoint_minutes=1e-9)
    assert run("parts", str(teacher_run)) == whole
    how = {"out": tmp_path / "cache", "dtype": "fp32", **given}
    stkd.cache_teacher(str(teacher_run), "digits", method=TWO_VIEWS, **how)
    assert run("cached", None, teacher_cache=tmp_path / "cache") == whole
    one = {"teacher_cache": tmp_path / "cache", **given}
    with pytest.raises(StkdError, match="with strong views of the images: true, here it is false"):
        stkd.distill(None, "cnn2", "digits", "mlkd", out=tmp_path / "other", **one)


def test_a_step_counts_both_views(teacher_run: Path, tmp_path: Path) -> None:
    done = stkd.distill(str(teacher_run), "cnn2", "digits", TWO_VIEWS, out=tmp_path / "run", **SMALL)
    assert (done.scores["images_seen"], done.scores["teacher_passes"]) == (2 * 48, 2 * 2 * 48)
    assert done.scores["mix"]["strong"] is True


def test_keeps_its_views_beside_others_and_when_mixed() -> None:
    assert resolve_mix(parse(f"{TWO_VIEWS}+kd"), kind=None).rows(4) == 8
    mixed = resolve_mix(parse(TWO_VIEWS), kind="mixup", instances=3)
    assert (mixed.strong, mixed.instances, mixed.rows(4)) == (True, 3, 8)
    assert resolve_mix(parse(f"stkd+{TWO_VIEWS}")).strong
    assert not resolve_mix(parse("mlkd"), kind="mixup").strong


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        (TWO_VIEWS, {"mix": "mixup", "beside": True}, "all rows are mixed or none; leave out real rows"),
        (TWO_VIEWS, {"mix": "mixup", "real": 0.5}, "all rows are mixed or none; leave out real rows"),
        (f"{TWO_VIEWS}+crd", {}, "shows it twice"),
        ("mlkd:strong=yess", {}, "must be bool"),
    ],
)
def test_contradictions_get_one_line(
    method: str, options: dict[str, Any], words: str, teacher_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(StkdError, match=words) as caught:
        stkd.distill(str(teacher_run), "cnn2", "digits", method, out=tmp_path / "run", **{**SMALL, **options})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_students_of_one_teacher_pass_share_the_views(teacher_run: Path, tmp_path: Path) -> None:
    students = {"one": {"student": "cnn2", "method": TWO_VIEWS}, "other": {"student": "cnn2", "method": "kd"}}
    with pytest.raises(StkdError, match="no mixing, with strong views, no mixing"):
        stkd.distill_many(str(teacher_run), students, "digits", out=tmp_path / "runs", **SMALL)
