"""The stages of a model that declares none, from one run with hooks.

The resolution of features is the number of their places: H times W of a map, or the number of tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["automatic_stages"]

PARTS_OF_ISOTROPIC = 4
"""Number of taps in a model that keeps one resolution throughout."""

POOLED_AWAY = 1
"""Resolution where nothing spatial is left."""


def automatic_stages(model: nn.Module, sample: Tensor) -> list[str]:
    """Names of the last submodule at each resolution, from shallow to deep; empty if no features are spatial.

    Pooled maps of 1x1 are no stage. A block that halves the resolution belongs to the new one as a whole, so what it
    computes before halving does not count. In a model of one resolution (vision transformers) the ends of the quarters
    of its longest row of blocks are taken instead.

    Args:
        model: Any module.
        sample: Images (B, C, H, W).
    """
    trace = _trace(model, sample)
    modules = dict(model.named_modules())
    ends_at = dict(trace)
    inside: dict[str, set[int]] = {name: {resolution} for name, resolution in trace}
    for name, resolution in trace:
        for ancestor in _ancestors(name):
            inside.setdefault(ancestor, set()).update({resolution} - {POOLED_AWAY})

    def is_main(name: str, resolution: int) -> bool:
        """Whether no block around the submodule ends at another resolution than it."""
        return all(
            _spans_stages(modules[ancestor], inside[ancestor]) or ends_at.get(ancestor, resolution) == resolution
            for ancestor in _ancestors(name)
        )

    stages: dict[int, str] = {}
    for name, resolution in trace:
        if resolution != POOLED_AWAY and is_main(name, resolution):
            stages.pop(resolution, None)  # so that the order is that of the last ones
            stages[resolution] = name
    blocks = _longest_row(modules, ends_at)
    # Class tokens make the number of tokens differ a little from that of the patches.
    if len(blocks) >= PARTS_OF_ISOTROPIC and max(stages, default=0) < 2 * min(stages, default=0):
        return [blocks[len(blocks) * part // PARTS_OF_ISOTROPIC - 1] for part in range(1, PARTS_OF_ISOTROPIC + 1)]
    return list(stages.values())


def _trace(model: nn.Module, sample: Tensor) -> list[tuple[str, int]]:
    """Every submodule that gives features and their resolution, in the order in which the submodules finish."""
    trace: list[tuple[str, int]] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and 2 <= output.dim() <= 4:
                trace.append((name, _resolution(output)))

        return hook

    modes = {module: module.training for module in model.modules()}
    handles = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        model.eval()
        with torch.no_grad():
            model(sample)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return trace


def _resolution(features: Tensor) -> int:
    """Number of places of maps (B, C, H, W) or (B, H, W, C), of tokens (B, N, C) and of pooled features (B, C)."""
    shape = features.shape
    if features.dim() == 2:
        return POOLED_AWAY
    if features.dim() == 3:
        return shape[1]
    channels_last = shape[1] == shape[2] != shape[3]
    return shape[1] * shape[2] if channels_last else shape[2] * shape[3]


def _ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _spans_stages(module: nn.Module, resolutions: set[int]) -> bool:
    """Whether a module is a row of stages or a whole backbone and not a single block, which halves once at most."""
    return type(module) in (nn.Sequential, nn.ModuleList) or len(resolutions) > 2


def _longest_row(modules: dict[str, nn.Module], resolutions: dict[str, int]) -> list[str]:
    """Children of the longest container whose children all end at one resolution."""
    longest: list[str] = []
    for name, module in modules.items():
        if isinstance(module, (nn.Sequential, nn.ModuleList)):
            row = [f"{name}.{child}" if name else child for child, _ in module.named_children()]
            seen = {resolutions.get(child) for child in row}
            if len(row) > len(longest) and len(seen) == 1 and seen.isdisjoint({None, POOLED_AWAY}):
                longest = row
    return longest
