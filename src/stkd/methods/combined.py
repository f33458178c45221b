"""Several methods at once: their losses are added."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from ..core.errors import StkdError
from ..mixing import Mix
from .base import REAL, Method, Need, Setup, View

__all__ = ["Combined"]


@dataclass(frozen=True, kw_only=True)
class Combined(Method):
    """The sum of methods; the cross-entropy with the labels enters once, with the largest weight that one asks for.

    All see the same batch: the virtual samples of the first part that makes some.

    Attributes:
        parts: The methods, two or more.
    """

    parts: tuple[Method, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(part.preparation > 0 for part in self.parts):
            raise StkdError("methods of two stages cannot be combined with others; run them alone")
        if self.remembers_images and self.mix.strong:
            raise StkdError("a method that keeps a memory of each image goes with no other that shows it twice")

    @property
    def uses_teacher(self) -> bool:
        return any(part.uses_teacher for part in self.parts)

    @property
    def label_weight(self) -> float:
        return max(part.label_weight for part in self.parts)

    @property
    def all_logits(self) -> bool:
        return any(part.all_logits for part in self.parts)

    @property
    def labels_real_alone(self) -> bool:
        return any(part.labels_real_alone for part in self.parts)

    @property
    def looks_at_labels(self) -> bool:
        return any(part.looks_at_labels for part in self.parts)

    @property
    def mix(self) -> Mix:  # type: ignore[override]
        mix = next((part.mix for part in self.parts if part.mix.active), REAL)
        return replace(mix, strong=any(part.mix.strong for part in self.parts))

    @property
    def needs(self) -> frozenset[Need]:  # type: ignore[override]
        return frozenset().union(*(part.needs for part in self.parts))

    @property
    def real_rows(self) -> bool:  # type: ignore[override]
        return any(part.real_rows for part in self.parts)

    @property
    def remembers_images(self) -> bool:  # type: ignore[override]
        return any(part.remembers_images for part in self.parts)

    def adapt(
        self,
        student: nn.Module,
        name: str,
        teacher: nn.Module,
        sample: Tensor,
        taught: Tensor,
        classes: Tensor | None = None,
    ) -> tuple[nn.Module, str]:
        for part in self.parts:
            student, name = part.adapt(student, name, teacher, sample, taught, classes)
        return student, name

    def build(self, setup: Setup) -> nn.Module | None:
        built = {str(i): extras for i, part in enumerate(self.parts) if (extras := part.build(setup)) is not None}
        return nn.ModuleDict(built) if built else None

    def losses(self, view: View) -> dict[str, Tensor]:
        named: dict[str, Tensor] = {}
        for i, part in enumerate(self.parts):
            own = view.extras[str(i)] if isinstance(view.extras, nn.ModuleDict) and str(i) in view.extras else None
            for name, value in part.losses(replace(view, extras=own)).items():
                named[name if name not in named else f"{name}_{i}"] = value
        return named
