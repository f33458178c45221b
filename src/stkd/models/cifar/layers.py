"""Convolutions and the initialisation that the CIFAR networks share."""

from __future__ import annotations

from torch import nn

__all__ = ["conv1x1", "conv3x3", "init_fan_out"]


def conv3x3(in_planes: int, planes: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """3x3 convolution without bias that keeps the size, or divides it by `stride`."""
    return nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, groups=groups, bias=False)


def conv1x1(in_planes: int, planes: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """1x1 convolution without bias."""
    return nn.Conv2d(in_planes, planes, 1, stride=stride, groups=groups, bias=False)


def init_fan_out(model: nn.Module, linear_std: float | None = None) -> None:
    """Initialise a network for ReLU: He normal over fan-out for convolutions, zero biases, batch norm at the identity.

    Args:
        model: The network, changed in place.
        linear_std: Standard deviation of linear weights; None keeps torch's default for linear layers.

    Source: He et al., Delving deep into rectifiers, ICCV 2015, equation 14.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear) and linear_std is not None:
            nn.init.normal_(module.weight, std=linear_std)
            nn.init.zeros_(module.bias)
