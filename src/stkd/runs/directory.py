"""The run directory: one writer at a time, and a record of what was asked, where it ran and what came of it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..core.config import RunConfig, plain, to_yaml
from ..core.errors import StkdError
from ..core.files import remove_temporaries, write_atomic
from ..core.locks import lock_folder
from ..core.processes import process_rank
from .environment import environment
from .options import check_unchanged

__all__ = ["RunDir", "read_result"]


class RunDir:
    """A run directory, locked for this process until `close`; of several processes of one run, the first writes.

    Args:
        config: The resolved options; they must be those that the directory was started with.

    Raises:
        StkdError: The path is no usable directory, another process writes to it, or it belongs to another run.
    """

    def __init__(self, config: RunConfig) -> None:
        self.path = config.out
        if self.path.exists() and not self.path.is_dir():
            raise StkdError(f"{self.path} is a file; give --out a directory")
        foreign = (
            self.path.is_dir()
            and not self._file("config.yaml").exists()
            and any(not p.name.startswith(".") for p in self.path.iterdir())
        )
        if foreign:
            raise StkdError(f"{self.path} is not empty and is not a run of stkd; give --out a new directory")
        self._lock: FileLock | None = None
        if process_rank() > 0:
            return
        self._lock = lock_folder(self.path)
        try:
            self._claim(config)
            self.checkpoints.mkdir(exist_ok=True)
            remove_temporaries(self.path, self.checkpoints)  # of a process that was killed while it wrote
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let other processes write."""
        if self._lock is not None:
            self._lock.release()

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The checkpoint that a resumed run starts from."""
        return self.checkpoints / "last.pt"

    def _file(self, name: str) -> Path:
        return self.path / name

    def _claim(self, config: RunConfig) -> None:
        file = self._file("config.yaml")
        if not self.last.exists() and read_result(self.path) is None:
            # nothing was trained yet, so a start that failed does not stand in the way of the corrected command
            write_atomic(file, to_yaml(config))
        else:
            check_unchanged(file, plain(config))

    def write_environment(self, extra: dict[str, Any]) -> None:
        """Record versions, hardware and git revision."""
        if self._lock is None:
            return
        write_atomic(self._file("env.json"), json.dumps({**environment(), **extra}, indent=1))

    def log(self, rows: list[dict[str, Any]]) -> None:
        """Write the metrics so far, one row per epoch, as JSON lines and as CSV."""
        write_atomic(self._file("metrics.jsonl"), "".join(json.dumps(r) + "\n" for r in rows))
        table = io.StringIO()
        writer = csv.DictWriter(table, list(dict.fromkeys(name for r in rows for name in r)))
        writer.writeheader()
        writer.writerows(rows)
        write_atomic(self._file("metrics.csv"), table.getvalue())

    def finish(self, result: dict[str, Any]) -> None:
        """Record the outcome; the run is finished once this file stands."""
        write_atomic(self._file("result.json"), json.dumps(result, indent=1))


def read_result(path: Path) -> dict[str, Any] | None:
    """The outcome of a finished run; None while it is not finished.

    Raises:
        StkdError: The record is damaged.
    """
    file = path / "result.json"
    if not file.is_file():
        return None
    try:
        result: dict[str, Any] = json.loads(file.read_text())
    except ValueError:
        raise StkdError(f"{file} is damaged; delete it and run the same command again") from None
    return result
