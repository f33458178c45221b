from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stkd import mixing as blending
from stkd.mixing import blend


def parts(batch: int, k: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    index = torch.stack([torch.randperm(batch, generator=generator) for _ in range(k)], dim=1)
    lam = torch.rand(batch, k, generator=generator)
    return index, lam / lam.sum(1, keepdim=True)


def pixels(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@given(st.integers(1, 20), st.integers(1, 4), st.sampled_from([1, 50, 1 << 18]), st.booleans(), st.integers(0, 99))
def test_is_the_weighted_sum(batch: int, k: int, block: int, whole: bool, seed: int) -> None:
    """Whatever the size of the blocks."""
    images = pixels(batch, 5, 6) if whole else torch.randn(batch, 5, 6)
    index, lam = parts(batch, k, seed)
    scale, shift = torch.rand(6), torch.randn(6)
    expected = (lam[:, :, None, None].double() * images[index].double()).sum(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blending, "_BLOCK", block)
        plain, mapped = blend(images, index, lam), blend(images, index, lam, (scale, shift))
    assert plain.dtype == torch.float32
    torch.testing.assert_close(plain.double(), expected, atol=2e-4, rtol=1e-5)
    torch.testing.assert_close(mapped.double(), expected * scale + shift, atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_given_memory_changes_nothing(k: int) -> None:
    images, (index, lam) = pixels(9, 4, 12), parts(9, k, 0)
    out = torch.full((9, 4, 12), torch.nan)
    found = blend(images, index, lam, out=out)
    assert found.data_ptr() == out.data_ptr()
    assert torch.equal(found, blend(images, index, lam))


@pytest.mark.parametrize("k", [2, 3])
def test_weight_one_is_the_image_itself(k: int) -> None:
    images, (index, _) = torch.randn(6, 7), parts(6, k, 1)
    assert torch.equal(blend(images, index, torch.eye(k)[0].expand(6, k)), images[index[:, 0]])


def test_gradients_reach_the_images() -> None:
    images, (index, lam) = torch.randn(4, 3, dtype=torch.float64, requires_grad=True), parts(4, 3, 2)
    assert torch.autograd.gradcheck(lambda x: blend(x, index, lam.double()), images)


def test_order_of_memory_is_kept() -> None:
    images, (index, lam) = torch.randn(4, 3, 5, 6), parts(4, 2, 3)
    last = images.contiguous(memory_format=torch.channels_last)
    assert blend(images, index, lam).is_contiguous()
    assert blend(last, index, lam).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(blend(images, index, lam), blend(last, index, lam))
