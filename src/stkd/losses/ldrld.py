"""LDRLD: dense relations among the classes that the student ranks first."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .logits import soften
from .stkd import kl_split

__all__ = ["ldrld"]


def ldrld(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    alpha: float = 10.5,
    beta: float = 7.0,
    top: int = 7,
    temperature: float = 4.0,
) -> Tensor:
    """LDRLD, T^2 (alpha local + beta rest), mean over the batch.

    With r_1 .. r_k the k classes that the student ranks first, local is the mean over all pairs and the k-tuple of
    Omega(a, b) KL over {r_a, r_b}, the tuple's KL with weight 1; Omega(a, b) = 2 exp(-0.05 (a + b)) / (1.5 + |a - b|).
    Rest is the KL among all other classes.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        alpha: Weight of the local part.
        beta: Weight of the rest.
        top: k; all classes where there are fewer.
        temperature: T > 0.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # (B, C)
        >>> teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
        >>> round(ldrld(student, teacher, top=2).item(), 3)
        1.061

    Source: Xu et al., Local Dense Logit Relations for Enhanced Knowledge Distillation, ICCV 2025; the mean in place of
    the sum is the authors' code's.
    """
    student, teacher = soften(student_logits, teacher_logits, temperature)
    k = min(top, student.shape[1])
    first = student.detach().topk(k, dim=1).indices
    s, t = student.gather(1, first), teacher.gather(1, first)
    a, b = torch.triu_indices(k, k, offset=1, device=s.device)
    omega = 2 * torch.exp(-0.05 * (a + b + 2).to(s.dtype)) / (1.5 + (b - a))
    pairs = (omega * _pair_kl(s[:, a] - s[:, b], t[:, a] - t[:, b])).sum(1)
    tuples = F.kl_div(s.log_softmax(1), t.log_softmax(1), reduction="none", log_target=True).sum(1)
    local = (pairs + tuples) / (len(a) + 1)
    inside = torch.zeros_like(student, dtype=torch.bool).scatter(1, first, True)
    _, rest, _ = kl_split(student, teacher, inside)
    loss: Tensor = temperature**2 * (alpha * local + beta * rest).mean()
    return loss


def _pair_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL over two classes, of the differences of their logits."""
    kl: Tensor = teacher.sigmoid() * (F.logsigmoid(teacher) - F.logsigmoid(student))
    kl = kl + (-teacher).sigmoid() * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return kl
