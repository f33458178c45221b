"""CTKD: a temperature that is learned against the student, harder from epoch to epoch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["LearnedTemperature", "ctkd_strength"]


def ctkd_strength(epoch: float, epochs: int = 10) -> float:
    """How strongly the temperature works against the student: from 0 to 1 along half a cosine, then 1.

    Args:
        epoch: Epochs done, from 0.
        epochs: Length of the rise.

    Returns:
        lambda in [0, 1], for `LearnedTemperature`.

    Example:
        >>> ctkd_strength(0)
        0.0
        >>> ctkd_strength(20)
        1.0

    Source: Li et al., Curriculum Temperature for Knowledge Distillation, AAAI 2023 (cosine schedule).
    """
    return (1 - math.cos(math.pi * min(epoch / epochs, 1.0))) / 2


class LearnedTemperature(nn.Module):
    """CTKD's global temperature, low + span sigmoid(theta), with the gradient reversed.

    The student's loss is lowered by gradient descent on the student and raised by the same step on theta.

    Args:
        low: Smallest temperature.
        span: The largest temperature less the smallest.

    Source: Li et al., Curriculum Temperature for Knowledge Distillation, AAAI 2023 (Global-T).
    """

    def __init__(self, low: float = 1.0, span: float = 20.0) -> None:
        super().__init__()
        self.low = low
        self.span = span
        self.theta = nn.Parameter(torch.ones(()))

    def forward(self, strength: float | Tensor) -> Tensor:
        """The temperature, a scalar tensor to pass on as `temperature=`.

        Args:
            strength: lambda >= 0; theta receives -lambda times its gradient (see `ctkd_strength`).
        """
        theta = (1 + strength) * self.theta.detach() - strength * self.theta
        return self.low + self.span * theta.sigmoid()
