"""Features from inside any module, by hooks: which places there are, and collecting what passes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..core.errors import StkdError, unknown
from .stages import automatic_stages

__all__ = ["POOLED", "Taps", "classifier", "norm_before", "stages"]

POOLED = "pooled"
"""Name of the tap before the classifier: the pooled features (B, D)."""

INPUT = ":input"


class Taps:
    """Collects the features that pass named places of a model whenever it runs.

    A name is that of a submodule (`"layer2"`, its output), the same with `":input"` (`"layer2.0.relu2:input"`), or
    `"pooled"`, the input of the classifier. The features stay in the autograd graph. They are held until `take` hands
    them over or the taps are closed, never longer; where a submodule runs twice, the last time counts.

    Example:
        >>> with Taps(model, ["layer1", "pooled"]) as taps:
        ...     logits = model(images)
        ...     features = taps.take()

    To be compiled in, taps must be set before the first run of a compiled model.

    Args:
        model: The module to tap, itself and not a wrapper around it.
        names: Where, in any order.

    Raises:
        StkdError: There is no such submodule; names the nearest.
    """

    def __init__(self, model: nn.Module, names: Iterable[str]) -> None:
        self.names = tuple(dict.fromkeys(names))
        self._features: dict[str, Tensor] = {}
        places = [(name, *_place(model, name)) for name in self.names]
        self._handles: list[RemovableHandle] = [
            module.register_forward_pre_hook(self._before(name), with_kwargs=True)
            if before
            else module.register_forward_hook(self._after(name))
            for name, module, before in places
        ]

    def take(self) -> dict[str, Tensor]:
        """The features of the last run, in the order of `names`; the taps forget them.

        Raises:
            StkdError: A place was not passed since the last time.
        """
        features, missed = {}, []
        for name in self.names:
            if name in self._features:
                features[name] = self._features[name]
            else:
                missed.append(name)
        self._features.clear()
        if missed:
            raise StkdError(f"no features at {', '.join(missed)}: the model did not run there; choose another place")
        return features

    def close(self) -> None:
        """Remove the hooks and forget the features."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._features.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _after(self, name: str) -> Callable[..., None]:
        features = self._features

        def hook(module: nn.Module, args: Any, output: Any) -> None:
            features[name] = _tensor(name, output)

        return hook

    def _before(self, name: str) -> Callable[..., None]:
        features = self._features

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            features[name] = _tensor(name, args[0] if args else next(iter(kwargs.values()), None))

        return hook


def stages(model: nn.Module, sample: Tensor, *, preact: bool = False) -> list[str]:
    """Names of taps at the end of each stage of a model, from shallow to deep, without the pooled features.

    A model may declare them in its attributes `feature_taps` and `preact_taps`, as ours do. For others the last
    submodule of each resolution is found by running `sample`.

    Args:
        model: Any module; neither its weights nor its statistics nor its mode are changed.
        sample: Images (B, C, H, W) on the model's device.
        preact: Ask for the features before the last activation of a stage.

    Raises:
        StkdError: No features of a spatial size were found, or pre-activation ones are not declared.
    """
    declared = getattr(model, "preact_taps" if preact else "feature_taps", None)
    if declared is not None:
        return list(declared)
    if preact:
        raise StkdError(
            f"{type(model).__name__} declares no preact_taps; use a model of ours or name the taps yourself"
        )
    names = automatic_stages(model, sample)
    if not names:
        raise StkdError(f"{type(model).__name__} has no submodule with spatial features; name the taps yourself")
    return names


def norm_before(model: nn.Module, tap: str) -> nn.BatchNorm2d | None:
    """The batch norm whose output the features of a tap are, or are a sum with; None where there is none.

    Args:
        model: A model that declares its `preact_taps`, whose submodules are in the order in which they run.
        tap: One of them.
    """
    module, before = _place(model, tap)
    if before:
        row = list(model.get_submodule(tap.removesuffix(INPUT).rpartition(".")[0]).children())
        earlier = row[: next(i for i, child in enumerate(row) if child is module)]
    else:
        earlier = [module]
    norms = [m for child in earlier for m in child.modules() if isinstance(m, nn.BatchNorm2d) and m.affine]
    return norms[-1] if norms else None


def classifier(model: nn.Module) -> nn.Linear:
    """The linear layer that gives the logits: what `get_classifier` names (timm), else the last linear layer.

    Raises:
        StkdError: The model has no linear layer.
    """
    if callable(get := getattr(model, "get_classifier", None)) and isinstance(head := get(), nn.Linear):
        return head
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise StkdError(f"{type(model).__name__} has no linear layer, so that its classifier is not known")
    return linears[-1]


def _place(model: nn.Module, name: str) -> tuple[nn.Module, bool]:
    """The submodule that a tap's name stands for, and whether its input is meant."""
    modules = dict(model.named_modules())
    if name in modules and name:
        return modules[name], False
    if name == POOLED:
        return classifier(model), True
    path = name.removesuffix(INPUT)
    if path not in modules or not path:
        raise unknown(f"submodule of {type(model).__name__}", path, [POOLED, *filter(None, modules)])
    return modules[path], True


def _tensor(name: str, value: Any) -> Tensor:
    if not isinstance(value, torch.Tensor):
        raise StkdError(f"what passes {name!r} is a {type(value).__name__}, not a tensor; choose another place")
    return value
