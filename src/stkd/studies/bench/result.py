"""What a benchmark of the training step measures."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

__all__ = ["BenchResult", "Flops", "Memory"]


@dataclass(frozen=True)
class Flops:
    """Floating-point operations per second.

    Attributes:
        achieved: Those of the models' convolutions and matrix products in a training step.
        product_rate: Those of one large matrix product on the same device.
        share: The first as a share of the second.
        dtype: Arithmetic of the matrix product, that of the student.
    """

    achieved: float
    product_rate: float
    share: float
    dtype: str


@dataclass(frozen=True)
class Memory:
    """Memory of the benchmark.

    Attributes:
        peak_bytes: Most memory in use: of the device, on a CPU of the process; None where the system does not tell.
        copy_bytes_per_s: Bytes that a large copy reads and writes per second.
    """

    peak_bytes: int | None
    copy_bytes_per_s: float


@dataclass(frozen=True)
class BenchResult:
    """Speed of the training step of a teacher and a student, beside the bare loop.

    Attributes:
        teacher, student, method: Names.
        batch_size: Images in a step.
        image_size: Side in pixels.
        images_per_s: Of the training step, median of the pairs.
        bare_images_per_s: Of the bare loop, median of the pairs.
        ratio: Training step to bare loop, median of the ratios of the pairs.
        pairs: Images per second of the bare loop and of the training step, run in turn.
        parts: Milliseconds of a step by part.
        shares: The share of each part in a step; data, augment and mix are one part, the data.
        teacher_weights: Of the teacher, "random" or "trained".
        flops, memory: Against what the device can do.
        speed: What `auto` chose, and the seconds before the first step.
        precision: Precision of the student.
        device: Where it ran.
        environment: Versions and hardware.
    """

    teacher: str
    student: str
    method: str
    batch_size: int
    image_size: int
    images_per_s: float
    bare_images_per_s: float
    ratio: float
    pairs: list[tuple[float, float]]
    parts: dict[str, float]
    shares: dict[str, float]
    teacher_weights: str
    flops: Flops
    memory: Memory
    speed: dict[str, Any]
    precision: str
    device: str
    environment: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The same as nested dictionaries, as `stkd bench --json` prints it."""
        return dataclasses.asdict(self)
