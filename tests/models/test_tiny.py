from __future__ import annotations

import pytest
import torch

from stkd.models import create, stages


@pytest.mark.parametrize("size", [8, 28])
def test_widths_double_and_maps_halve(size: int) -> None:
    model = create("cnn4", num_classes=10, in_channels=1, image_size=size).eval()
    assert [model.get_submodule(name)[0].out_channels for name in stages(model, torch.randn(1, 1, size, size))] == [
        4,
        8,
        16,
    ]
    assert model(torch.randn(3, 1, size, size)).shape == (3, 10)


def test_wider_is_larger() -> None:
    sizes = [
        sum(p.numel() for p in create(f"cnn{width}", num_classes=10, in_channels=1).parameters())
        for width in (2, 4, 8, 16, 32)
    ]
    assert sizes == sorted(set(sizes))
    assert sizes[0] < 2000
