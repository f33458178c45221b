"""Weights of a compiled backbone have `_orig_mod.` inside their names, and those of a wrapper `net.` before them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from stkd.models import create, load


class Wrapper(nn.Module):
    """As people wrap a network for training."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net


def test_a_compiled_part(tmp_path: Path) -> None:
    source, target = create("resnet8", num_classes=4), create("resnet8", num_classes=4)
    wanted = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    source.layer1 = torch.compile(source.layer1)
    state = source.state_dict()
    assert any("layer1._orig_mod.0" in name for name in state)
    torch.save(state, tmp_path / "x.pth")
    load(target, tmp_path / "x.pth")
    torch.testing.assert_close(dict(target.state_dict()), wanted)


@pytest.mark.parametrize("wrappers", [1, 2])
def test_a_wrapped_and_compiled_model(wrappers: int, tmp_path: Path) -> None:
    source, target = create("resnet8", num_classes=4), create("resnet8", num_classes=4)
    wrapped: nn.Module = source
    for _ in range(wrappers):
        wrapped = Wrapper(wrapped)
    torch.save({"model": torch.compile(nn.Sequential(wrapped)).state_dict()}, tmp_path / "x.pth")  # type: ignore[attr-defined]
    load(target, tmp_path / "x.pth")
    torch.testing.assert_close(target.state_dict(), source.state_dict())
