"""What is trained at first and how fast: the classifier before the rest, late layers faster than early ones."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..core.errors import StkdError
from ..models.heads import head_names

__all__ = ["Backbone", "layered"]


class Backbone:
    """The part of a model before its classifier, which can be frozen.

    Args:
        model: On its device; parameters that are frozen already stay so.

    Raises:
        StkdError: The model has no linear classifier.
    """

    def __init__(self, model: nn.Module) -> None:
        head = head_names(model)
        if not head:
            raise StkdError(f"--freeze trains a classifier alone first, and {type(model).__name__} has no linear one")
        self._model = model
        self._trained = [p for name, p in model.named_parameters() if name not in head and p.requires_grad]

    def freeze(self, frozen: bool) -> None:
        """Freeze it, with its statistics and without dropout, or let it be trained."""
        for parameter in self._trained:
            parameter.requires_grad_(not frozen)
        if frozen:
            self._model.eval()


def layered(
    model: nn.Module, extras: nn.Module | None, lr: float, weight_decay: float, decay: float
) -> list[dict[str, Any]]:
    """Groups of parameters whose learning rate falls by a factor from each layer to the one before it.

    Biases and norms have no weight decay.

    Args:
        model: A model of timm, which says what its layers are.
        extras: What is trained beside it, at the full learning rate.
        lr: Peak learning rate of the last layer.
        weight_decay: Of the others.
        decay: The factor.

    Raises:
        StkdError: The model is not timm's.

    Source: Clark et al., ELECTRA, ICLR 2020; Bao et al., BEiT, ICLR 2022.
    """
    from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]

    if not hasattr(model, "group_matcher"):
        raise StkdError(f"--layer-decay is for models of timm, and {type(model).__name__} is none; leave it out")
    no_decay: Any = getattr(model, "no_weight_decay", tuple)
    found = param_groups_layer_decay(model, weight_decay, no_weight_decay_list=no_decay(), layer_decay=decay)
    groups = [
        {"params": group["params"], "weight_decay": group["weight_decay"], "lr": lr * group["lr_scale"]}
        for group in found
    ]
    beside = [] if extras is None else list(extras.parameters())
    return [*groups, {"params": beside, "weight_decay": weight_decay, "lr": lr}] if beside else groups
