"""Sums over an epoch, kept on the device so that a step never waits for the host."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["Meter"]


class Meter:
    """Losses, hits and the first step whose loss was not finite.

    Args:
        device: Where the sums live.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.reset()

    def reset(self) -> None:
        """Start an epoch."""
        self.sums: dict[str, Tensor] = {}
        self.hits = torch.zeros((), device=self.device)
        self.labelled = torch.zeros((), device=self.device)
        self.rows = 0
        self.steps = 0
        self._teacher = torch.zeros((), device=self.device)
        self.first_bad = torch.full((), -1, dtype=torch.int64, device=self.device)
        self._step = torch.zeros((), dtype=torch.int64, device=self.device)

    def add(
        self, losses: dict[str, Tensor], total: Tensor, logits: Tensor, targets: Tensor, taught: Tensor | None = None
    ) -> None:
        """Add a step's values, on the device alone and in place; `count` counts it.

        Args:
            losses: Named losses.
            total: Their sum.
            logits: (R, C).
            targets: (R, C); a row is a hit when its likeliest class is predicted, and none where it has no label.
            taught: (R, C), the teacher's logits, if it has one.
        """
        for name, value in {"loss": total, **losses}.items():
            if name not in self.sums:
                self.sums[name] = torch.zeros((), device=self.device)
            self.sums[name] += value.detach()
        known = targets.amax(1) > 0
        self.hits += ((logits.detach().argmax(1) == targets.argmax(1)) & known).sum()
        self.labelled += known.sum()
        if taught is not None:
            self._teacher += taught.detach().sum(dtype=torch.float32)  # one NaN, or one infinite number, stays in it
        bad = ~torch.isfinite(total.detach()) & (self.first_bad < 0)
        self.first_bad.copy_(torch.where(bad, self._step, self.first_bad))
        self._step += 1

    def count(self, rows: int) -> None:
        """Count a step of so many rows, on the host."""
        self.rows += rows
        self.steps += 1

    def bad_step(self) -> int | None:
        """Step of this epoch at which the loss first was NaN or infinite (waits for the device)."""
        step = int(self.first_bad)
        return step if step >= 0 else None

    def teacher_finite(self) -> bool:
        """Whether all of the teacher's logits of this epoch were (waits for the device)."""
        return bool(torch.isfinite(self._teacher))

    def means(self) -> dict[str, float]:
        """Mean losses and accuracy so far (waits for the device)."""
        means = {name: float(value) / max(1, self.steps) for name, value in self.sums.items()}
        return {**means, "accuracy": float(self.hits) / max(1.0, float(self.labelled))}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint inside an epoch keeps."""
        return {
            "sums": dict(self.sums),
            "hits": self.hits,
            "labelled": self.labelled,
            "rows": self.rows,
            "steps": self.steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on inside an epoch."""
        self.reset()
        # copies, since steps change them in place
        self.sums = {name: value.to(self.device, copy=True) for name, value in state["sums"].items()}
        self.hits = state["hits"].to(self.device, copy=True)
        self.rows, self.steps = state["rows"], state["steps"]
        labelled = state.get("labelled", torch.tensor(float(self.rows)))  # earlier versions had labelled rows alone
        self.labelled = labelled.to(self.device, copy=True)
        self._step.fill_(self.steps)
