"""The normalisation that a config gives its teacher."""

from __future__ import annotations

from ..core.config import DistillConfig
from ..core.errors import StkdError
from ..models.normalisations import normalisation

__all__ = ["normalisation_of"]


def normalisation_of(config: DistillConfig) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and standard deviation that a config gives its teacher, None where it gives none.

    Raises:
        StkdError: The name is unknown, or numbers are given too.
    """
    if config.teacher_norm is None:
        return config.teacher_mean, config.teacher_std
    if config.teacher_mean is not None or config.teacher_std is not None:
        raise StkdError("--teacher-norm names a mean and a standard deviation; leave out --teacher-mean, --teacher-std")
    return normalisation(config.teacher_norm)
