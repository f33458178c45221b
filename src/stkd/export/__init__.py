"""A run's model as a file for other runtimes: one file a format, checked against the model before it is kept.

A format says how its file is written and run. What a file has to say of itself, whether it answers as the model does,
and how fast it is, is the same for all formats and lies beside them.
"""

from __future__ import annotations

from .answers import evaluate_exported, predict_exported
from .exporting import Exported, export_run
from .format import exporters
from .opening import is_exported, open_exported

__all__ = [
    "Exported",
    "evaluate_exported",
    "export_run",
    "exporters",
    "is_exported",
    "open_exported",
    "predict_exported",
]
