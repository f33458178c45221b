"""Sources of logits: a live model, an ensemble, a cache on disk, engines. Nothing here trains or knows of runs."""

from .base import Teacher
from .ensemble import Ensemble
from .live import LiveTeacher

__all__ = ["Ensemble", "LiveTeacher", "Teacher"]
