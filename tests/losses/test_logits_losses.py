"""What every loss on logits must hold, and how STKD, KD and DKD are one family."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stkd import losses
from stkd.core.errors import StkdError
from stkd.losses.stkd import kl_split

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def decoupled(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    return losses.stkd(student, teacher, labels, beta=8.0)


def without_labels(loss: Callable[..., Tensor], **options: object) -> Loss:
    return lambda student, teacher, _: loss(student, teacher, **options)


LOSSES: dict[str, Loss] = {
    "cross_entropy": lambda student, _, labels: losses.cross_entropy(student, labels),
    "decoupled": decoupled,
    "dkd": losses.dkd,
    "nkd": losses.nkd,
    "rld": losses.rld,
} | {
    loss.__name__: without_labels(loss)
    for loss in (
        losses.kd,
        losses.stkd,
        losses.dist,
        losses.mlkd_batch,
        losses.mlkd_class,
        losses.inter_instance,
        losses.reverse_kl,
        losses.js,
        losses.mse,
        losses.cosine,
        losses.ldrld,
        losses.skd_direction,
    )
}
MIXED_BATCH = {"dist", "mlkd_batch", "mlkd_class", "inter_instance", "skd_direction"}
DIVERGENCES = set(LOSSES) - {"cross_entropy", "nkd", "dist", "rld"}
WITH_LABELS = {
    "cross_entropy": lambda student, _, labels: losses.cross_entropy(student, labels),
    "stkd": decoupled,
    "dkd": losses.dkd,
    "nkd": losses.nkd,
    "rld": losses.rld,
}
WITH_T = {
    "kd": losses.kd,
    "stkd": losses.stkd,
    "dkd": losses.dkd,
    "js": losses.js,
    "reverse_kl": losses.reverse_kl,
}


def predictions(seed: int = 0, batch: int = 6, classes: int = 5, scale: float = 3.0) -> tuple[Tensor, Tensor, Tensor]:
    """Student logits, teacher logits, and labels mixed of two instances, in float64."""
    g = torch.Generator().manual_seed(seed)
    student, teacher = (scale * torch.randn(batch, classes, generator=g, dtype=torch.float64) for _ in range(2))
    first, second = torch.randint(classes, (2, batch), generator=g)
    weight = torch.rand(batch, 1, generator=g, dtype=torch.float64)
    return student, teacher, weight * one_hot(first, classes) + (1 - weight) * one_hot(second, classes)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(labels, classes).double()


def gradient(loss: Loss, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    student = student.clone().requires_grad_()
    (result,) = torch.autograd.grad(loss(student, teacher, labels), student)
    return result


batches = st.builds(
    predictions, st.integers(0, 2**31), st.integers(2, 9), st.integers(2, 7), st.sampled_from([0.1, 3.0, 30.0])
)


@pytest.fixture
def fresh_compiler() -> None:
    """Each loss is compiled on its own, else all of them together reach the limit of recompilations."""
    torch._dynamo.reset()


quick = settings(max_examples=20, deadline=None)
every = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@pytest.mark.parametrize("name", sorted(DIVERGENCES))
@quick
@given(batch=batches)
def test_zero_with_zero_gradient_at_equality(name: str, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    student, _, labels = batch
    assert abs(float(LOSSES[name](student, student, labels))) < 1e-9
    assert gradient(LOSSES[name], student, student, labels).abs().max() < 1e-6


def test_dist_is_zero_at_equality_but_for_the_epsilon_of_its_formula() -> None:
    student, _, labels = predictions(scale=1.0)
    assert abs(float(losses.dist(student, student))) < 1e-5
    assert gradient(LOSSES["dist"], student, student, labels).abs().max() < 1e-5


@every
@quick
@given(batch=batches, seed=st.integers(0, 99))
def test_the_order_of_the_batch_does_not_matter(loss: Loss, batch: tuple[Tensor, Tensor, Tensor], seed: int) -> None:
    order = torch.randperm(len(batch[0]), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(loss(*(x[order] for x in batch)), loss(*batch), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - MIXED_BATCH))
@quick
@given(batch=batches)
def test_the_batch_may_be_split(name: str, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    one_by_one = [LOSSES[name](*(x[i : i + 1] for x in batch)) for i in range(len(batch[0]))]
    torch.testing.assert_close(torch.stack(one_by_one).mean(), LOSSES[name](*batch), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(WITH_LABELS))
@quick
@given(batch=batches)
def test_one_hot_labels_are_hard_labels(name: str, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, soft = batch
    hard = soft.argmax(1)
    loss = WITH_LABELS[name]
    torch.testing.assert_close(loss(student, teacher, one_hot(hard, soft.shape[1])), loss(student, teacher, hard))


@pytest.mark.parametrize("name", sorted(WITH_T))
def test_t_squared_keeps_the_size_of_the_gradient(name: str) -> None:
    student, teacher, soft = predictions()
    arguments = (soft,) if name == "dkd" else ()

    def size(temperature: float) -> float:
        x = student.clone().requires_grad_()
        WITH_T[name](x, teacher, *arguments, temperature=temperature).backward()
        return float(x.grad.norm())

    assert size(100) == pytest.approx(size(50), rel=0.05)


def test_large_t_makes_kd_half_the_mean_squared_error_of_centred_logits() -> None:
    student, teacher, _ = (x - x.mean(1, keepdim=True) for x in predictions(classes=100))
    limit = losses.mse(student, teacher) / (2 * 100)
    torch.testing.assert_close(losses.kd(student, teacher, temperature=1e4), limit, rtol=1e-3, atol=0)


@quick
@given(batch=batches)
def test_kd_is_a_sum_over_classes_and_a_mean_over_the_batch(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, _ = batch
    log_p, log_q = (teacher / 4).log_softmax(1), (student / 4).log_softmax(1)
    expected = 16 * (log_p.exp() * (log_p - log_q)).sum() / len(student)
    torch.testing.assert_close(losses.kd(student, teacher), expected)


@quick
@given(batch=batches)
def test_plain_stkd_is_kd_and_one_instance_is_dkd(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, soft = batch
    assert torch.equal(losses.stkd(student, teacher, soft), losses.kd(student, teacher))
    hard = soft.argmax(1)
    rows = torch.arange(len(hard))
    p_t, p_s = (teacher / 4).softmax(1), (student / 4).softmax(1)
    t, s = p_t[rows, hard], p_s[rows, hard]
    others = one_hot(hard, soft.shape[1]) == 0
    rest_t, rest_s = ((p * others).sum(1) for p in (p_t, p_s))  # 1 - t would lose its digits next to 1
    tckd = t * (t / s).log() + rest_t * (rest_t / rest_s).log()
    q_t, q_s = p_t * others / rest_t[:, None], p_s * others / rest_s[:, None]
    nckd = (q_t * (q_t / q_s).clamp(min=1e-300).log().nan_to_num(0, 0, 0)).masked_fill(~others, 0).sum(1)
    expected = 16 * (tckd + 8 * nckd).mean()
    torch.testing.assert_close(losses.stkd(student, teacher, hard, beta=8.0), expected, rtol=1e-6, atol=1e-9)
    assert torch.equal(losses.dkd(student, teacher, hard), losses.stkd(student, teacher, hard, beta=8.0))


@quick
@given(batch=batches)
def test_the_split_adds_up_to_the_kl(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, labels = batch
    p_rest = kl_split(student / 4, teacher / 4, labels > 0)[2]
    expected = ((teacher / 4).softmax(1) * (labels == 0)).sum(1)
    torch.testing.assert_close(p_rest, expected)
    split, plain = losses.stkd(student, teacher, labels, beta=p_rest), losses.kd(student, teacher)
    torch.testing.assert_close(split, plain, rtol=1e-9, atol=1e-12)


def test_mixed_labels_with_no_class_left_have_no_kl_among_the_rest() -> None:
    student, teacher, _ = predictions(classes=2)
    labels = torch.full((6, 2), 0.5, dtype=torch.float64)
    torch.testing.assert_close(losses.dkd(student, teacher, labels), losses.kd(student, teacher))
    assert gradient(losses.nkd, student, teacher, labels).isfinite().all()


def test_mixed_cross_entropy_is_the_mixture_of_the_hard_ones() -> None:
    student, _, _ = predictions()
    first, second = torch.arange(6) % 5, (torch.arange(6) + 2) % 5
    soft = 0.3 * one_hot(first, 5) + 0.7 * one_hot(second, 5)
    expected = 0.3 * losses.cross_entropy(student, first) + 0.7 * losses.cross_entropy(student, second)
    torch.testing.assert_close(losses.cross_entropy(student, soft), expected)


@every
def test_gradcheck(loss: Loss) -> None:
    student, teacher, labels = predictions(batch=4)
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher, labels), student.requires_grad_())


@every
def test_half_precision_computes_in_float32(loss: Loss) -> None:
    half = tuple(x.bfloat16() for x in predictions())
    value = loss(*half)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(*(x.float() for x in half)))
    assert gradient(loss, *half).dtype == torch.bfloat16


@every
@pytest.mark.parametrize("classes", [2, 5])
def test_extreme_logits_stay_finite(loss: Loss, classes: int) -> None:
    student, teacher, labels = (x.float() for x in predictions(classes=classes))
    for sign in (1, -1):
        extreme = 1e4 * student.sign()
        assert loss(extreme, sign * 1e4 * teacher.sign(), labels).isfinite()
        assert gradient(loss, extreme, sign * 1e4 * teacher.sign(), labels).isfinite().all()


STANDARDIZED = (losses.kd, losses.stkd, losses.dist, losses.inter_instance)
STANDARDIZED += (losses.reverse_kl, losses.js, losses.mse, losses.cosine, losses.dkd, losses.nkd, losses.rld)


@pytest.mark.parametrize("loss", STANDARDIZED, ids=lambda f: f.__name__)
def test_standardized_logits_have_no_shift_and_no_scale(loss: Callable[..., Tensor]) -> None:
    student, teacher, labels = predictions()
    arguments = (labels,) if loss in (losses.dkd, losses.nkd, losses.rld) else ()
    value = loss(student, teacher, *arguments, standardize=True)
    moved = loss(5 * student + 7, teacher / 3 - 2, *arguments, standardize=True)
    torch.testing.assert_close(moved, value, rtol=1e-5, atol=1e-7)
    assert value != loss(student, teacher, *arguments)


@every
@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_is_eager(loss: Loss) -> None:
    batch = predictions()
    torch.testing.assert_close(torch.compile(loss, fullgraph=True, backend="eager")(*batch), loss(*batch))


@pytest.mark.parametrize("name", ["decoupled", "dist"])
@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_backward_is_eager(name: str) -> None:
    compiled = torch.compile(LOSSES[name], fullgraph=True, backend="aot_eager")
    batch = predictions()
    torch.testing.assert_close(gradient(compiled, *batch), gradient(LOSSES[name], *batch))


@pytest.mark.parametrize("name", sorted(WITH_LABELS))
def test_labels_that_are_no_class(name: str) -> None:
    student, teacher, _ = predictions(batch=4, classes=10)
    for labels in (torch.tensor([0, 1, 99, 2]), torch.tensor([0, -1, 9, 2])):
        with pytest.raises(StkdError, match="is none of the 10 classes, 0 to 9"):
            WITH_LABELS[name](student, teacher, labels)


@pytest.mark.parametrize("temperature", [-1.0, 0.0, 1e-300, 1e300, float("inf"), float("nan")])
@pytest.mark.parametrize("loss", [losses.kd, losses.stkd, losses.dist, losses.js, losses.ldrld, losses.mlkd_class])
def test_temperatures_that_mean_nothing(loss: Callable[..., Tensor], temperature: float) -> None:
    student, teacher, _ = predictions()
    with pytest.raises(StkdError, match="temperature must be at"):
        loss(student, teacher, temperature=temperature)
    labels = torch.zeros(len(student), dtype=torch.int64)
    for labelled in (losses.dkd, losses.nkd, losses.rld):
        with pytest.raises(StkdError, match="temperature must be at"):
            labelled(student, teacher, labels, temperature=temperature)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.kd(torch.zeros(2, 10), torch.zeros(2, 100)), "map the teacher's classes"),
        (lambda: losses.dkd(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 4)), "do not fit logits"),
        (lambda: losses.cross_entropy(torch.zeros(2, 3), torch.zeros(2)), "give class indices"),
        (lambda: losses.stkd(torch.zeros(2, 3), torch.zeros(2, 3), beta=1.0), "needs labels"),
    ],
)
def test_wrong_shapes_are_one_clear_line(call: Callable[[], Tensor], message: str) -> None:
    with pytest.raises(StkdError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
