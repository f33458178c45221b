"""Cross entropy with hard or mixed labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .labels import check_labels, soft_labels
from .logits import at_least_float32

__all__ = ["cross_entropy"]


def cross_entropy(
    logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    """Cross entropy, -sum_c y_c log softmax(z)_c, mean over the batch.

    Mixed labels: the sum above, which is the same mixture of the cross entropies of the hard labels.

    With class weights w it is -sum_c w_c y_c log softmax(z)_c, summed over the batch and divided by the batch's total
    weight sum_c w_c y_c. For hard labels that is torch's own weighted mean, smoothing included; mixed labels, which
    torch divides by the number of rows, are treated alike here, so that a one-hot label is the same as a hard one. A
    row whose label sums to less than one, since some of its images have none, counts by that sum.

    Args:
        logits: (B, C).
        labels: (B,) int64 or (B, C).
        label_smoothing: Share of the label spread evenly over all classes, in [0, 1].
        class_weights: (C,), positive; None weighs all classes alike.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # (B, C)
        >>> mixed = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.6, 0.4]])
        >>> round(cross_entropy(logits, torch.tensor([0, 1])).item(), 3)
        0.48
        >>> round(cross_entropy(logits, mixed).item(), 3)
        0.83

    Source: Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7 (smoothing);
    Zhang et al., mixup, ICLR 2018 (mixed labels).
    """
    check_labels(labels, logits)
    logits = at_least_float32(logits)
    labels = labels.to(logits.dtype) if labels.is_floating_point() else labels.long()
    if class_weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    soft, weights = soft_labels(labels, logits), class_weights.to(logits.dtype)
    smooth = (1 - label_smoothing) * soft + label_smoothing / soft.shape[1] * soft.sum(1, keepdim=True)
    total = F.cross_entropy(logits, smooth, weight=weights, reduction="sum")
    return total / (soft @ weights).sum().clamp_min(torch.finfo(logits.dtype).tiny)  # no label at all: 0
