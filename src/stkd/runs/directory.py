"""The run directory: who may write to it, which files lie in it, and whether it is finished and whole."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from filelock import FileLock
from torch import nn

from ..core import manifest
from ..core.config import DistillConfig, TrainConfig, plain, to_yaml
from ..core.errors import StkdError
from ..core.files import digest_file, remove_temporaries, write_atomic
from ..core.locks import lock_folder
from ..core.manifest import Damaged
from ..core.processes import process_rank
from ..models.files import ModelInfo, read_info, save_model
from .checkpoint import newest_checkpoint, save_checkpoint
from .environment import environment
from .model_card import write_card
from .options import as_begun, check_unchanged, read_options
from .transaction import complete_replacement, replaced_together

__all__ = [
    "RunDirectory",
    "finished_result",
    "has_begun",
    "read_environment",
    "read_metrics",
    "read_preflight",
    "read_result",
    "weights_name",
]

_log = logging.getLogger(__name__)


def weights_name(config: TrainConfig | DistillConfig) -> str:
    """File name of the weights that a run ends with."""
    return "student.safetensors" if isinstance(config, DistillConfig) else "model.safetensors"


class RunDirectory:
    """A run directory, locked for this process while it is entered; of several processes of one run, the first writes.

    A finished run that is asked for with more epochs goes on. Until its new end is written, its files stay as they are,
    but for its checkpoint and the record of its environment.

    Args:
        config: The resolved options; but for more epochs they must be those that the directory was started with.

    Attributes:
        config: The options; what an earlier version did before there was an option for it stays as it was.
        path: The directory.
        begun: Options that it was started with, as its config.yaml has them.
        result: What result.json holds if the run is finished, else None.

    Raises:
        StkdError: The path is no usable directory, another process writes to it, it belongs to another run, or its
            weights are not those that the run wrote.
    """

    def __init__(self, config: TrainConfig | DistillConfig) -> None:
        self.config, self.path = config, config.out
        self.begun: dict[str, Any] = plain(config)
        self._finished_before = False
        self._lines: list[str] = []
        if self.path.exists() and not self.path.is_dir():
            raise StkdError(f"{self.path} is a file; give --out a directory")
        if not (self._file("config.yaml").exists() or manifest.unused(self.path)):
            raise StkdError(f"{self.path} is not empty and is not a run of stkd; give --out a new directory")
        self._lock: FileLock | None = None
        if process_rank() == 0:
            self._lock = lock_folder(self.path)
        try:
            if self._lock is not None:
                complete_replacement(self.path)  # of a process that was killed at its end
            if self._trained:
                self.config = as_begun(config, self._file("config.yaml"))
                self.begun = read_options(self._file("config.yaml"))
            if self._lock is not None:
                self._claim()
            self.result = finished_result(self.path)
            if self.result is not None and self._lengthened:
                self._go_on()
            if self._lock is not None and self.result is not None:
                self._drop_metrics_before_end()  # by a process that was killed before it did
                self._repair_card(self.result)
                self._repair_metrics(self.result)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes write."""
        if self._lock is not None:
            self._lock.release()

    @property
    def last(self) -> Path:
        """The checkpoint that a resumed run starts from."""
        return _last(self.path)

    @property
    def weights(self) -> Path:
        """The weights that the run ends with."""
        return self.path / weights_name(self.config)

    def _file(self, name: str) -> Path:
        return self.path / name

    @property
    def _trained(self) -> bool:
        return has_begun(self.path)

    @property
    def _lengthened(self) -> bool:
        epochs: int = self.begun.get("epochs", self.config.epochs)
        return self.config.epochs > epochs

    def _claim(self) -> None:
        file = self._file("config.yaml")
        if self._trained:
            check_unchanged(file, plain(self.config), longer=True)
            if self.config.skip_bad and not self.begun.get("skip_bad"):  # what opens its data later has to do so too
                self.begun = {**self.begun, "skip_bad": True}
                manifest.write(file, yaml.safe_dump(self.begun, sort_keys=False, allow_unicode=True))
        else:
            # nothing was trained yet, so a start that failed does not stand in the way of the corrected command
            manifest.write(file, to_yaml(self.config))
        self.last.parent.mkdir(exist_ok=True)
        for folder in (self.path, self.last.parent):
            remove_temporaries(folder)  # of a process that was killed while it wrote

    def _go_on(self) -> None:
        """Open a finished run again, which is to have more epochs."""
        if not self.last.exists():
            raise StkdError(f"{self.path} has no checkpoint to go on from; give another --out to train for longer")
        self.result, self._finished_before = None, True

    @property
    def _metrics(self) -> Path:
        """The file of metrics; those of a finished run stay until its new end."""
        return (self.last.parent if self._finished_before else self.path) / "metrics.jsonl"

    def record_environment(self, facts: Mapping[str, Any]) -> None:
        """Record versions, hardware and revision in env.json; those of a resumed run follow those of its start.

        Args:
            facts: What else is to be recorded.
        """
        if self._lock is None:
            return
        now = {**environment(), **facts}
        start = read_environment(self.path) if self.last.exists() else None
        if start is not None:
            start["resumed"] = [*start.get("resumed", []), now]
        manifest.write(self._file("env.json"), json.dumps(start or now, indent=1))

    @property
    def engines(self) -> list[dict[str, Any]]:
        """What ran teacher and student at the start and after each resumption, as env.json has it.

        Empty before the first checkpoint, and where an earlier version, which did not record it, began the run.

        Raises:
            StkdError: env.json is damaged.
        """
        recorded = read_environment(self.path) if self.last.exists() else None
        starts = [] if recorded is None else [recorded, *recorded.get("resumed", [])]
        return [start["engines"] for start in starts if "engines" in start]

    def log(self, rows: list[dict[str, Any]]) -> None:
        """Bring metrics.jsonl up to the metrics so far, one row an epoch.

        Rows that an interrupted process left after its last checkpoint go.
        """
        new = [json.dumps(row) + "\n" for row in rows[len(self._lines) :]]
        if new or not self._lines:
            self._lines += new
            manifest.write(self._metrics, "".join(self._lines))

    def checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, or where it is damaged the one before it; None where there is none.

        Raises:
            StkdError: Both are damaged.
        """
        if not self.last.exists():
            return None
        # checkpoints of earlier versions do not say how many epochs were planned
        state = newest_checkpoint(self.last, mend=self._lock is not None)
        return {"epochs": self.begun.get("epochs", self.config.epochs), **state}

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write a checkpoint in the place of the last one, which is kept as the one before it."""
        save_checkpoint(self.last, state)

    def save_best(self, module: nn.Module, info: ModelInfo) -> None:
        """Write the weights that were best on the validation split so far."""
        save_model(module, self.path / "checkpoints" / "best.safetensors", info, write=manifest.write)

    def finish(
        self, result: dict[str, Any], models: Mapping[str, nn.Module], info: ModelInfo, teacher: str
    ) -> dict[str, Any]:
        """Write the final weights, the model card and result.json, all at once: they make the run a finished one.

        The end of a run that was lengthened takes the place of the end that it had.

        Args:
            result: Scores, time and amount of work.
            models: "" for the student; "_ema" for its average.
            info: What has to be known to use the weights.
            teacher: Name of its model; empty where there was none.

        Returns:
            The result as it was written, with a digest of each file of weights.
        """
        digests = {}
        with replaced_together(self.path) as end:
            for suffix, module in models.items():
                file = end / f"{self.weights.stem}{suffix}.safetensors"
                save_model(module, file, info)
                digests[file.name] = digest_file(file)
            result = {**result, "teacher": teacher, "weights": digests}
            found = read_preflight(self.path)
            write_card(end, self.config, result, info, self.weights.name, teacher, found)
            if self._lengthened:
                longer = {name: plain(self.config)[name] for name in ("epochs", "sample_epochs")}
                write_atomic(
                    end / "config.yaml", yaml.safe_dump({**self.begun, **longer}, sort_keys=False, allow_unicode=True)
                )
            if self._metrics.parent != self.path:
                shutil.copyfile(self._metrics, end / "metrics.jsonl")
            write_atomic(end / "result.json", json.dumps(result, indent=1))
        self._drop_metrics_before_end()
        return result

    def _drop_metrics_before_end(self) -> None:
        """Delete the metrics that a run which was lengthened had beside those of its first end, until its new one."""
        file = self.last.parent / "metrics.jsonl"
        if file.exists():
            manifest.announce(file.parent, {file.name: None})
            file.unlink()

    def _repair_card(self, result: Mapping[str, Any]) -> None:
        info = read_info(self.weights)
        if not self._file("README.md").exists() and info is not None:
            found = read_preflight(self.path)
            write_card(self.path, self.config, result, info, self.weights.name, result.get("teacher", ""), found)

    def _repair_metrics(self, result: Mapping[str, Any]) -> None:
        file = self._file("metrics.jsonl")
        try:
            if file.exists():
                read_metrics(self.path)
        except Damaged:
            if (state := self.checkpoint()) is not None:
                _log.warning("%s is damaged; it is written again from the last checkpoint", file)
                self.log(state["rows"][: result["epochs"]])


def has_begun(path: Path) -> bool:
    """Whether something was trained in a run directory.

    Raises:
        StkdError: The record of its end is damaged.
    """
    return _last(path).exists() or read_result(path) is not None


def _last(path: Path) -> Path:
    return path / "checkpoints" / "last.pt"


def read_environment(path: Path) -> dict[str, Any] | None:
    """What env.json of a run directory holds; None where there is none.

    Raises:
        StkdError: The record is damaged.
    """
    file = path / "env.json"
    if not file.exists():
        return None
    recorded = _read_object(file)
    if recorded is None or "versions" not in recorded:
        raise StkdError(f"{file} is damaged; put back a copy of it, or delete it to have all engines chosen anew")
    return recorded


def read_preflight(path: Path) -> dict[str, Any] | None:
    """What preflight.json of a run directory holds; None if nothing was checked, or, after a warning, it is damaged."""
    file = path / "preflight.json"
    found = _read_object(file)
    if found is None and file.exists():
        _log.warning("%s is damaged; what was found before the training is not shown", file)
    return found


def read_result(path: Path) -> dict[str, Any] | None:
    """What result.json of a run directory holds; None while the run is not finished.

    Raises:
        StkdError: The record is damaged.
    """
    file = path / "result.json"
    if not file.is_file():
        return None
    result = _read_object(file)
    if result is None:
        raise StkdError(f"{file} is damaged; delete it and run the same command again")
    return _Result(file, result)


class _Result(dict[str, Any]):
    """The content of result.json; a key that it should have is never missed with a traceback."""

    def __init__(self, file: Path, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self._file = file

    def __missing__(self, key: str) -> Any:
        raise StkdError(f"{self._file} is damaged, it lacks {key!r}; delete it and run the same command again")


def finished_result(path: Path) -> dict[str, Any] | None:
    """What result.json holds, where the weights that it speaks of are there; None where the run has to go on.

    A run whose weights were deleted goes on from its last checkpoint, which writes them again.

    Raises:
        StkdError: The record is damaged, or the weights are not those that the run wrote, or cannot be written again.
    """
    result = read_result(path)
    if result is None:
        return None
    names = result.get("weights") or dict.fromkeys(
        name for name in ("student.safetensors", "model.safetensors") if (path / name).is_file()
    )
    missing = [name for name in names or ["student.safetensors or model.safetensors"] if not (path / name).is_file()]
    if missing:
        if _last(path).is_file():
            _log.info("%s lost its %s; it is written again from the last checkpoint", path, missing[0])
            return None
        raise StkdError(f"{path} lost its {missing[0]} and its checkpoint; delete {path} to train it again")
    for name, digest in names.items():
        if digest is not None and digest_file(path / name) != digest:
            raise StkdError(
                f"{path / name} is not the file that this run wrote; put that back, or delete it to have it written "
                "again from the last checkpoint"
            )
    return result


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of a run's metrics.jsonl, one an epoch.

    Raises:
        OSError: It cannot be read.
        Damaged: It is missing or damaged, or a finished run has fewer rows than epochs.
        StkdError: The manifest or the result beside it is.
    """
    file = path / "metrics.jsonl"
    try:
        rows = [json.loads(line) for line in manifest.read(file).decode().splitlines()]
        if not rows or not all(isinstance(row, dict) and "epoch" in row for row in rows):
            raise ValueError
        # cut after a whole row it is as an earlier epoch left it, which its manifest still names
        if (result := read_result(path)) is not None and len(rows) < result.get("epochs", 0):
            raise ValueError
    except (FileNotFoundError, ValueError, RecursionError, Damaged):
        raise Damaged(f"{file} is missing or damaged; run the run's command again") from None
    return rows


def _read_object(file: Path) -> dict[str, Any] | None:
    """What a record holds; None where it is missing or damaged, which a disk that fails does not make it."""
    try:
        content = json.loads(manifest.read(file))
    except (FileNotFoundError, ValueError, RecursionError, Damaged):
        return None
    return content if isinstance(content, dict) else None
