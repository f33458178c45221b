"""The loop that people write by hand, to compare with: eager, float32, images in memory, no framework."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["bare_step"]

_TEMPERATURE, _WEIGHT = 4.0, 0.9


def bare_step(
    teacher: nn.Module, student: nn.Module, images: Tensor, labels: Tensor, batch_size: int, *, bf16: bool = False
) -> Callable[[], None]:
    """A step of plain KD (Hinton et al., 2015) with vectorised crop and flip, SGD with momentum.

    Args:
        teacher, student: Modules of the loop's own, on the device of the images.
        images: float32 (N, C, H, W), normalised.
        labels: int64 (N,).
        batch_size: B.
        bf16: Run in bf16 with channels last instead, the best of such loops without compiling.
    """
    if bf16:
        teacher, student = (m.to(memory_format=torch.channels_last) for m in (teacher, student))
    teacher.eval()
    student.train()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    pad, size, device = 4, images.shape[-1], images.device
    grid = torch.arange(size, device=device)

    def step() -> None:
        index = torch.randint(len(images), (batch_size,), device=device)
        batch = F.pad(images[index], [pad] * 4)
        top, left = torch.randint(2 * pad + 1, (2, batch_size, 1), device=device)
        columns = torch.where(torch.rand(batch_size, 1, device=device) < 0.5, grid, grid.flip(0)) + left
        row = torch.arange(batch_size, device=device).view(-1, 1, 1)
        batch = batch[row, :, (grid + top)[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        batch = batch.contiguous(memory_format=torch.channels_last if bf16 else torch.contiguous_format)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            with torch.inference_mode():
                taught = teacher(batch)
            logits = student(batch)
        logits, taught = logits.float(), taught.float()
        kl = F.kl_div(
            F.log_softmax(logits / _TEMPERATURE, 1), F.softmax(taught / _TEMPERATURE, 1), reduction="batchmean"
        )
        loss = (1 - _WEIGHT) * F.cross_entropy(logits, labels[index]) + _WEIGHT * _TEMPERATURE**2 * kl
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
