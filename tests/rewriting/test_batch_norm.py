"""Batch normalisation in C++ beside torch's, in values, statistics and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from stkd.kernels import load_kernels

Case = tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor, Tensor]


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    load_kernels()


def case(shape: tuple[int, int, int, int], dtype: torch.dtype, added: bool, seed: int = 0) -> Case:
    """Images, what is added, weight, bias, running mean and variance."""
    draw = torch.Generator().manual_seed(seed)

    def images() -> Tensor:
        found = torch.randn(shape, generator=draw) * 2 + 1
        return found.to(dtype).to(memory_format=torch.channels_last).requires_grad_()

    channels = shape[1]
    weight = (torch.rand(channels, generator=draw) + 0.5).requires_grad_()
    bias = torch.randn(channels, generator=draw).requires_grad_()
    return images(), images() if added else None, weight, bias, torch.zeros(channels), torch.ones(channels)


def ours(given: Case, *, relu: bool, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    x, added, weight, bias, mean, var = given
    found: Tensor = torch.ops.stkd.batch_norm_act(x, added, weight, bias, mean, var, True, momentum, eps, relu)
    return found


def theirs(given: Case, *, momentum: float = 0.1, eps: float = 1e-5) -> tuple[Tensor, Case]:
    """Torch's answer before the ReLU in float64, and the tensors that it was made from."""
    exact = [None if t is None else t.detach().double() for t in given]
    for tensor in exact[:4]:
        if tensor is not None:
            tensor.requires_grad_()
    x, added, weight, bias, mean, var = exact
    assert x is not None
    out = F.batch_norm(x, mean, var, weight, bias, True, momentum, eps)
    return out if added is None else out + added, tuple(exact)  # type: ignore[return-value]


def near(found: Tensor, expected: Tensor, dtype: torch.dtype, what: str, terms: float = 0.0) -> None:
    """Equal to a few roundings of the type, of the result or of the terms that it is the sum of."""
    unit = {torch.float32: 2e-5, torch.bfloat16: 2**-7}[dtype]
    scale = max(float(expected.abs().max()), terms)
    torch.testing.assert_close(found.double(), expected, rtol=unit, atol=unit * scale, msg=lambda m: f"{what}: {m}")


@settings(max_examples=60)
@given(
    shape=st.tuples(
        st.integers(1, 5),
        st.sampled_from([1, 2, 3, 5, 8, 16, 24, 40, 64, 100, 130]),
        st.integers(1, 9),
        st.integers(2, 9),
    ),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    added=st.booleans(),
    relu=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_agrees_with_torch(
    shape: tuple[int, int, int, int], dtype: torch.dtype, added: bool, relu: bool, seed: int
) -> None:
    tensors = case(shape, dtype, added, seed)
    exact, others = theirs(tensors)
    found = ours(tensors, relu=relu)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    near(found.detach(), (exact.relu() if relu else exact).detach(), dtype, "result")
    for name, a, b in zip(("mean", "variance"), tensors[4:], others[4:], strict=True):
        near(a, b, torch.float32, name)
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1)).to(dtype)
    found.backward(grad)  # type: ignore[no-untyped-call]
    # what passes the ReLU is what passed in our rounding: at 0 the two may differ
    exact.backward(grad.double() * (found > 0) if relu else grad.double())  # type: ignore[no-untyped-call]
    x, _, weight, *_ = others
    slopes = weight.abs() / (x.var(dim=(0, 2, 3), correction=0) + 1e-5).sqrt()
    largest, whole = float(grad.abs().max()), 4 * float(grad.abs().sum((0, 2, 3)).max())
    terms = {"images": 4 * largest * float(slopes.detach().max()), "added": largest, "weight": whole, "bias": whole}
    for (name, size), a, b in zip(terms.items(), tensors, others, strict=False):
        if a is not None and b is not None:
            assert a.grad is not None
            assert b.grad is not None
            near(a.grad, b.grad, dtype if name in ("images", "added") else torch.float32, name, size)


def test_large_tensor_on_several_threads() -> None:
    before = torch.get_num_threads()
    tensors = case((64, 16, 32, 32), torch.float32, True)
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            x, *rest = (t if t is None else t.detach().clone() for t in tensors)
            out = ours((x.requires_grad_(), *rest), relu=True)  # type: ignore[arg-type,union-attr]
            out.sum().backward()  # type: ignore[no-untyped-call]
            found.append((out.detach(), x.grad))  # type: ignore[union-attr]
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_small_variance_far_from_zero() -> None:
    """As near to the exact values and gradients as torch's own."""
    torch.manual_seed(0)
    x = (1000 + 0.01 * torch.randn(8, 16, 8, 8)).to(memory_format=torch.channels_last).requires_grad_()
    tensors = (x, None, torch.ones(16), torch.zeros(16), torch.zeros(16), torch.ones(16))
    grad = torch.randn(8, 16, 8, 8).to(memory_format=torch.channels_last)
    exact, others = theirs(tensors)
    exact.backward(grad.double())  # type: ignore[no-untyped-call]
    (own,) = torch.autograd.grad(ours(tensors, relu=False), x, grad)
    (torchs,) = torch.autograd.grad(F.batch_norm(x, None, None, *tensors[2:4], True), x, grad)
    torch.testing.assert_close(ours(tensors, relu=False).double(), exact.detach(), rtol=0, atol=0.02)
    right = others[0].grad
    assert right is not None
    assert (own - right).norm() <= 1.5 * (torchs - right).norm() + 1e-5 * right.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_a_number_stays_so(dtype: torch.dtype, wrong: float) -> None:
    tensors = case((4, 16, 4, 4), dtype, False)
    with torch.no_grad():
        tensors[0][2, 3, 1, 1] = wrong
        found = ours(tensors, relu=True)
    assert found[:, 3].isnan().all()
    assert tensors[4][3].isnan() or tensors[4][3].isinf()
    assert not found[:, :3].isnan().any()


@pytest.mark.parametrize("change", ["contiguous", "double", "half", "added", "affine"])
def test_other_tensors_go_to_torch(change: str) -> None:
    x, added, weight, bias, mean, var = (
        None if t is None else t.detach() for t in case((4, 16, 4, 4), torch.float32, True)
    )
    assert x is not None
    tensors: list[Any] = [x, added, weight, bias, mean, var]
    if change == "contiguous":
        tensors[0] = x.contiguous()
    elif change == "added":
        tensors[1] = x[:, :, :1, :1]
    elif change == "affine":
        tensors[2] = tensors[3] = None
    else:
        tensors = [t.to(getattr(torch, change)) for t in tensors]
    statistics = [t.clone() for t in tensors[4:]]
    expected = F.relu(F.batch_norm(tensors[0], *statistics, *tensors[2:4], True) + tensors[1])
    found = ours(tuple(tensors), relu=True)  # type: ignore[arg-type]
    assert found.dtype == tensors[0].dtype
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_one_value_a_channel_is_refused_as_by_torch() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        ours(case((1, 16, 1, 1), torch.float32, False), relu=False)


def test_second_derivative_is_refused() -> None:
    tensors = case((2, 16, 4, 4), torch.float32, False)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(ours(tensors, relu=True).square().sum(), tensors[0], create_graph=True)
