"""A model's classifier, put in the place of the one that it has."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.errors import StkdError
from .taps import POOLED, Taps, classifier

__all__ = ["head_names", "set_head"]


def head_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the weights of a model's classifier in its state dict; none where it has no linear one."""
    try:
        head = classifier(model)
    except StkdError:
        return ()
    name = next(name for name, module in model.named_modules() if module is head)
    return tuple(f"{name}.{kind}" if name else kind for kind in head.state_dict())


def set_head(model: nn.Module, weight: Tensor, bias: Tensor, sample: Tensor) -> None:
    """Give a model a new classifier, in place; the rest of it stays as it is.

    Args:
        model: Any module whose logits are those of its last linear layer.
        weight: (C, D).
        bias: (C,).
        sample: Images (B, ...) as the model takes them, on its device, to see that its logits are the classifier's.

    Raises:
        StkdError: The model has no linear classifier of D features, or does more with what that answers.
    """
    old = classifier(model)
    if old.in_features != weight.shape[1]:
        raise StkdError(
            f"{type(model).__name__} has {old.in_features} features before its classifier, not {weight.shape[1]}"
        )
    name = next(name for name, module in model.named_modules() if module is old)
    new = nn.Linear(weight.shape[1], len(weight), device=old.weight.device, dtype=old.weight.dtype)
    with torch.no_grad():
        new.weight.copy_(weight)
        new.bias.copy_(bias)
    model.set_submodule(name, new)
    if isinstance(getattr(model, "num_classes", None), int):
        model.num_classes = len(weight)  # type: ignore[assignment]
    mode = model.training
    with Taps(model, [POOLED]) as taps, torch.no_grad():
        logits = model.eval()(sample)
        same = isinstance(logits, Tensor) and torch.allclose(logits, new(taps.take()[POOLED]), rtol=1e-4, atol=1e-4)
    model.train(mode)
    if not same:
        raise StkdError(
            f"the answers of {type(model).__name__} are not those of its last linear layer, so that it cannot be given "
            "a new head; take a model whose classifier comes last"
        )
