"""SKD: the direction of the errors in the similarities between the samples of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .logits import soften

__all__ = ["skd_direction"]


def skd_direction(
    student_logits: Tensor, teacher_logits: Tensor, *, ridge: float = 0.1, divide_by_classes: bool = True
) -> Tensor:
    """Mahalanobis length of the errors of the cosine similarities between samples, mean over the batch.

    With u the logits divided by their lengths and D = (u_s u_s^T - u_t u_t^T) / C (B x B), it is the mean over the rows
    of sqrt(D_i S^-1 D_i^T), S the covariance of the rows plus ridge times the identity.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        ridge: Added to the diagonal of the covariance.
        divide_by_classes: Divide the similarities by C, as the authors' code does and their paper does not. Divided, S
            is the ridge all but for 26 %; undivided, a ridge below the covariance makes the loss almost blind to size.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # (B, C)
        >>> teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
        >>> round(skd_direction(student, teacher).item(), 3)
        0.172

    Source: Jeong et al., Streamlined Knowledge Distillation, CVPR 2026 (L_dir).
    """
    student, teacher = (F.normalize(logits) for logits in soften(student_logits, teacher_logits))
    errors = student @ student.T - teacher @ teacher.T
    if divide_by_classes:
        errors = errors / student.shape[1]
    rows = len(errors)
    centred = errors - errors.mean(0)
    covariance = centred.T @ centred / max(1, rows - 1)
    covariance = covariance + ridge * torch.eye(rows, dtype=errors.dtype, device=errors.device)
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), errors.T, upper=False)
    squares = whitened.square().sum(0)
    # the root has no slope at zero, where student and teacher agree
    return torch.where(squares > 0, squares, 1).sqrt().where(squares > 0, 0).mean()
