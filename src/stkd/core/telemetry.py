"""No library that stkd uses tells anyone that it is used."""

from __future__ import annotations

import sys

__all__ = ["no_openvino_telemetry"]


def no_openvino_telemetry() -> None:
    """Called before OpenVINO or NNCF is imported: they find no `openvino_telemetry`, and send nothing.

    Both send an event over the network when they are imported and when they convert a model, unless the user has
    declined. A program that has imported that package itself keeps it.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
