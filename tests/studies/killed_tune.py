"""Tuning in processes that are killed: run by test_tune_kills.py in a process of its own, which forks.

Trials are quick stand-ins that keep their place on the disk as a run does. A process counts what it has reached since
the study was opened - each commit of Optuna's storage and each stage of a trial - and kills itself at a given count. (A
kill before a commit leaves what the commit before left.)
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
from sqlalchemy.orm import Session

from stkd.core.config import DistillConfig
from stkd.studies.tune import study

EPOCHS = 3
reached, kill_at = 0, -1


def point() -> None:
    """A point at which a process may be killed."""
    global reached
    reached += 1
    if reached == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)


def watched(method: Any) -> Any:
    def call(*args: Any, **options: Any) -> Any:
        answer = method(*args, **options)
        point()
        return answer

    return call


def opened(method: Any) -> Any:
    def call(*args: Any, **options: Any) -> Any:
        global reached
        reached = 0
        return method(*args, **options)

    return call


def run(config: DistillConfig, *, on_epoch: Any, **_: Any) -> SimpleNamespace:
    """Stands for api.run_distill: an epoch is a line on the disk, and a function of the options its accuracy."""
    config.out.mkdir(exist_ok=True)
    file = config.out / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    point()
    while len(rows) < EPOCHS:
        assert config.alpha is not None
        rows.append({"epoch": len(rows) + 1, "val_top1": 1 / (1 + config.alpha) + 0.001 * len(rows)})
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        point()
        on_epoch(rows)
        point()
    return SimpleNamespace(scores={"val": {"top1": rows[-1]["val_top1"]}})


def tune(out: Path, trials: int) -> None:
    config = DistillConfig(data="digits", student="cnn2", out=out, epochs=EPOCHS, method="stkd", val_fraction=0.2)
    study.tune(config, search=["alpha", "temperature"], trials=trials)


def in_a_process(out: Path, trials: int, kill: int) -> bool:
    """Tune in a forked process that is killed at a point; whether it came to the end."""
    global kill_at
    kill_at = kill
    if (process := os.fork()) == 0:
        tune(out, trials)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    assert status == 0 or os.WIFSIGNALED(status), status
    return status == 0


def trials_of(out: Path) -> list[Any]:
    """What a study holds in the end: of each trial its number, options, accuracies and outcome."""
    held = optuna.load_study(study_name="stkd", storage=f"sqlite:///{out / 'study.db'}").trials
    return [(t.number, t.params, t.intermediate_values, t.state.name, t.value) for t in held]


def whole(folder: Path, trials: int) -> tuple[list[Any], int]:
    """The trials of a study that nobody interrupts, and the points that it reaches."""
    pipe_out, pipe_in = os.pipe()
    if (process := os.fork()) == 0:
        tune(folder, trials)
        os.write(pipe_in, str(reached).encode())
        os._exit(0)
    os.close(pipe_in)
    points = int(os.read(pipe_out, 100))
    assert os.waitpid(process, 0)[1] == 0
    return trials_of(folder), points


def main(folder: Path) -> None:
    """Print, as JSON, how many kills were survived; any difference is an error."""
    study.run_distill = run  # type: ignore[assignment]
    tune(folder / "imports", 1)  # once for all processes
    Session.commit = watched(Session.commit)  # type: ignore[method-assign]
    study._Tuning.run = opened(study._Tuning.run)  # type: ignore[method-assign]

    # a study of two trials, killed once at each point in turn
    expected, points = whole(folder / "two", 2)
    kills = 0
    for kill in range(1, points + 1):
        out = folder / f"killed-{kill}"
        kills += not in_a_process(out, 2, kill)
        assert in_a_process(out, 2, -1)
        assert trials_of(out) == expected, f"killed at point {kill} of {points}"

    # a study long enough to prune, killed again and again
    expected, _ = whole(folder / "nine", 9)
    chain, out = 0, folder / "chain"
    while not in_a_process(out, 9, 12 + 5 * (chain % 5)):
        chain += 1
        assert chain < 500, "no progress"
    assert trials_of(out) == expected
    states = sorted(state for *_, state, _ in expected)
    print(json.dumps({"kills": kills, "chain": chain, "states": states, "defaults": expected[0][1]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
