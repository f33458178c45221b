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
from .errors import StkdError, unknown
from .processes import Launch, launch_of
from .world import World, meet

__all__ = ["Fabric", "Logger", "Precision", "TensorBoardLogger", "make_fabric", "meet_others"]


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
    from lightning_fabric.plugins.environments import (  # type: ignore[attr-defined]
        ClusterEnvironment,
        LightningEnvironment,
        TorchElasticEnvironment,
    )
    from lightning_fabric.plugins.precision import DoublePrecision, Precision


class _Double(DoublePrecision):
    """Everything in float64, the logits too."""

    def convert_output(self, data: Any) -> Any:
        return data


_PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}

_STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")


def _loggers(config: RunConfig) -> list[Logger]:
    if not config.tensorboard:
        return []
    try:
        return [TensorBoardLogger(config.out.parent, config.out.name, version="tensorboard")]
    except ModuleNotFoundError:
        raise StkdError("--tensorboard needs the package tensorboard: pip install 'stkd[tensorboard]'") from None


def meet_others(config: RunConfig) -> World:
    """The processes of a run; those of `--devices` are started, once it is known that there are such devices.

    Raises:
        StkdError: There are not, the others do not come, or a launcher started processes that do not fit.
    """
    if config.strategy not in _STRATEGIES:
        raise unknown("strategy", config.strategy, _STRATEGIES)
    if (config.devices or 1) > 1 and launch_of(config.devices).size == 1:
        _fabric(config, Launch(size=config.devices or 1, local_size=config.devices or 1), LightningEnvironment())
    return meet(config.devices)


def make_fabric(config: RunConfig) -> Fabric:
    """A launched Fabric.

    Raises:
        StkdError: The machine has no such device, the precision or strategy is not possible on it, or a launcher
            started processes that do not fit.
    """
    launch = meet_others(config).launch
    fabric = _fabric(config, launch, LightningEnvironment() if launch.size == 1 else TorchElasticEnvironment())
    fabric.launch()
    return fabric


def _fabric(config: RunConfig, launch: Launch, environment: ClusterEnvironment) -> Fabric:
    """A Fabric that is not launched.

    Args:
        config: The options.
        launch: The place of this process.
        environment: How Fabric learns it.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    try:
        device = Fabric(accelerator=config.accelerator, devices=1, plugins=[LightningEnvironment()]).device
        precision = config.precision
        if precision == "auto":
            precision = plain_precision(device)
        if precision == "16" and device.type == "cpu":
            raise StkdError("precision 16 needs a GPU; on a CPU take bf16 or 32")
        strategy = "ddp" if launch.size > 1 and config.strategy == "auto" else config.strategy
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Fabric(
                accelerator=config.accelerator,
                devices=launch.local_size,
                num_nodes=launch.size // launch.local_size,
                strategy="auto" if launch.size == 1 else strategy,
                loggers=_loggers(config) if launch.rank == 0 else [],
                precision=None if precision == "64" else _PRECISION[precision],
                plugins=[environment, *([_Double()] if precision == "64" else [])],
            )
    except StkdError:
        raise
    except Exception as error:  # Fabric raises whatever its plugins do
        raise StkdError(
            f"cannot use accelerator={config.accelerator} devices={launch.size} strategy={config.strategy} "
            f"precision={config.precision} here: {' '.join(str(error).split())}"
        ) from None
