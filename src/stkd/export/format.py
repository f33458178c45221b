"""What a format is, and all formats by name."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram

from ..core import manifest
from ..core.errors import StkdError
from ..core.registry import Registry
from ..runs.finished_run import FinishedRun
from .captured import layer_without_operator, quiet
from .contract import Contract

__all__ = ["Format", "Opened", "Run", "Source", "exporters"]

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From images (N, C, S, S) in 0..1 to logits (N, classes)."""


@dataclass(frozen=True)
class Opened:
    """An exported file, ready to answer.

    Attributes:
        contract: What it says of itself.
        run: Its answers.
        runtime: What runs it, with its version.
        whole: Of a file that takes whole pictures, its answer to one; `run` cannot be called then.
        seconds: Where another process runs it, what the last answer took there.
    """

    contract: Contract
    run: Run
    runtime: str
    whole: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None
    seconds: Callable[[], float] | None = None


@dataclass(frozen=True)
class Source:
    """What a file is written from.

    Attributes:
        program: The captured model, from images (N, C, S, S) in 0..1 to logits; of a format with `whole_pictures` from
            one picture uint8 (H, W, C).
        contract: What the file says of itself.
        calibration: Batches of training images as evaluation sees them, float32 (N, C, S, S) in 0..1; read when they
            are iterated over.
    """

    program: ExportedProgram
    contract: Contract
    calibration: Iterable[Tensor] = ()


class Format(ABC):
    """A kind of file, and the runtime that it is for.

    Attributes:
        title: What it is called in messages.
        suffix: Ending of its files, with dot.
        extra: The extra of stkd that installs what it takes; None if nothing is missing ever.
        writers: Packages that write it.
        runners: Packages that run it.
        exact: Whether its files answer as the model does to the last digits; those of others are kept however far their
            logits are off, and what that costs is measured.
        folder: Whether it is a folder; its suffix is empty then.
        options: Names of the keyword arguments that it is made with, which the user may give.
        batch: Images that a file takes at once: 1, or None for any number.
        whole_pictures: Whether the file that is written takes whole pictures, and resizing is inside it.
    """

    title: ClassVar[str]
    suffix: ClassVar[str]
    extra: ClassVar[str | None] = None
    writers: ClassVar[tuple[str, ...]] = ()
    runners: ClassVar[tuple[str, ...]] = ()
    exact: ClassVar[bool] = True
    folder: ClassVar[bool] = False
    options: ClassVar[tuple[str, ...]] = ()
    whole_pictures: bool = False
    batch: ClassVar[Literal[1] | None] = None

    @classmethod
    def file_name(cls, stem: str) -> str:
        """Name of a file in the run directory.

        Args:
            stem: Name of the run's weights, without ending.
        """
        return f"{stem}{cls.suffix}"

    @classmethod
    def need(cls, *packages: str) -> None:
        """Check that packages are installed.

        Raises:
            StkdError: One is not.
        """
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if missing:
            raise StkdError(f"{cls.title} needs {' and '.join(missing)}: pip install 'stkd[{cls.extra}]'")

    @classmethod
    def parts(cls, file: Path) -> tuple[Path, ...]:
        """The file, and those that it does not work without; it is last, so that it is not met without them.

        Args:
            file: The file, or the folder.
        """
        return (file,)

    def ready(self) -> None:
        """Check that all is there that writing and running it takes, before any work is done.

        Raises:
            StkdError: Something is missing.
        """
        self.need(*self.writers, *self.runners)

    def prepared(self, opened: FinishedRun, source: Source) -> Source:
        """What is written in place of a run's model, where the user asked for more than that; it may be trained.

        Args:
            opened: The run.
            source: What is written otherwise.

        Raises:
            StkdError: It cannot be made.
        """
        return source

    def write(self, source: Source, file: Path) -> dict[str, Any]:
        """Write a captured model and its contract.

        Returns:
            What was found out on the way, for the record of the export.

        Raises:
            StkdError: A package is missing, or the format cannot express the model.
        """
        self.need(*self.writers)
        try:
            with quiet():
                return dict(self._write(source, file) or {})
        except (OSError, StkdError):
            raise
        except Exception as error:  # exporters raise many kinds
            why = " ".join(f"{error} {error.__cause__ or ''}".split())
            why = layer_without_operator(source.program, why) or why[:200]
            raise StkdError(f"{self.title} cannot express the {source.contract.info.model}: {why}") from None

    def open(self, file: Path, threads: int) -> Opened:
        """Open a file of this format.

        Args:
            file: The file.
            threads: That its runtime may use.

        Raises:
            StkdError: A package or the file is missing, or it is damaged or was not written by stkd.
        """
        self.need(*self.runners)
        for part in self.parts(file):
            if not part.is_file():
                raise StkdError(f"{part} is missing; export the run again")
            manifest.check(part, file.parent)
        try:
            with quiet():
                return self._open(file, threads)
        except StkdError:
            raise
        except Exception as error:  # runtimes raise many kinds
            why = " ".join(str(error).split())[:120]
            raise StkdError(f"{file} is damaged or no {self.title} file ({why}); export the run again") from None

    @abstractmethod
    def _write(self, source: Source, file: Path) -> Mapping[str, Any] | None: ...

    @abstractmethod
    def _open(self, file: Path, threads: int) -> Opened: ...


exporters: Registry[type[Format]] = Registry("export format", "stkd.export.formats")
