"""Whether the teacher's outputs are in the order of the classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...teachers import LiveTeacher
from ..finding import Finding
from ..subject import Subject, checks

_FILE = "teacher-classes.txt"


@checks.register("class-order", "another order of the teacher's outputs is better than the given one")
def class_order(subject: Subject) -> Iterator[Finding]:
    """Look for a better order, and write it as --teacher-classes takes it."""
    order = subject.better_order
    if order is None:
        return
    classes = subject.data.classes
    names = _names(subject)
    moved = np.flatnonzero(order.outputs != np.arange(len(classes)))
    shown = ", ".join(f"{classes[i]!r} is where {classes[order.outputs[i]]!r} is expected" for i in moved[:3])
    more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
    yield Finding(
        "error",
        f"the teacher's outputs are in another order than the classes: {shown}{more}; with all in their places it is "
        f"right on {order.right:.1%} instead of {order.given:.1%} of {order.images:,} images; give --teacher-classes "
        f"FILE with its classes in its own order, one a line ({_FILE}, written with preflight.json, lists them)",
        names,
        (_FILE, "".join(f"{name}\n" for name in names)),
    )


def _names(subject: Subject) -> list[str]:
    """The names of the teacher's outputs, in its own order."""
    assert subject.better_order is not None
    outputs, classes, teacher = subject.better_order.outputs, subject.data.classes, subject.teacher
    own, places = list(classes), np.arange(len(classes))
    if isinstance(teacher, LiveTeacher) and teacher.class_map is not None:
        own, places = list(teacher.info.classes), teacher.class_map.cpu().numpy()
    for label, output in enumerate(outputs):
        own[places[output]] = classes[label]
    return own
