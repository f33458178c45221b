"""STKD: semantic similarity transferred on virtual samples of several instances, plain or decoupled."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..core.errors import StkdError
from .kd import kd
from .labels import soft_labels
from .logits import soften

__all__ = ["kl_split", "stkd"]


def kl_split(student: Tensor, teacher: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two parts of KL(softmax(teacher) || softmax(student)), which is cells + p_rest * among_rest exactly.

    Args:
        student: Softened logits (B, C).
        teacher: Softened logits (B, C).
        target: Bool (B, C), true at the classes of the label.

    Returns:
        cells (B,): KL over the cells {each target class, all the rest as one};
        among_rest (B,): KL among the rest, 0 where every class is a target;
        p_rest (B,): the teacher's probability of the rest.
    """
    no_rest = target.all(1)
    # A row without rest stays unmasked, since a softmax over nothing would give NaN; its parts become 0 below.
    hidden = target & ~no_rest.unsqueeze(1)

    def logs(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        log_p = logits.log_softmax(1)
        log_rest = log_p.masked_fill(hidden, -float("inf")).logsumexp(1).masked_fill(no_rest, 0.0)
        among = logits.masked_fill(hidden, -float("inf")).log_softmax(1)
        # Cells left out hold 0 for both sides, hence add exp(0) (0 - 0) = 0 to a KL.
        return log_p.masked_fill(~target, 0.0), log_rest, among.masked_fill(target, 0.0)

    s_target, s_rest, s_among = logs(student)
    t_target, t_rest, t_among = logs(teacher)
    cells = _kl(s_target, t_target).sum(1) + _kl(s_rest, t_rest)
    return cells, _kl(s_among, t_among).sum(1), t_rest.exp().masked_fill(no_rest, 0.0)


def _kl(log_s: Tensor, log_t: Tensor) -> Tensor:
    return F.kl_div(log_s, log_t, reduction="none", log_target=True)


def stkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float | Tensor = 4.0,
    beta: float | Tensor | None = None,
    target_weight: float = 1.0,
    standardize: bool = False,
) -> Tensor:
    """STKD on the predictions of virtual samples, T^2 KL(teacher || student), mean over the batch.

    The KL splits into the cells {each class with label > 0, rest} and p_t(rest) times the KL among the rest.
    Plain (`beta` None) is the sum of both, Hinton's KD. Decoupled puts a weight in place of p_t(rest):
    T^2 (target_weight * KL of the cells + beta * KL among the rest). One instance makes it DKD.

    Mixed labels: every class with a positive label is a cell of its own; the size of its label plays no part here.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        labels: (B,) int64 or (B, C), mixed over the instances; only the decoupled form needs them.
        temperature: T > 0; a tensor when it is learned.
        beta: Weight of the KL among the rest, one number or one per sample (B,); None for the plain form.
        target_weight: Weight of the KL of the cells in the decoupled form (alpha in DKD).
        standardize: Z-score each row of logits first.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit, or the decoupled form has no labels.

    Example:
        >>> import torch
        >>> student = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # (B, C)
        >>> teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
        >>> labels = torch.tensor([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0]])  # mixed
        >>> round(stkd(student, teacher).item(), 3)
        0.111
        >>> round(stkd(student, teacher, labels, beta=2.0).item(), 3)
        0.199

    Source: Zhao et al., Multi-instance semantic similarity transferring for knowledge distillation,
    Knowledge-Based Systems 256, 2022, 109832. The decoupled form for several instances is ours.
    """
    if beta is None:
        return kd(student_logits, teacher_logits, temperature=temperature, standardize=standardize)
    if labels is None:
        raise StkdError("decoupled STKD needs labels; pass labels, or leave beta out for the plain form")
    student, teacher = soften(student_logits, teacher_logits, temperature, standardize)
    cells, among_rest, _ = kl_split(student, teacher, soft_labels(labels, student) > 0)
    return temperature**2 * (target_weight * cells + beta * among_rest).mean()
