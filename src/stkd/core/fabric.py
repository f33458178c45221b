"""Lightning Fabric, imported without torchmetrics.

Fabric looks up torchmetrics' version by importing it whole, with matplotlib, scipy and torchvision's models: a second
or two at each start, for nothing that training needs.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib.metadata import version
from types import ModuleType

__all__ = ["Fabric", "Logger", "Precision", "TensorBoardLogger"]


@contextlib.contextmanager
def _version_alone(package: str) -> Iterator[None]:
    """While this lasts, importing a package gives a module that has its version and nothing else."""
    if package in sys.modules:
        yield
        return
    stub = ModuleType(package)
    stub.__dict__["__version__"] = version(package)
    sys.modules[package] = stub
    try:
        yield
    finally:
        del sys.modules[package]


with _version_alone("torchmetrics"):
    from lightning_fabric import Fabric
    from lightning_fabric.loggers.logger import Logger
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger
    from lightning_fabric.plugins.precision import Precision
