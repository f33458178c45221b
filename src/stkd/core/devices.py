"""Devices: Fabric for the one that a run asks for, and what is fast on it."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch

from .config import RunConfig
from .errors import StkdError
from .fabric import Fabric, Logger, TensorBoardLogger
from .processes import check_launch

__all__ = ["best_device", "fast_bfloat16", "make_fabric"]

_PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bf16 arithmetic is faster than float32 on a device, rather than merely emulated."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False


def best_device() -> torch.device:
    """A CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
