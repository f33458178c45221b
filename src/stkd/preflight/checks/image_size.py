"""Whether teacher and student see images of about the same size."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.config import DistillConfig, RunConfig
from ...teachers import LiveTeacher
from ..finding import Finding
from ..subject import Subject, checks


def _asked(config: RunConfig) -> bool:
    return config.image_size is not None or (isinstance(config, DistillConfig) and config.teacher_size is not None)


@checks.register("image-size", "the student's images are of another size than the teacher's, and nobody asked for it")
def image_size(subject: Subject) -> Iterator[Finding]:
    """Compare the sizes where --image-size was not given."""
    teacher, size = subject.teacher, subject.data.size
    if not isinstance(teacher, LiveTeacher) or _asked(subject.config) or teacher.info.size == size:
        return
    yield Finding(
        "warning",
        f"the student is trained on images of {size} pixels, the teacher takes {teacher.info.size}; give --image-size "
        f"{teacher.info.size} for the teacher's size, or --image-size {size} if this is meant",
    )
