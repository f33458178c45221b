from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stkd.core.config import TrainConfig, to_yaml
from stkd.core.errors import StkdError
from stkd.runs.directory import RunDir, read_result


def config(out: Path, **options: Any) -> TrainConfig:
    return TrainConfig(**{"data": "digits", "model": "cnn2", "out": out, **options})


def started(run: RunDir) -> None:
    """As if a first checkpoint stood there."""
    run.last.write_bytes(b"checkpoint")


def test_keeps_the_resolved_options(tmp_path: Path) -> None:
    RunDir(config(tmp_path / "a" / "run", lr=0.1)).close()
    found = yaml.safe_load((tmp_path / "a" / "run" / "config.yaml").read_text())
    assert found == yaml.safe_load(to_yaml(config(tmp_path / "a" / "run", lr=0.1)))
    assert found["lr"] == 0.1
    assert found["batch_size"] == 64


def test_one_writer(tmp_path: Path) -> None:
    first = RunDir(config(tmp_path / "run"))
    with pytest.raises(StkdError, match="another process is writing"):
        RunDir(config(tmp_path / "run"))
    first.close()
    RunDir(config(tmp_path / "run")).close()


def test_refused_options_leave_no_lock(tmp_path: Path) -> None:
    run = RunDir(config(tmp_path / "run"))
    started(run)
    run.close()
    for _ in range(2):
        with pytest.raises(StkdError, match=r"was started with lr=None, now lr=0\.1; give the same options"):
            RunDir(config(tmp_path / "run", lr=0.1))
    RunDir(config(tmp_path / "run")).close()


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", 7), ("checkpoint_epochs", 3), ("checkpoint_minutes", 1.0), ("tensorboard", True)],
)
def test_options_that_do_not_change_the_outcome_may_change(name: str, value: object, tmp_path: Path) -> None:
    run = RunDir(config(tmp_path / "run"))
    started(run)
    run.close()
    RunDir(config(tmp_path / "run", **{name: value})).close()


@pytest.mark.parametrize("name", ["epochs", "seed", "batch_size", "data", "model", "alpha", "precision", "augment"])
def test_options_that_change_the_outcome_may_not(name: str, tmp_path: Path) -> None:
    other = {"epochs": 3, "seed": 1, "batch_size": 8, "data": "x", "model": "y", "alpha": 2.0, "precision": "32"}
    run = RunDir(config(tmp_path / "run"))
    started(run)
    run.close()
    with pytest.raises(StkdError, match=f"was started with {name}="):
        RunDir(config(tmp_path / "run", **{name: {**other, "augment": "none"}[name]}))


def test_a_directory_can_be_moved(tmp_path: Path) -> None:
    run = RunDir(config(tmp_path / "run"))
    started(run)
    run.close()
    (tmp_path / "run").rename(tmp_path / "moved")
    RunDir(config(tmp_path / "moved")).close()


def test_a_start_that_failed_is_claimed_anew(tmp_path: Path) -> None:
    RunDir(config(tmp_path / "run", model="cnx4")).close()
    RunDir(config(tmp_path / "run", model="cnn4")).close()
    assert "model: cnn4" in (tmp_path / "run" / "config.yaml").read_text()


def test_a_finished_run_without_its_checkpoints_is_not_claimed_anew(tmp_path: Path) -> None:
    run = RunDir(config(tmp_path / "run"))
    run.finish({"epochs": 100})
    run.close()
    with pytest.raises(StkdError, match="was started with seed=0"):
        RunDir(config(tmp_path / "run", seed=1))
    assert read_result(tmp_path / "run") == {"epochs": 100}


def test_hidden_files_do_not_make_a_directory_foreign(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    RunDir(config(tmp_path)).close()


def test_a_process_killed_at_its_very_start_is_not_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it had made when the plug was pulled, the same command starts."""

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for name in ("write_atomic", "remove_temporaries"):
        with monkeypatch.context() as patch:
            patch.setattr(f"stkd.runs.directory.{name}", die)
            with pytest.raises(KeyboardInterrupt):
                RunDir(config(tmp_path / name))
        RunDir(config(tmp_path / name)).close()


def test_damaged_result(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"epochs": ')
    with pytest.raises(StkdError, match=r"result\.json is damaged; delete it"):
        read_result(tmp_path)
    assert read_result(tmp_path / "elsewhere") is None


def test_log_has_a_column_for_every_name(tmp_path: Path) -> None:
    run = RunDir(config(tmp_path / "run"))
    run.log([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "test_top1": 0.5}])
    run.close()
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert lines == ["epoch,loss,test_top1", "1,2.0,", "2,1.0,0.5"]
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[1] == {"epoch": 2, "loss": 1.0, "test_top1": 0.5}


def test_environment_is_recorded(tmp_path: Path) -> None:
    run = RunDir(config(tmp_path / "run"))
    run.write_environment({"data": "abc"})
    run.close()
    found = json.loads((tmp_path / "run" / "env.json").read_text())
    assert found["data"] == "abc"
    assert found["versions"]["torch"]
    assert {"python", "platform", "cpu", "threads", "gpu", "git", "command"} <= set(found)
