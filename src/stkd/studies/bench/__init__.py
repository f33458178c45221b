"""How fast a machine distils: the real training step, part by part, beside a bare loop."""

from .measure import bench
from .result import BenchResult

__all__ = ["BenchResult", "bench"]
