"""Tuning: on validation images alone, resumable, for several workers."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock, Timeout

from stkd import api
from stkd.core.config import DistillConfig
from stkd.core.errors import Interrupted, StkdError
from stkd.core.records import read_record
from stkd.studies.tune import study
from stkd.studies.tune.space import defaults, options, ranges
from stkd.training.learner import Learner

optuna = pytest.importorskip("optuna")


@pytest.fixture
def words(teacher_run: Path, tmp_path: Path) -> list[str]:
    """A study of one-second trials."""
    short = ["--epochs", "1", "--train-images", "64", "--precision", "32", "--accelerator", "cpu"]
    teacher = ["--teacher-weights", str(teacher_run), "--student", "cnn2", "--search", "alpha,temperature,lr"]
    return ["tune", "--data", "digits", *teacher, *short, "--out", str(tmp_path / "study")]


def values(out: Path) -> list[float]:
    """Validation accuracy of each trial, from its run directory."""
    runs = sorted(out.glob("trial-*"), key=lambda p: int(p.name.split("-")[1]))
    return [json.loads((run / "result.json").read_text())["val"]["top1"] for run in runs]


def test_three_trials_then_a_fourth(words: list[str], tmp_path: Path, stkd: Any) -> None:
    out = tmp_path / "study"
    answer = stkd(*words, "--trials", "3")
    assert answer.code == 0, answer.err
    assert len(values(out)) == 3
    assert "trial 0: --method stkd:temperature=4 --alpha 1.0 --lr 0.05: " in answer.err, "the defaults come first"
    best = max(values(out))
    assert f"best of 3 trials: validation accuracy {best:.2%} with --method stkd:temperature=" in answer.out
    assert len({yaml.safe_load(file.read_text())["alpha"] for file in out.glob("trial-*/config.yaml")}) == 3
    shared = read_record(out / "engines.json", needed=True)
    assert all(json.loads(file.read_text())["engines"] == shared for file in out.glob("trial-*/env.json"))
    again = stkd(*words, "--trials", "4")
    assert again.code == 0
    assert again.err.count("trial ") == 1, "the first three are not made again"
    assert len(values(out)) == 4


def test_test_images_are_never_scored(words: list[str], tmp_path: Path, stkd: Any) -> None:
    assert stkd(*words, "--trials", "1").code == 0
    run = tmp_path / "study" / "trial-0"
    assert "test" not in json.loads((run / "result.json").read_text())
    assert "test_top1" not in (run / "metrics.jsonl").read_text()
    assert yaml.safe_load((run / "config.yaml").read_text())["val_fraction"] == 0.2


def test_best_recipe_trains_on_all_images(words: list[str], tmp_path: Path, stkd: Any) -> None:
    assert stkd(*words, "--trials", "2").code == 0
    recipe = tmp_path / "study" / "best.yaml"
    assert stkd("distill", "--recipe", recipe, "--out", tmp_path / "final").code == 0
    made = yaml.safe_load((tmp_path / "final" / "config.yaml").read_text())
    assert made["val_fraction"] == 0
    trials = [yaml.safe_load((tmp_path / "study" / f"trial-{n}" / "config.yaml").read_text()) for n in range(2)]
    best = trials[max(range(2), key=values(tmp_path / "study").__getitem__)]
    assert [made[n] for n in ("method", "alpha", "lr", "epochs")] == [
        best[n] for n in ("method", "alpha", "lr", "epochs")
    ]


def test_interrupted_trial_goes_on(words: list[str], tmp_path: Path, stkd: Any, monkeypatch: Any) -> None:
    whole = [*words[:-1], str(tmp_path / "whole")]
    assert stkd(*whole, "--trials", "3").code == 0
    run, made = api.run_distill, []

    def stopped(config: DistillConfig, **given: Any) -> Any:
        made.append(config.out.name)
        if len(made) == 2:
            raise Interrupted(15, "stopped")
        return run(config, **given)

    monkeypatch.setattr("stkd.studies.tune.study.run_distill", stopped)
    assert stkd(*words, "--trials", "3").code == 143
    assert stkd(*words, "--trials", "3").code == 0
    assert made == ["trial-0", "trial-1", "trial-1", "trial-2"]
    assert values(tmp_path / "study") == values(tmp_path / "whole")


def test_another_worker_takes_another_trial(words: list[str], tmp_path: Path, stkd: Any, monkeypatch: Any) -> None:
    run, made = api.run_distill, []

    def crowded(config: DistillConfig, **given: Any) -> Any:
        made.append(config.out.name)
        if len(made) == 1:
            assert stkd(*words, "--trials", "2").code == 0  # while this one is at work
        return run(config, **given)

    monkeypatch.setattr("stkd.studies.tune.study.run_distill", crowded)
    assert stkd(*words, "--trials", "2").code == 0
    assert made == ["trial-0", "trial-1"]


def test_a_trial_that_another_worker_ends_meanwhile(words: list[str], stkd: Any, monkeypatch: Any) -> None:
    """It is listed as running, and its lock is free a moment later."""
    with monkeypatch.context() as patch:
        patch.setattr("stkd.studies.tune.study.run_distill", interrupted)
        assert stkd(*words, "--trials", "2").code == 143
    hold, made = study._Tuning._hold, []

    def ended(self: Any, number: int) -> Any:
        made.append(number)
        if len(made) == 1:
            self.study.tell(number, 0.5)
        return hold(self, number)

    monkeypatch.setattr(study._Tuning, "_hold", ended)
    assert stkd(*words, "--trials", "2").code == 0
    assert made == [0, 1]


def interrupted(*_: Any, **__: Any) -> Any:
    raise Interrupted(15, "stopped")


def test_workers_that_begin_together_make_one_study(
    words: list[str], tmp_path: Path, stkd: Any, monkeypatch: Any
) -> None:
    lock, made = tmp_path / "study" / ".next.lock", optuna.create_study

    def create(**given: Any) -> Any:
        with pytest.raises(Timeout):  # another worker waits
            FileLock(lock, timeout=0).acquire()
        return made(**given)

    monkeypatch.setattr(optuna, "create_study", create)
    assert stkd(*words, "--trials", "1").code == 0


def test_failed_trials_are_told_and_the_others_count(
    words: list[str], tmp_path: Path, stkd: Any, monkeypatch: Any
) -> None:
    run = api.run_distill

    def failing(config: DistillConfig, **given: Any) -> Any:
        if config.out.name != "trial-1":
            raise StkdError("the loss became NaN")
        return run(config, **given)

    monkeypatch.setattr("stkd.studies.tune.study.run_distill", failing)
    answer = stkd(*words, "--trials", "1")
    assert answer.code == 2
    assert "every trial in" in answer.err
    answer = stkd(*words, "--trials", "3")
    assert answer.code == 0
    assert "trial 2:" in answer.err
    assert "failed: the loss became NaN" in answer.err


@pytest.fixture
def three_epochs(words: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A study whose trials score as told: trial 5 begins worse than the others, though better than they end."""

    def scores(self: Learner, _: object) -> dict[str, dict[str, float]]:
        assert [self.data.val is None, self.data.test is None] == [False, True]
        begin = 0.25 if self.config.out.name == "trial-5" else 0.3
        return {"val": {"top1": begin if self.state.epoch + 1 < 3 else 0.2, "nll": 1.0}}

    monkeypatch.setattr(Learner, "_scores", scores)
    return [*words, "--epochs", "3"]


def test_hopeless_trials_are_pruned(three_epochs: list[str], tmp_path: Path, stkd: Any) -> None:
    answer = stkd(*three_epochs, "--trials", "7")
    assert answer.code == 0, answer.err
    lines = answer.err.splitlines()
    assert re.fullmatch(
        r"stkd: note: trial 5: --method .*: pruned after epoch 2 of 3, validation accuracy 25.00%", lines[5]
    )
    assert lines[6].endswith(": validation accuracy 20.00%"), "the next one goes on"
    assert answer.out.startswith("best of 7 trials (1 pruned): validation accuracy 20.00% "), (
        "25 % was not the last epoch"
    )
    assert not (tmp_path / "study" / "trial-5" / "result.json").exists()
    again = stkd(*three_epochs, "--trials", "7")
    assert (again.out, again.err) == (answer.out, "")


def test_nothing_is_pruned_without_evaluations_on_the_way(three_epochs: list[str], stkd: Any) -> None:
    answer = stkd(*three_epochs, "--trials", "6", "--eval-every", "3")
    assert answer.code == 0, answer.err
    assert answer.err.count("validation accuracy 20.00%") == 6


def test_trial_that_was_killed_is_pruned_later(
    three_epochs: list[str], tmp_path: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had told the study before counts, and is told once."""
    assert stkd(*three_epochs, "--trials", "4").code == 0
    run, interrupted = api.run_distill, []

    def stopped(config: DistillConfig, on_epoch: api.OnEpoch, **given: Any) -> Any:
        def stop(rows: Any) -> None:
            on_epoch(rows)
            if config.out.name == "trial-5" and not interrupted:
                interrupted.append(rows[-1]["epoch"])
                raise Interrupted(15, "stopped")

        return run(config, on_epoch=stop, **given)

    monkeypatch.setattr("stkd.studies.tune.study.run_distill", stopped)
    assert stkd(*three_epochs, "--trials", "6").code == 143
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # as Optuna says that something was told twice
        answer = stkd(*three_epochs, "--trials", "6")
    assert answer.code == 0
    assert interrupted == [1]
    assert "pruned after epoch 2 of 3" in answer.err
    study = optuna.load_study(study_name="stkd", storage=f"sqlite:///{tmp_path / 'study' / 'study.db'}")
    assert study.trials[5].intermediate_values == {1: 0.25, 2: 0.25}
    assert len((tmp_path / "study" / "trial-5" / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("--search", "alpah"), "unknown hyper-parameter 'alpah'; did you mean alpha?"),
        (("--search", ""), "nothing to search"),
        (("--search", "temperature", "--method", "sp"), "method 'sp' has no temperature to search"),
        (("--search", "alpha", "--method", "kd"), "method 'kd' makes no virtual samples, so there is no alpha"),
    ],
)
def test_mistakes(changed: tuple[str, ...], said: str, words: list[str], tmp_path: Path, stkd: Any) -> None:
    answer = stkd(*words, *changed)
    assert answer.code == 2
    assert said in answer.err
    assert not (tmp_path / "study").exists()


def test_study_of_other_options_is_refused(words: list[str], stkd: Any) -> None:
    assert stkd(*words, "--trials", "1").code == 0
    answer = stkd(*words, "--trials", "2", "--epochs", "2")
    assert answer.code == 2
    assert "was started with epochs=1, now epochs=2" in answer.err


def test_optuna_is_optional(words: list[str], stkd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "stkd.studies.tune.study", raising=False)
    answer = stkd(*words)
    assert answer.code == 2
    assert answer.err == "stkd: error: stkd tune needs the package optuna: pip install 'stkd[tune]'\n"


def test_samples_are_those_of_all_options() -> None:
    """A method on single images may be searched where real rows stay beside the virtual ones."""
    config = DistillConfig(data="digits", student="cnn2", out=Path("run"), method="crd+stkd", beside=True)
    assert ranges(config, ["alpha"])["alpha"].log


def test_method_of_a_plugin(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "from stkd.methods import Method, methods\n"
        '@methods.register("mine", "for a test")\n'
        "@dataclass(frozen=True)\n"
        "class Mine(Method):\n"
        "    temperature: float = 3.0\n"
    )
    config = DistillConfig(data="digits", student="cnn2", out=Path("run"), method="mine", plugin=plugin)
    assert ranges(config, ["temperature"])
    assert defaults(config, ["temperature"]) == {"temperature": 3.0}


def test_values_are_written_with_three_digits_where_they_belong() -> None:
    config = DistillConfig(data="digits", student="cnn2", out=Path("run"), method="stkd:beta=2,weight=0.5")
    found = options(config, {"weight": 0.123456, "alpha": 0.98765, "instances": 3, "lr": 0.0123456})
    assert found == {"method": "stkd:beta=2,weight=0.123", "alpha": 0.988, "instances": 3, "lr": 0.0123}


def test_learning_rate_is_looked_for_around_the_usual_one() -> None:
    config = DistillConfig(data="digits", student="ShuffleV2", out=Path("run"), batch_size=128)
    span = ranges(config, ["lr"])["lr"]
    assert (span.low, span.high, span.log) == (pytest.approx(0.004), pytest.approx(0.1), True)


@pytest.mark.parametrize("storage", ["nonsense", "foo://bar", "sqlite:////nowhere/at/all.db"])
def test_a_storage_that_cannot_be_used(storage: str, words: list[str], tmp_path: Path, stkd: Any) -> None:
    answer = stkd(*words, "--trials", "1", "--storage", storage)
    assert answer.code == 2
    assert answer.err.startswith(f"stkd: error: the study's storage {storage} cannot be used")
    assert answer.err.count("\n") == 1
    assert [file.name for file in (tmp_path / "study").iterdir()] == [".next.lock"]


def test_a_storage_that_is_cut(words: list[str], tmp_path: Path, stkd: Any) -> None:
    study = tmp_path / "study"
    study.mkdir()
    (study / "study.db").write_bytes(b"SQLite format 3\0" + b"\x10\0" * 40)
    answer = stkd(*words, "--trials", "1")
    assert answer.code == 2
    assert "study.db cannot be used" in answer.err
    assert answer.err.count("\n") == 1


def test_no_trials(words: list[str], stkd: Any) -> None:
    assert "--trials must be at least 1, got 0" in stkd(*words, "--trials", "0").err


def test_a_study_that_is_not_what_its_runs_say(words: list[str], tmp_path: Path, stkd: Any) -> None:
    """A flipped bit in a value is no damage for a database; in its pages it is."""
    assert stkd(*words, "--trials", "1").code == 0
    file = tmp_path / "study" / "study.db"
    whole = file.read_bytes()
    with sqlite3.connect(file) as database:
        database.execute("update trial_values set value = value / 2")
    database.close()
    answer = stkd(*words, "--trials", "1")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "trial 0 has the accuracy " in answer.err
    for damaged in (whole[:5000], whole[:-4096], whole[:4096] + bytes(8192) + whole[12288:], b"x" * 9000):
        file.write_bytes(damaged)
        answer = stkd(*words, "--trials", "1")
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert "cannot be used (" in answer.err
    file.write_bytes(whole)
    assert stkd(*words, "--trials", "1").code == 0
