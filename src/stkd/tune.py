"""Choosing hyper-parameters on validation images: `stkd tune`. The test images are not even loaded into a run."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from .api import run_distill
from .chosen import data_of
from .config import DistillConfig, plain
from .errors import StkdError
from .files import write_atomic
from .recorded import check_unchanged
from .search import Range, flags, options, ranges, usual

try:
    import optuna
except ModuleNotFoundError:
    raise StkdError("stkd tune needs the package optuna: pip install 'stkd[tune]'") from None

State = optuna.trial.TrialState
_BEGUN = (State.RUNNING, State.COMPLETE, State.FAIL)

__all__ = ["VAL_FRACTION", "Tuned", "tune"]

VAL_FRACTION = 0.2
"""Share of the training images held out where the data set has no validation split of its own."""


@dataclass(frozen=True)
class Tuned:
    """What came of it.

    Attributes:
        options: Best options by name, as flags take them; `method` holds those of the method.
        top1: Validation accuracy with them.
        recipe: File for `stkd distill --recipe`.
        trials: Number, options and validation accuracy (None: failed) of all trials, best first.
    """

    options: dict[str, Any]
    top1: float
    recipe: Path
    trials: list[tuple[int, dict[str, Any], float | None]]


def tune(config: DistillConfig, *, search: Sequence[str], trials: int, storage: str | None = None) -> Tuned:
    """Look for the options with the best validation accuracy after the last epoch.

    Args:
        config: All other options; `out` is the directory of the study, trial N is the run directory out/trial-N.
        search: What to choose: alpha, instances, temperature, weight, beta, lr.
        trials: Runs in all, those of earlier calls and of other workers among them.
        storage: Optuna's storage URL, for workers on several machines; default: out/study.db.

    Raises:
        StkdError: Something cannot be searched, or every trial failed.
        Interrupted: A signal asked to stop; the same call goes on.
    """
    return _Tuning(config, search, storage).run(trials)


class _Tuning:
    """A study, and what its trials have in common."""

    def __init__(self, config: DistillConfig, search: Sequence[str], storage: str | None) -> None:
        self.ranges = ranges(config, search)
        self.config = _with_validation(config)
        self.data = dataclasses.replace(data_of(self.config), test=None)
        config.out.mkdir(parents=True, exist_ok=True)
        self._claim()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            storage=storage or f"sqlite:///{config.out.absolute() / 'study.db'}",
            study_name="stkd",
            direction="maximize",
            load_if_exists=True,
        )
        self._place = f"{platform.node()}:{config.out.absolute()}"

    def _claim(self) -> None:
        """A study is about one set of options; trials of another cannot be compared."""
        asked = {**plain(self.config), "search": sorted(self.ranges)}
        file = self.config.out / "study.yaml"
        if file.exists():
            check_unchanged(file, asked)
        write_atomic(file, yaml.safe_dump(asked, sort_keys=False))

    def run(self, trials: int) -> Tuned:
        # the defaults are the first trial, so that the best is never worse on the validation images
        self.study.enqueue_trial(usual(self.config, self.ranges), skip_if_exists=True)
        while (taken := self._next(trials)) is not None:
            number, values, lock = taken
            try:
                self._try(number, options(self.config, values))
            finally:
                lock.release()
        return self._tuned()

    def _next(self, most: int) -> tuple[int, dict[str, float], FileLock] | None:
        """A trial that was interrupted here, else a new one; no other worker of this directory gets the same."""
        with FileLock(self.config.out / ".next.lock"):
            begun = self.study.get_trials(deepcopy=False, states=_BEGUN)
            for trial in begun:
                if trial.state != State.RUNNING or trial.user_attrs.get("place") != self._place:
                    continue
                if (lock := self._hold(trial.number)) is not None:
                    return trial.number, trial.params, lock
            if len(begun) >= most:
                return None
            new = self.study.ask()
            lock = self._hold(new.number)
            assert lock is not None, "nobody knows this trial yet"
            # by its number, so that a study that was interrupted draws what it would have drawn
            self.study.sampler = optuna.samplers.TPESampler(seed=100_003 * self.config.seed + new.number)
            values = {name: _suggest(new, name, span) for name, span in self.ranges.items()}
            new.set_user_attr("place", self._place)
            return new.number, values, lock

    def _hold(self, number: int) -> FileLock | None:
        """The lock of a trial; None while another process has it."""
        lock = FileLock(self.config.out / f".trial-{number}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    def _try(self, number: int, chosen: dict[str, Any]) -> None:
        """Make the run of a trial and tell its outcome."""
        try:
            config = dataclasses.replace(self.config, **chosen, out=self._out(number))
            result = run_distill(config, data=self.data, progress=False)
        except StkdError as error:
            print(f"trial {number}: {flags(chosen)}: failed: {error}", flush=True)
            self.study.tell(number, state=State.FAIL)
            return
        top1 = result.scores["val"]["top1"]
        print(f"trial {number}: {flags(chosen)}: validation accuracy {top1:.2%}", flush=True)
        self.study.tell(number, top1)

    def _out(self, number: int) -> Path:
        return self.config.out / f"trial-{number}"

    def _tuned(self) -> Tuned:
        ended = self.study.get_trials(deepcopy=False, states=(State.COMPLETE, State.FAIL))
        found = [(t.number, options(self.config, t.params), t.value) for t in ended]
        found.sort(key=lambda trial: -1.0 if trial[2] is None else trial[2], reverse=True)
        if not found or found[0][2] is None:
            raise StkdError(f"every trial in {self.config.out} failed; the lines above say why")
        _, best, top1 = found[0]
        left_out = {"out", "val_fraction"}
        chosen = plain(dataclasses.replace(self.config, **best))
        kept = {k: v for k, v in chosen.items() if v is not None and k not in left_out}
        text = f"# Best of {len(found)} trials on validation images: accuracy {top1:.4f}\n"
        recipe = self.config.out / "best.yaml"
        write_atomic(recipe, text + yaml.safe_dump(kept, sort_keys=False))
        return Tuned(best, top1, recipe, found)


def _with_validation(config: DistillConfig) -> DistillConfig:
    """A config with a validation split, held out where the data set has none of its own."""
    has_one = config.val_fraction > 0 or data_of(config).val is not None
    return config if has_one else dataclasses.replace(config, val_fraction=VAL_FRACTION)


def _suggest(trial: optuna.Trial, name: str, span: Range) -> float:
    value: float
    if span.whole:
        value = trial.suggest_int(name, int(span.low), int(span.high))
    else:
        value = trial.suggest_float(name, span.low, span.high, log=span.log)
    return value
