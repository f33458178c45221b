"""How fast a machine distils: the real training step, part by part, beside a bare loop."""

from .measure import bench

__all__ = ["bench"]
