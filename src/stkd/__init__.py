"""stkd makes image classifiers small: it distils a large teacher into a compact student on virtual samples."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import data, losses, methods, mixing, models
    from .api import Result, cache_teacher, check, distill, distill_many, load, probe, train
    from .core.errors import StkdError
    from .data import open_data
    from .data.from_python import data_from
    from .evaluation import evaluate
    from .mixing import virtual_samples

__version__ = "0.2.0.dev0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent until a program configures logging

# Loaded when first used, so that importing the package costs next to nothing.
_HOMES = {
    "Result": "api",
    "StkdError": "core.errors",
    "cache_teacher": "api",
    "check": "api",
    "data_from": "data.from_python",
    "distill": "api",
    "distill_many": "api",
    "evaluate": "evaluation",
    "load": "api",
    "open_data": "data",
    "probe": "api",
    "train": "api",
    "virtual_samples": "mixing",
}
_MODULES = ("data", "losses", "methods", "mixing", "models")

__all__ = [
    "Result",
    "StkdError",
    "__version__",
    "cache_teacher",
    "check",
    "data",
    "data_from",
    "distill",
    "distill_many",
    "evaluate",
    "load",
    "losses",
    "methods",
    "mixing",
    "models",
    "open_data",
    "probe",
    "train",
    "virtual_samples",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
