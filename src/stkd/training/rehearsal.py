"""Steps of students that leave no trace: forward and backward as in training, to be timed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .student import Student

__all__ = ["rehearse", "rehearsing"]

_TYPES = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}


@contextmanager
def rehearsing(students: Sequence[Student]) -> Iterator[None]:
    """A context after which weights, statistics, gradients and random numbers are as they were."""
    devices = {student.fabric.device for student in students if student.fabric.device.type == "cuda"}
    before = [
        (student, student.module.training, [(buffer, buffer.clone()) for buffer in student.module.buffers()])
        for student in students
    ]
    with torch.random.fork_rng(devices=list(devices)):
        try:
            for student in students:
                student.module.train()
            yield
        finally:
            for student, mode, buffers in before:
                for buffer, own in buffers:
                    buffer.copy_(own)
                student.module.zero_grad()
                student.module.train(mode)


def rehearse(student: Student, module: nn.Module, images: Tensor, precision: str) -> None:
    """A step without losses and optimizer, which take the same time whatever runs the student.

    Args:
        student: The student.
        module: Its module, or what stands for it, compiled.
        images: (R, C, H, W), on the device.
        precision: "32", "bf16" or "16".
    """
    logits = _in_precision(module, images, precision)
    logits.float().sum().backward()  # type: ignore[no-untyped-call]
    student.module.zero_grad()


def _in_precision(module: nn.Module, images: Tensor, precision: str) -> Tensor:
    """The answer of a module in a precision, as Fabric has it run."""
    kind = _TYPES[precision]
    with torch.autocast(images.device.type, kind, enabled=precision != "32"):
        logits: Tensor = module(images)
    return logits
