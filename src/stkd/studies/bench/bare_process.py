"""The bare loop in a process of its own, so that nothing of stkd's settings and memory reaches it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile

import torch

from ... import models
from ...core.errors import StkdError
from ...data import DataSet
from .bare import bare_step
from .clock import rate
from .random_data import random_data

__all__ = ["bare_loop", "serve"]

_SERVE = "from stkd.studies.bench.bare_process import serve; serve()"


@contextmanager
def bare_loop(
    teacher: str, student: str, data: DataSet, batch_size: int, device: torch.device
) -> Iterator[Callable[[int], float]]:
    """Start a process that makes steps of the bare loop on request.

    Args:
        teacher, student: Model names.
        data: Random images; those of the process are of the same shape and number.
        batch_size: Images in a step.
        device: Where it runs.

    Yields:
        A function that has a number of steps made and returns steps per second.

    Raises:
        StkdError: The process ended.
    """
    options = {
        "teacher": teacher,
        "student": student,
        "shape": [len(data.train), data.size, len(data.classes), data.channels],
        "batch_size": batch_size,
        "device": str(device),
        "threads": torch.get_num_threads(),
    }
    command, pipe = [sys.executable, "-c", _SERVE], subprocess.PIPE
    with (
        TemporaryFile("w+") as said,  # a pipe that nobody reads would stop the process once it is full
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, text=True) as process,
    ):
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def ask(line: str) -> str:
            with suppress(BrokenPipeError):  # no answer says so
                print(line, file=stdin, flush=True)
            if answer := stdout.readline():
                return answer
            said.seek(0)
            last = (said.read().strip().splitlines() or ["it said nothing"])[-1]
            raise StkdError(f"the process of the bare loop ended: {last}")

        try:
            ask(json.dumps(options))
            yield lambda steps: float(ask(str(steps)))
        finally:
            process.kill()


def serve() -> None:
    """Main function of the process: reads options, then numbers of steps; answers each with a line."""
    options = json.loads(sys.stdin.readline())
    torch.set_num_threads(options["threads"])
    device = torch.device(options["device"])
    images, size, classes, channels = options["shape"]
    data = random_data(images, size, classes, channels)
    teacher, student = (
        models.create(options[name], num_classes=classes, in_channels=channels, image_size=size).to(device)
        for name in ("teacher", "student")
    )
    pixels = torch.from_numpy(data.train.images).to(device).float().div_(127.5).sub_(1)
    step = bare_step(teacher, student, pixels, torch.from_numpy(data.train.labels).to(device), options["batch_size"])
    print("ready", flush=True)
    for line in sys.stdin:
        print(rate(step, device, int(line)), flush=True)
