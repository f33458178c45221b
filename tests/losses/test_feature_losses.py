"""What every loss on features must hold, and the small modules beside them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stkd import losses
from stkd.core.errors import StkdError
from stkd.losses.ab import ABConnector
from stkd.losses.cc import CCEmbedding
from stkd.losses.crd import CRDMemory, CRDNegatives
from stkd.losses.ctkd import LearnedTemperature, ctkd_strength
from stkd.losses.fitnet import FitNetRegressor
from stkd.losses.ft import Paraphraser, Translator
from stkd.losses.ofd import OFDConnector, ofd_margin
from stkd.losses.reviewkd import Review
from stkd.losses.simkd import SimKDProjector
from stkd.losses.srrl import SRRLConnector
from stkd.losses.vid import VIDRegressor

Loss = Callable[[list[Tensor], list[Tensor]], Tensor]
MARGIN = torch.full((1, 4, 1, 1), -0.5, dtype=torch.float64)


def pooled(layers: list[Tensor]) -> list[Tensor]:
    return [x.mean((2, 3)) for x in layers]


def ofd(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    return losses.ofd(student, teacher, margin=[MARGIN] * len(student))


def vid(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    return losses.vid(student[0], teacher[0], variance=torch.full((4,), 2.0, dtype=student[0].dtype))


def srrl(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    (s,), (t,) = pooled(student[:1]), pooled(teacher[:1])
    return losses.srrl(student[0], teacher[0], student_logits=s, teacher_logits=t)


LOSSES: dict[str, Loss] = {
    "cc": lambda student, teacher: losses.cc(pooled(student), pooled(teacher)),
    "ofd": ofd,
    "simkd": lambda student, teacher: losses.simkd(student[0], teacher[0]),
    "srrl": srrl,
    "vid": vid,
} | {
    loss.__name__: loss
    for loss in (
        losses.ab,
        losses.at,
        losses.fitnet,
        losses.fsp,
        losses.ft,
        losses.nst,
        losses.pkt,
        losses.reviewkd,
        losses.rkd,
        losses.sp,
    )
}
PER_SAMPLE = set(LOSSES) - {"cc", "pkt", "rkd", "sp"}
DIVERGENCES = set(LOSSES) - {"ab", "vid"}
every = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def maps(
    seed: int = 0, batch: int = 4, sizes: tuple[int, ...] = (6, 3), dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 4, size, size, generator=g, dtype=torch.float64).to(dtype) for size in sizes]


def gradients(loss: Loss, student: list[Tensor], teacher: list[Tensor]) -> tuple[Tensor, ...]:
    student = [x.clone().requires_grad_() for x in student]
    return torch.autograd.grad(loss(student, teacher), student, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("name", sorted(DIVERGENCES))
def test_zero_with_zero_gradient_at_equality(name: str) -> None:
    assert abs(float(LOSSES[name](maps(), maps()))) < 1e-12
    assert all(g.abs().max() < 1e-9 for g in gradients(LOSSES[name], maps(), maps()))


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"cc"}))
def test_the_order_of_the_batch_does_not_matter(name: str) -> None:
    student, teacher = maps(0), maps(1)
    turned = LOSSES[name]([x.flip(0) for x in student], [x.flip(0) for x in teacher])
    torch.testing.assert_close(turned, LOSSES[name](student, teacher))


@pytest.mark.parametrize("name", sorted(PER_SAMPLE))
def test_the_batch_may_be_split(name: str) -> None:
    student, teacher = maps(0), maps(1)
    one_by_one = [LOSSES[name]([x[i : i + 1] for x in student], [x[i : i + 1] for x in teacher]) for i in range(4)]
    torch.testing.assert_close(torch.stack(one_by_one).mean(), LOSSES[name](student, teacher))


@every
def test_gradcheck(loss: Loss) -> None:
    teacher = maps(1, batch=3, sizes=(3, 2))
    student = [x.requires_grad_() for x in maps(0, batch=3, sizes=(3, 2))]
    assert torch.autograd.gradcheck(lambda *s: loss(list(s), teacher), student, fast_mode=True)


@every
def test_half_precision_computes_in_float32(loss: Loss) -> None:
    student, teacher = maps(0, dtype=torch.bfloat16), maps(1, dtype=torch.bfloat16)
    value = loss(student, teacher)
    assert value.dtype == torch.float32
    # The tests' own pooling is done in bf16, hence not to the last digit.
    single = loss([x.float() for x in student], [x.float() for x in teacher])
    torch.testing.assert_close(value, single, rtol=2e-2, atol=1e-3)


@every
def test_compiled_is_eager(loss: Loss) -> None:
    torch._dynamo.reset()
    student, teacher = maps(0), maps(1)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(student, teacher), loss(student, teacher))


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"cc", "srrl"}))
def test_other_sizes_are_adapted(name: str) -> None:
    value = LOSSES[name](maps(0, sizes=(6, 3)), maps(1, sizes=(4, 6)))
    assert value.isfinite()
    assert value > 0


@pytest.mark.parametrize("loss", [losses.at, losses.sp, losses.nst, losses.rkd, losses.pkt])
def test_equal_samples_and_dead_features_have_finite_gradients(loss: Loss) -> None:
    same, dead = maps(0)[0][:1].expand(4, -1, -1, -1), torch.zeros(4, 4, 6, 6, dtype=torch.float64)
    for student in (same, dead):
        assert all(g.isfinite().all() for g in gradients(loss, [student], maps(1)[:1]))


@pytest.mark.parametrize("loss", [losses.fitnet, losses.ab, losses.sp, losses.rkd, losses.pkt, losses.cc])
def test_vectors_will_do(loss: Loss) -> None:
    assert loss(pooled(maps(0)), pooled(maps(1))).isfinite()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.at(maps()[0], maps()), "1 student layers and 2 teacher layers"),
        (lambda: losses.at(pooled(maps()), pooled(maps())), "tap other layers"),
        (lambda: losses.sp(maps()[0], maps(batch=3)[0]), "tap other layers"),
        (lambda: losses.fitnet(maps()[0], maps()[0][:, :3]), "connector"),
        (lambda: losses.fsp(maps()[:1], maps()[:1]), "two layers or more"),
        (lambda: losses.ofd(maps(), maps(), margin=MARGIN), "one margin for each layer"),
    ],
)
def test_wrong_shapes_are_one_clear_line(call: Callable[[], Tensor], message: str) -> None:
    with pytest.raises(StkdError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


STUDENT, TEACHER = (2, 3, 8, 8), (2, 6, 4, 4)


@pytest.mark.parametrize(
    ("module", "spatial"),
    [
        (FitNetRegressor(STUDENT, TEACHER), 4),
        (FitNetRegressor(STUDENT, (2, 6, 8, 8)), 8),
        (ABConnector(3, 6), 8),
        (OFDConnector(3, 6), 8),
        (SRRLConnector(3, 6), 8),
        (SimKDProjector(3, 6), 8),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, nn.Module) else str(x),
)
def test_connectors_reach_the_teachers_channels(module: nn.Module, spatial: int) -> None:
    out = module(torch.randn(STUDENT))
    assert out.shape == (2, 6, spatial, spatial)
    losses.fitnet(out, torch.randn(TEACHER)).backward()
    assert all(p.grad is not None for p in module.parameters())


@pytest.mark.parametrize(
    "module", [FitNetRegressor((2, 3), (2, 6)), ABConnector(3, 6), SRRLConnector(3, 6), SimKDProjector(3, 6)]
)
def test_connectors_take_vectors(module: nn.Module) -> None:
    assert module(torch.randn(2, 3)).shape == (2, 6)


def test_review_gives_every_layer_the_teachers_shape_and_all_parameters_a_gradient() -> None:
    student = [torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 4), torch.randn(2, 7, 1, 1)]
    teacher = [torch.randn(2, 6, 16, 16), torch.randn(2, 8, 4, 4), torch.randn(2, 9, 1, 1)]
    review = Review([x.shape for x in student], [x.shape for x in teacher])
    out = review(student)
    assert [x.shape for x in out] == [x.shape for x in teacher]
    losses.reviewkd(out, teacher).backward()
    assert all(p.grad is not None for p in review.parameters())


def test_factor_transfer_compares_factors_of_one_width() -> None:
    paraphraser, translator = Paraphraser(6), Translator(3, 6)
    teacher, student = torch.randn(TEACHER), torch.randn(STUDENT)
    assert paraphraser(teacher).shape == (2, 3, 4, 4)
    assert translator(student).shape == (2, 3, 8, 8)
    losses.ft(translator(student), paraphraser(teacher).detach()).backward()
    paraphraser.reconstruction_loss(teacher).backward()
    assert all(p.grad is not None for m in (paraphraser, translator) for p in m.parameters())


def test_ofd_margin_is_the_mean_of_the_negative_part() -> None:
    norm = nn.BatchNorm2d(3)
    norm.weight.data, norm.bias.data = torch.tensor([1.0, -2.0, 0.1]), torch.tensor([0.0, 0.5, 5.0])
    draws = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    expected = [float(x[x < 0].mean()) for x in (draws, 2 * draws + 0.5)] + [-0.3]
    torch.testing.assert_close(ofd_margin(norm).flatten().detach(), torch.tensor(expected), rtol=1e-2, atol=0)


def test_vid_and_cc_modules_train_all_their_parameters() -> None:
    regressor, embedding = VIDRegressor(3, 6), CCEmbedding(3, 6)
    torch.testing.assert_close(regressor.variance(), torch.full((6,), 5.0))
    regressor(torch.randn(STUDENT), torch.randn(TEACHER)).backward()
    losses.cc(*embedding(torch.randn(4, 3), torch.randn(4, 6))).backward()
    assert all(p.grad is not None for m in (regressor, embedding) for p in m.parameters())


def test_crd_negatives_are_of_other_classes_and_cover_them_all() -> None:
    labels = torch.tensor([2, 0, 1, 1, 2, 0, 4, 4])  # no sample of class 3
    contrast = CRDNegatives(labels, num_negatives=500)(torch.arange(8), torch.Generator().manual_seed(0))
    assert torch.equal(contrast[:, 0], torch.arange(8))
    for i, negatives in enumerate(contrast[:, 1:]):
        assert set(negatives.tolist()) == set((labels != labels[i]).nonzero().flatten().tolist())


def test_crd_keeps_its_normalizers_and_leaves_the_memories_alone_in_eval_mode() -> None:
    memory = CRDMemory(3, 6, num_samples=10, dim=4)
    contrast = torch.arange(8).reshape(2, 4)
    memory(torch.randn(2, 3), torch.randn(2, 6), contrast)
    before = {k: v.clone() for k, v in memory.state_dict().items()}
    assert before["student_z"] > 0
    memory.eval()(torch.randn(2, 3), torch.randn(2, 6), contrast)
    assert all(torch.equal(before[k], v) for k, v in memory.state_dict().items())
    memory.train()(torch.randn(2, 3), torch.randn(2, 6), contrast)
    moved = (memory.student_bank != before["student_bank"]).any(1).nonzero().flatten().tolist()
    assert moved == [0, 4]


def test_ctkd_raises_the_loss_by_descent() -> None:
    assert [ctkd_strength(e) for e in (0, 5, 10, 99)] == pytest.approx([0, 0.5, 1, 1])
    temperature = LearnedTemperature()
    student, teacher = torch.randn(4, 5), torch.randn(4, 5)
    expected = 1 + 20 * torch.ones(()).sigmoid()
    torch.testing.assert_close(temperature(0.5).detach(), expected)

    def gradient(strength: float | None) -> Tensor:
        t = 1 + 20 * temperature.theta.sigmoid() if strength is None else temperature(strength)
        return torch.autograd.grad(losses.kd(student, teacher, temperature=t), temperature.theta)[0]

    torch.testing.assert_close(gradient(0.5), -0.5 * gradient(None))
