"""A tuning study: trials of Optuna, each of them an ordinary run."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from filelock import FileLock, Timeout

from ...api import OnEpoch, run_distill
from ...core.config import DistillConfig, plain
from ...core.errors import StkdError
from ...core.files import write_atomic
from ...core.processes import check_alone
from ...data.selection import data_of
from ...runs.directory import read_metrics, read_result
from ...runs.options import as_begun, check_unchanged
from ...training.choice import SharedChoice
from .space import Range, defaults, flags, options, ranges

try:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError
except ModuleNotFoundError:
    raise StkdError("stkd tune needs the package optuna: pip install 'stkd[tune]'") from None

log = logging.getLogger(__name__)

State = optuna.trial.TrialState
_ENDED = (State.COMPLETE, State.PRUNED, State.FAIL)

__all__ = ["VAL_FRACTION", "Trial", "Tuned", "tune"]

VAL_FRACTION = 0.2
"""Share of the training images held out where the data set has no validation split of its own."""

_NEVER_PRUNED = 1 / 2  # of the epochs; earlier accuracies say too little about the last one


@dataclass(frozen=True)
class Trial:
    """Outcome of one choice of options.

    Attributes:
        number: Its run directory is trial-NUMBER.
        options: The options, as flags take them.
        outcome: Whether it was trained to the last epoch, stopped early as unpromising, or failed.
        top1: Validation accuracy after the last epoch; None if it was not trained so far.
    """

    number: int
    options: dict[str, Any]
    outcome: Literal["finished", "pruned", "failed"]
    top1: float | None


@dataclass(frozen=True)
class Tuned:
    """Outcome of a study.

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
    """Search for the options with the highest validation accuracy after the last epoch.

    The first trial has the default options. A trial is pruned if, after at least half of its epochs, the best of its
    validation accuracies so far is below the median of those that the finished trials had after the same epoch.

    Args:
        config: All other options; `out` is the directory of the study, trial N is the run directory out/trial-N.
        search: Names of the hyper-parameters to choose: alpha, instances, temperature, weight, beta, lr.
        trials: Runs in all, those of earlier calls and of other workers among them.
        storage: Optuna's storage URL, for workers on several machines; default: out/study.db.

    Raises:
        StkdError: Something cannot be searched, or every trial failed.
        Interrupted: A signal asked to stop; the same call goes on.
    """
    check_alone(config.devices)
    return _Tuning(config, search, storage).run(trials)


class _Tuning:
    """A study, and what all its trials share."""

    def __init__(self, config: DistillConfig, search: Sequence[str], storage: str | None) -> None:
        if (begun := config.out / "study.yaml").exists():
            config = as_begun(config, begun)
        self.ranges = ranges(config, search)
        self.config = _with_validation(config)
        self.data = dataclasses.replace(data_of(self.config), test=None)
        self.engines = SharedChoice(config.out / "engines.json")  # all trials have the same method
        config.out.mkdir(parents=True, exist_ok=True)
        self.storage = storage or f"sqlite:///{config.out.absolute() / 'study.db'}"
        with FileLock(config.out / ".next.lock"):  # workers that begin together would all make the tables
            asked = self._asked()
            self.study = self._open(shared=storage is not None)
            write_atomic(config.out / "study.yaml", yaml.safe_dump(asked, sort_keys=False))
        self._place = f"{platform.node()}:{config.out.absolute()}"

    def _open(self, shared: bool) -> optuna.Study:
        """The study in its storage, which is made where it is not there.

        Raises:
            StkdError: It cannot be used.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        own = self.config.out / "study.db"
        try:
            if not shared and own.exists():
                _check_database(own)
            return optuna.create_study(
                storage=self.storage,
                study_name="stkd",
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(n_warmup_steps=math.ceil(self.config.epochs * _NEVER_PRUNED)),
            )
        except Exception as error:  # Optuna, SQLAlchemy and the drivers of databases raise whatever they like
            raise _unusable(self.storage, error) from None

    def _asked(self) -> dict[str, Any]:
        """The options of the study; others than it was begun with are refused: their trials could not be compared."""
        asked = {**plain(self.config), "search": sorted(self.ranges)}
        file = self.config.out / "study.yaml"
        if file.exists():
            check_unchanged(file, asked)
        return asked

    def run(self, trials: int) -> Tuned:
        try:
            return self._run(trials)
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
            raise _unusable(self.storage, error) from None

    def _run(self, trials: int) -> Tuned:
        while (taken := self._next(trials)) is not None:
            trial, lock = taken
            try:
                self._try(trial)
            finally:
                lock.release()
        return self._tuned()

    def _next(self, most: int) -> tuple[optuna.Trial, FileLock] | None:
        """A trial that was interrupted here, else a new one; no other worker of this directory gets the same.

        A new trial enters the storage in one transaction, with this place in it, and takes the same way as an
        interrupted one from there on; so none is lost wherever a process is killed.
        """
        with FileLock(self.config.out / ".next.lock"):
            while True:
                begun = self.study.get_trials(deepcopy=False, states=(State.RUNNING, *_ENDED))
                for trial in begun:
                    if trial.state != State.RUNNING or trial.user_attrs.get("place", self._place) != self._place:
                        continue
                    if (lock := self._hold(trial.number)) is None:
                        continue
                    running = self.study.get_trials(deepcopy=False, states=(State.RUNNING,))
                    if any(trial.number == other.number for other in running):
                        return self._with_values(optuna.Trial(self.study, trial._trial_id)), lock
                    lock.release()  # the worker that had it has ended it since
                if len(begun) >= most:
                    return None
                # The defaults come first, so that the best trial is never worse than they on the validation images.
                first = {} if begun else {"fixed_params": defaults(self.config, self.ranges)}
                self.study.add_trial(
                    optuna.trial.create_trial(
                        state=State.RUNNING, user_attrs={"place": self._place}, system_attrs=first
                    )
                )

    def _with_values(self, trial: optuna.Trial) -> optuna.Trial:
        """The trial with a value for each hyper-parameter: those that it has, and new ones for the others.

        The random numbers of a value depend on the study's seed, the trial's number and the hyper-parameter alone, so
        that an interrupted study draws what it would have drawn.
        """
        for place, (name, span) in enumerate(self.ranges.items()):
            seed = np.random.SeedSequence([self.config.seed, trial.number, place]).generate_state(1)
            self.study.sampler = optuna.samplers.TPESampler(seed=int(seed[0]))
            _suggest(trial, name, span)
        return trial

    def _hold(self, number: int) -> FileLock | None:
        """The lock of a trial; None while another process has it."""
        lock = FileLock(self.config.out / f".trial-{number}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    def _try(self, trial: optuna.Trial) -> None:
        """Make the run of a trial and tell the study its outcome."""
        chosen = options(self.config, trial.params)
        title = f"trial {trial.number}: {flags(chosen)}"
        config = dataclasses.replace(self.config, **chosen, out=self.config.out / f"trial-{trial.number}")
        judge = self._judge(trial)
        try:
            judge(_rows_so_far(config.out))  # an interrupted trial may have ended an epoch that was not judged yet
            result = run_distill(config, data=self.data, progress=False, on_epoch=judge, shared=self.engines)
        except optuna.TrialPruned as pruned:
            log.info("%s: pruned %s", title, pruned)
            self.study.tell(trial, state=State.PRUNED)
        except StkdError as error:
            log.warning("%s: failed: %s", title, error)
            self.study.tell(trial, state=State.FAIL)
        else:
            top1 = result.scores["val"]["top1"]
            log.info("%s: validation accuracy %.2f%%", title, 100 * top1)
            self.study.tell(trial, top1)

    def _judge(self, trial: optuna.Trial) -> OnEpoch:
        """A function that reports each epoch's validation accuracy to the study, and prunes an unpromising trial."""
        reported = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values  # before an interruption
        judged = max(reported, default=0) - 1  # the last report may not have been judged

        def judge(rows: Sequence[Mapping[str, Any]]) -> None:
            nonlocal judged
            for row in rows:
                epoch, score = row["epoch"], row.get("val_top1")
                if score is None or epoch <= judged:
                    continue
                if epoch not in reported:
                    trial.report(score, epoch)
                judged = epoch
                if epoch < self.config.epochs and trial.should_prune():
                    raise optuna.TrialPruned(
                        f"after epoch {epoch} of {self.config.epochs}, validation accuracy {score:.2%}"
                    )

        return judge

    def _tuned(self) -> Tuned:
        ended = self.study.get_trials(deepcopy=False, states=_ENDED)
        trials = sorted((self._trial(t) for t in ended), key=lambda t: -1.0 if t.top1 is None else t.top1, reverse=True)
        self._check_scores(trials)
        if not trials or trials[0].top1 is None:
            raise StkdError(f"every trial in {self.config.out} failed; see the messages above for the reasons")
        best, top1 = trials[0].options, trials[0].top1
        left_out = {"out", "val_fraction"}
        chosen = plain(dataclasses.replace(self.config, **best))
        kept = {k: v for k, v in chosen.items() if v is not None and k not in left_out}
        text = f"# Best of {len(trials)} trials on validation images: accuracy {top1:.4f}\n"
        recipe = self.config.out / "best.yaml"
        write_atomic(recipe, text + yaml.safe_dump(kept, sort_keys=False))
        return Tuned(best, top1, recipe, trials)

    def _check_scores(self, trials: Sequence[Trial]) -> None:
        """Compare the study with the runs of this directory, since a database keeps no digest of its values."""
        for trial in trials:
            result = read_result(self.config.out / f"trial-{trial.number}") if trial.outcome == "finished" else None
            if result is not None and result["val"]["top1"] != trial.top1:
                why = f"trial {trial.number} has the accuracy {trial.top1}, and its run {result['val']['top1']}"
                raise _unusable(self.storage, ValueError(why))

    def _trial(self, trial: optuna.trial.FrozenTrial) -> Trial:
        chosen = options(self.config, trial.params)
        if trial.state == State.COMPLETE:
            return Trial(trial.number, chosen, "finished", trial.value)
        return Trial(trial.number, chosen, "pruned" if trial.state == State.PRUNED else "failed", None)


def _check_database(file: Path) -> None:
    """Have SQLite look through a whole database, which it does not do by itself.

    Raises:
        sqlite3.DatabaseError: It is damaged.
    """
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as database:
        (answer,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise sqlite3.DatabaseError(" ".join(answer.split()))


def _unusable(storage: str, error: Exception) -> StkdError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return StkdError(
        f"the study's storage {storage} cannot be used ({reason}); give --storage a URL such as "
        "sqlite:////DIR/study.db, or leave it out and give another --out"
    )


def _rows_so_far(run: Path) -> list[dict[str, Any]]:
    """Metrics of the epochs that a trial has ended; none where no epoch has, and where the run will report damage."""
    try:
        return read_metrics(run)
    except StkdError:
        return []


def _with_validation(config: DistillConfig) -> DistillConfig:
    """A config with a validation split, held out where the data set has none of its own."""
    has_one = config.val_fraction > 0 or data_of(config).val is not None
    return config if has_one else dataclasses.replace(config, val_fraction=VAL_FRACTION)


def _suggest(trial: optuna.Trial, name: str, span: Range) -> None:
    """Have the study choose a value, unless the trial has one."""
    if span.whole:
        trial.suggest_int(name, int(span.low), int(span.high))
    else:
        trial.suggest_float(name, span.low, span.high, log=span.log)
