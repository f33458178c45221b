"""Fabric for the device, precision and processes that a run asks for."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from ..training.bfloat16 import BFloat16
from .config import RunConfig
from .errors import StkdError
from .fabric import Fabric, Logger, TensorBoardLogger
from .precision import fast_bfloat16
from .processes import check_launch

__all__ = ["make_fabric"]

_PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


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
            precision = "bf16" if fast_bfloat16(device) else "32"
        if precision == "16" and device.type == "cpu":
            raise StkdError("precision 16 needs a GPU; on a CPU take bf16 or 32")
        own = precision == "bf16" and device.type == "cpu" and config.devices == 1
        arithmetic = {"plugins": BFloat16()} if own else {"precision": _PRECISION[precision]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fabric = Fabric(
                accelerator=config.accelerator,
                devices=config.devices,
                strategy=config.strategy,
                loggers=_loggers(config),
                **arithmetic,
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
