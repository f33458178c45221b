"""Batches that are too small for what is done with them."""

from __future__ import annotations

from collections.abc import Iterator

from torch.nn.modules.batchnorm import _BatchNorm

from ..finding import Finding
from ..subject import Subject, checks


@checks.register("batches", "a batch of one image, for mixing or for batch normalisation")
def batches(subject: Subject) -> Iterator[Finding]:
    """Compare the rows of a batch with what needs several."""
    images = min(subject.config.batch_size, len(subject.data.train))
    if images == 1 and subject.mix.active:
        yield Finding(
            "warning",
            "with one image in a batch nothing is mixed: each image is its own partner, and stkd becomes kd; use "
            "--batch-size 2 or more",
        )
    rows = subject.mix.rows(images) / subject.processes
    normalised = [m for student in subject.students for m in student.modules() if isinstance(m, _BatchNorm)]
    if rows <= 1 and normalised:
        yield Finding(
            "warning",
            "batch normalisation with one row in a batch normalises every image by itself; use --batch-size 2 or more, "
            "or a model without batch normalisation",
        )
