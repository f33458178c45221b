"""Lightning Fabric, imported without torchmetrics.

To look up the version of torchmetrics, Fabric imports it, and with it matplotlib, scipy and torchvision's models. That
takes a second or two at each start, and training needs none of it.
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
    """Context in which a package that is not imported yet stands for a module with its version alone."""
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
