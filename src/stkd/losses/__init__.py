"""Losses: pure functions from tensors to a scalar, one file per paper.

This is the index of the public ones. A new loss works without a line here: import it from its own file.
"""

from __future__ import annotations

from .cross_entropy import cross_entropy
from .dkd import dkd
from .kd import kd
from .stkd import stkd

__all__ = ["cross_entropy", "dkd", "kd", "stkd"]
