"""Choosing hyper-parameters on validation images: `stkd tune`. The test images are not even loaded into a run."""

from __future__ import annotations

import dataclasses
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock, Timeout

from ..api import OnEpoch, run_distill
from ..core.config import DistillConfig, plain
from ..core.errors import StkdError
from ..core.files import write_atomic
from ..core.processes import check_launch
from ..data.selection import data_of
from ..runs.options import check_unchanged
from .search import Range, flags, options, ranges, usual

try:
    import optuna
except ModuleNotFoundError:
    raise StkdError("stkd tune needs the package optuna: pip install 'stkd[tune]'") from None

State = optuna.trial.TrialState
_ENDED = (State.COMPLETE, State.PRUNED, State.FAIL)

__all__ = ["VAL_FRACTION", "Trial", "Tuned", "tune"]

VAL_FRACTION = 0.2
"""Share of the training images held out where the data set has no validation split of its own."""

_SHELTERED = 1 / 2  # of the epochs; accuracies before say too little about the end


@dataclass(frozen=True)
class Trial:
    """What came of one choice of options.

    Attributes:
        number: Its run directory is trial-NUMBER.
        options: The options, as flags take them.
        outcome: Whether it was trained to the end, given up as hopeless, or failed.
        top1: Validation accuracy after the last epoch; None where it did not get there.
    """

    number: int
    options: dict[str, Any]
    outcome: Literal["finished", "pruned", "failed"]
    top1: float | None


@dataclass(frozen=True)
class Tuned:
    """What came of it.

    Attributes:
        options: Best options by name, as flags take them; `method` holds those of the method.
        top1: Validation accuracy with them.
        recipe: File for `stkd distill --recipe`.
        trials: All of them, best first.
    """

    options: dict[str, Any]
    top1: float
    recipe: Path
    trials: list[Trial]


def tune(config: DistillConfig, *, search: Sequence[str], trials: int, storage: str | None = None) -> Tuned:
    """Look for the options with the best validation accuracy after the last epoch.

    A trial is given up when, past half of its epochs, the best of its validation accuracies so far is below the
    median of those that the finished trials had after the same epoch.

    Args:
        config: All other options; `out` is the directory of the study, trial N is the run directory out/trial-N.
        search: What to choose: alpha, instances, temperature, weight, beta, lr.
        trials: Runs in all, those of earlier calls and of other workers among them.
        storage: Optuna's storage URL, for workers on several machines; default: out/study.db.

    Raises:
        StkdError: Something cannot be searched, or every trial failed.
        Interrupted: A signal asked to stop; the same call goes on.
    """
    check_launch(config.devices)
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
            pruner=optuna.pruners.MedianPruner(n_warmup_steps=math.ceil(config.epochs * _SHELTERED)),
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
            trial, lock = taken
            try:
                self._try(trial, options(self.config, trial.params))
            finally:
                lock.release()
        return self._tuned()

    def _next(self, most: int) -> tuple[optuna.Trial, FileLock] | None:
        """A trial that was interrupted here, else a new one; no other worker of this directory gets the same."""
        with FileLock(self.config.out / ".next.lock"):
            begun = self.study.get_trials(deepcopy=False, states=(State.RUNNING, *_ENDED))
            for trial in begun:
                if trial.state != State.RUNNING or trial.user_attrs.get("place") != self._place:
                    continue
                if (lock := self._hold(trial.number)) is not None:
                    return optuna.Trial(self.study, trial._trial_id), lock
            if len(begun) >= most:
                return None
            new = self.study.ask()
            lock = self._hold(new.number)
            assert lock is not None, "nobody knows this trial yet"
            # by its number, so that a study that was interrupted draws what it would have drawn
            self.study.sampler = optuna.samplers.TPESampler(seed=100_003 * self.config.seed + new.number)
            for name, span in self.ranges.items():
                _suggest(new, name, span)
            new.set_user_attr("place", self._place)
            return new, lock

    def _hold(self, number: int) -> FileLock | None:
        """The lock of a trial; None while another process has it."""
        lock = FileLock(self.config.out / f".trial-{number}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    def _try(self, trial: optuna.Trial, chosen: dict[str, Any]) -> None:
        """Make the run of a trial and tell its outcome."""
        title = f"trial {trial.number}: {flags(chosen)}"
        try:
            config = dataclasses.replace(self.config, **chosen, out=self.config.out / f"trial-{trial.number}")
            result = run_distill(config, data=self.data, progress=False, on_epoch=self._judge(trial))
        except optuna.TrialPruned as pruned:
            print(f"{title}: pruned {pruned}", flush=True)
            self.study.tell(trial, state=State.PRUNED)
        except StkdError as error:
            print(f"{title}: failed: {error}", flush=True)
            self.study.tell(trial, state=State.FAIL)
        else:
            top1 = result.scores["val"]["top1"]
            print(f"{title}: validation accuracy {top1:.2%}", flush=True)
            self.study.tell(trial, top1)

    def _judge(self, trial: optuna.Trial) -> OnEpoch:
        """What is to be done after each epoch of a trial: tell the study how good it is, and give it up if hopeless."""
        told = set(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values)  # before it was interrupted

        def judge(rows: Sequence[Mapping[str, Any]]) -> None:
            scores = {row["epoch"]: row["val_top1"] for row in rows if "val_top1" in row}
            for epoch in sorted(scores.keys() - told):
                trial.report(scores[epoch], epoch)
                told.add(epoch)
            epoch = rows[-1]["epoch"]
            if epoch in scores and epoch < self.config.epochs and trial.should_prune():
                raise optuna.TrialPruned(
                    f"after epoch {epoch} of {self.config.epochs}, validation accuracy {scores[epoch]:.2%}"
                )

        return judge

    def _tuned(self) -> Tuned:
        ended = self.study.get_trials(deepcopy=False, states=_ENDED)
        found = sorted((self._trial(t) for t in ended), key=lambda t: -1.0 if t.top1 is None else t.top1, reverse=True)
        if not found or found[0].top1 is None:
            raise StkdError(f"every trial in {self.config.out} failed; the lines above say why")
        best, top1 = found[0].options, found[0].top1
        left_out = {"out", "val_fraction"}
        chosen = plain(dataclasses.replace(self.config, **best))
        kept = {k: v for k, v in chosen.items() if v is not None and k not in left_out}
        text = f"# Best of {len(found)} trials on validation images: accuracy {top1:.4f}\n"
        recipe = self.config.out / "best.yaml"
        write_atomic(recipe, text + yaml.safe_dump(kept, sort_keys=False))
        return Tuned(best, top1, recipe, found)

    def _trial(self, trial: optuna.trial.FrozenTrial) -> Trial:
        chosen = options(self.config, trial.params)
        if trial.state == State.COMPLETE:
            return Trial(trial.number, chosen, "finished", trial.value)
        return Trial(trial.number, chosen, "pruned" if trial.state == State.PRUNED else "failed", None)


def _with_validation(config: DistillConfig) -> DistillConfig:
    """A config with a validation split, held out where the data set has none of its own."""
    has_one = config.val_fraction > 0 or data_of(config).val is not None
    return config if has_one else dataclasses.replace(config, val_fraction=VAL_FRACTION)


def _suggest(trial: optuna.Trial, name: str, span: Range) -> None:
    """Have the study choose a value; the trial keeps it."""
    if span.whole:
        trial.suggest_int(name, int(span.low), int(span.high))
    else:
        trial.suggest_float(name, span.low, span.high, log=span.log)
