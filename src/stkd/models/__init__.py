"""Teachers and students: the CIFAR zoo of the literature, tiny networks for demos, timm and torchvision by name."""

from __future__ import annotations

from .registry import create, default_lr, models, recorded_name
from .taps import POOLED, Taps, classifier, stages
from .weights import load, read_state, save

__all__ = [
    "POOLED",
    "Taps",
    "classifier",
    "create",
    "default_lr",
    "load",
    "models",
    "read_state",
    "recorded_name",
    "save",
    "stages",
]
