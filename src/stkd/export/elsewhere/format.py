"""A format that is written and run in an environment of its own."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.errors import StkdError
from ..contract import Contract
from ..format import Format, Opened, Source
from . import worker

__all__ = ["Elsewhere"]

_FOLDER = ".envs"


class Elsewhere(Format):
    """A kind of file whose tools do not fit beside this PyTorch.

    Attributes:
        tool: Its name in `worker`, and that of its environment.
        packages: What the environment takes.
    """

    tool: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]

    @classmethod
    def python(cls) -> Path:
        """The environment's Python.

        Raises:
            StkdError: There is no such environment.
        """
        variable = f"STKD_ENV_{cls.tool.upper()}"
        checkout = Path(__file__).parents[4]
        folders = [Path(_FOLDER) / cls.tool, checkout / _FOLDER / cls.tool]
        if given := os.environ.get(variable):
            folders = [Path(given)]
        for folder in folders:
            for inside in ("bin/python", "Scripts/python.exe"):
                if (folder / inside).is_file():
                    return (folder / inside).absolute()
        raise StkdError(
            f"{cls.title} needs an environment of its own, and there is none in {folders[0]}: make env-{cls.tool}, or "
            f"set {variable} to one with {' and '.join(cls.packages)}"
        )

    def ready(self) -> None:
        """Also check that the environment is there."""
        super().ready()
        self.python()

    def _write(self, source: Source, file: Path) -> Mapping[str, Any]:
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            program, contract = Path(folder) / "program.pt2", Path(folder) / "contract.json"
            torch.export.save(source.program, program)
            contract.write_text(source.contract.text(), encoding="utf-8")
            command = [self.python(), "-I", worker.__file__, "write", self.tool, program, contract, file]
            done = subprocess.run(
                [str(part) for part in command], capture_output=True, stdin=subprocess.DEVNULL, check=False
            )
        if done.returncode:
            raise self._failure(_said(done.stderr) or f"its tool ended with {done.returncode}")
        return {}

    def _open(self, file: Path, threads: int) -> Opened:
        try:
            answering = _Answering([self.python(), "-I", worker.__file__, "run", self.tool, file, threads])
        except RuntimeError as error:
            raise self._failure(str(error)) from None
        about = answering.about
        contract = Contract.read(about["contract"], file)
        contract.check(file, tuple(about["input"]), about["outputs"])
        return Opened(contract, answering.run, about["runtime"], seconds=lambda: answering.seconds)

    def _failure(self, said: str) -> Exception:
        if not said.startswith(("ModuleNotFoundError", "ImportError")):
            return RuntimeError(said)
        why = said.partition(": ")[2][:120]
        return StkdError(
            f"the environment of {self.title}, {self.python().parents[1]}, is not whole ({why}); install "
            f"{' and '.join(self.packages)} into it"
        )


class _Answering:
    """A process that answers, as long as this object is there.

    Args:
        command: Starts it.

    Raises:
        RuntimeError: It ends at once, with its reason.
    """

    def __init__(self, command: list[Any]) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        # a session of its own, so that Ctrl-C is for this process, which then ends that one
        self.process = subprocess.Popen([str(part) for part in command], start_new_session=True, **pipes)  # type: ignore[call-overload]
        self.seconds = 0.0
        weakref.finalize(self, _end, self.process)
        self.about: dict[str, Any] = json.loads(self._reply())

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of images."""
        packed = io.BytesIO()
        np.save(packed, np.ascontiguousarray(images), allow_pickle=False)
        worker.send(self.process.stdin, packed.getvalue())
        reply = self._reply()
        (self.seconds,) = struct.unpack("<d", reply[:8])
        answer: NDArray[np.float32] = np.load(io.BytesIO(reply[8:]), allow_pickle=False)
        return answer

    def _reply(self) -> bytes:
        reply = worker.receive(self.process.stdout)
        if reply is None:
            code = self.process.wait()
            self.errors.seek(0)
            raise RuntimeError(_said(self.errors.read()) or f"its runtime ended with {code}")
        return reply


def _said(errors: bytes) -> str:
    """The reason that a worker gave on stderr."""
    starts = ("stkd: ", "ModuleNotFoundError: ")  # the latter where NumPy itself is missing
    lines = [line for line in errors.decode(errors="replace").splitlines() if line.startswith(starts)]
    return lines[-1].removeprefix("stkd: ") if lines else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
