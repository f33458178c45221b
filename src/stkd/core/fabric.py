"""Lightning Fabric for the device that a run asks for, imported without torchmetrics.

To look up the version of torchmetrics, Fabric imports it, and with it matplotlib, scipy and torchvision's models. That
takes a second or two at each start, and training needs none of it.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from types import ModuleType
from typing import Any

from .config import RunConfig
from .devices import plain_precision
from .errors import StkdError
from .processes import check_launch

__all__ = ["Fabric", "Logger", "Precision", "TensorBoardLogger", "make_fabric"]

_PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


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


def _loggers(config: RunConfig) -> list[Logger]:
    if not config.tensorboard:
        return []
    try:
        return [TensorBoardLogger(config.out.parent, config.out.name, version="tensorboard")]
    except ModuleNotFoundError:
        raise StkdError("--tensorboard needs the package tensorboard: pip install 'stkd[tensorboard]'") from None


def make_fabric(config: RunConfig) -> Fabric:
    """A launched Fabric.

    Raises:
        StkdError: The machine has no such device, the precision or strategy is not possible on it, or a launcher
            started processes that do not fit.
    """
    check_launch(config.devices)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    try:
        device = Fabric(accelerator=config.accelerator, devices=1).device
        precision = config.precision
        if precision == "auto":
            precision = plain_precision(device)
        if precision == "16" and device.type == "cpu":
            raise StkdError("precision 16 needs a GPU; on a CPU take bf16 or 32")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fabric = Fabric(
                accelerator=config.accelerator,
                devices=config.devices,
                strategy=config.strategy,
                loggers=_loggers(config),
                precision=_PRECISION[precision],
            )
    except StkdError:
        raise
    except Exception as error:  # Fabric raises whatever its plugins do
        raise StkdError(
            f"cannot use accelerator={config.accelerator} devices={config.devices} strategy={config.strategy} "
            f"precision={config.precision} here: {' '.join(str(error).split())}"
        ) from None
    fabric.launch()
    return fabric
