from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from stkd import models
from stkd.core.config import TrainConfig, to_yaml
from stkd.core.errors import StkdError
from stkd.models.files import ModelInfo
from stkd.runs.directory import RunDirectory, finished_result, read_metrics, read_result
from stkd.runs.verification import verify


def config(out: Path, **options: Any) -> TrainConfig:
    return TrainConfig(**{"data": "digits", "model": "cnn2", "out": out, **options})


def started(run: RunDirectory) -> None:
    """As if a first checkpoint stood there."""
    run.last.write_bytes(b"checkpoint")


def test_keeps_the_resolved_options(tmp_path: Path) -> None:
    RunDirectory(config(tmp_path / "a" / "run", lr=0.1)).close()
    found = yaml.safe_load((tmp_path / "a" / "run" / "config.yaml").read_text())
    assert found == yaml.safe_load(to_yaml(config(tmp_path / "a" / "run", lr=0.1)))
    assert found["lr"] == 0.1
    assert found["batch_size"] == 64


def test_one_writer(tmp_path: Path) -> None:
    first = RunDirectory(config(tmp_path / "run"))
    with pytest.raises(StkdError, match="another process is writing"):
        RunDirectory(config(tmp_path / "run"))
    first.close()
    RunDirectory(config(tmp_path / "run")).close()


def test_refused_options_leave_no_lock(tmp_path: Path) -> None:
    run = RunDirectory(config(tmp_path / "run"))
    started(run)
    run.close()
    for _ in range(2):
        with pytest.raises(StkdError, match=r"was started with lr=None, now lr=0\.1; give the same options"):
            RunDirectory(config(tmp_path / "run", lr=0.1))
    RunDirectory(config(tmp_path / "run")).close()


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", 7), ("checkpoint_epochs", 3), ("checkpoint_minutes", 1.0), ("tensorboard", True)],
)
def test_options_that_do_not_change_the_outcome_may_change(name: str, value: object, tmp_path: Path) -> None:
    run = RunDirectory(config(tmp_path / "run"))
    started(run)
    run.close()
    RunDirectory(config(tmp_path / "run", **{name: value})).close()


@pytest.mark.parametrize("name", ["epochs", "seed", "batch_size", "data", "model", "alpha", "precision", "augment"])
def test_options_that_change_the_outcome_may_not(name: str, tmp_path: Path) -> None:
    other = {"epochs": 3, "seed": 1, "batch_size": 8, "data": "x", "model": "y", "alpha": 2.0, "precision": "32"}
    run = RunDirectory(config(tmp_path / "run"))
    started(run)
    run.close()
    with pytest.raises(StkdError, match=f"was started with {name}="):
        RunDirectory(config(tmp_path / "run", **{name: {**other, "augment": "none"}[name]}))


def test_a_directory_can_be_moved(tmp_path: Path) -> None:
    run = RunDirectory(config(tmp_path / "run"))
    started(run)
    run.close()
    (tmp_path / "run").rename(tmp_path / "moved")
    RunDirectory(config(tmp_path / "moved")).close()


def test_a_start_that_failed_is_claimed_anew(tmp_path: Path) -> None:
    RunDirectory(config(tmp_path / "run", model="cnx4")).close()
    RunDirectory(config(tmp_path / "run", model="cnn4")).close()
    assert "model: cnn4" in (tmp_path / "run" / "config.yaml").read_text()


def finish(run: RunDirectory) -> dict[str, Any]:
    """End a run with the weights of a new model."""
    module = models.create("cnn2", num_classes=2)
    info = ModelInfo("cnn2", ("cat", "dog"), 3, 8, (0.5,) * 3, (0.25,) * 3)
    result = {"epochs": 100, "lr": 0.1, "mix": {"kind": "none", "instances": 1}, "seconds": 1.0, "images_seen": 10}
    return run.finish(result, {"": module, "_ema": module}, info, "")


def test_a_finished_run_without_its_checkpoints_is_not_claimed_anew(tmp_path: Path) -> None:
    with RunDirectory(config(tmp_path / "run")) as run:
        result = finish(run)
    with pytest.raises(StkdError, match="was started with seed=0"):
        RunDirectory(config(tmp_path / "run", seed=1))
    assert read_result(tmp_path / "run") == result
    assert sorted(result["weights"]) == ["model.safetensors", "model_ema.safetensors"]
    with RunDirectory(config(tmp_path / "run")) as run:
        assert run.result == result


@pytest.mark.parametrize("name", ["model.safetensors", "model_ema.safetensors"])
def test_weights_that_were_deleted_are_written_again_from_the_checkpoint(name: str, tmp_path: Path) -> None:
    with RunDirectory(config(tmp_path / "run")) as run:
        finish(run)
    (tmp_path / "run" / name).unlink()
    with pytest.raises(StkdError, match=f"lost its {name} and its checkpoint; delete"):
        RunDirectory(config(tmp_path / "run"))
    started(run)
    with RunDirectory(config(tmp_path / "run")) as run:
        assert run.result is None


def test_weights_that_were_changed_are_not_taken_for_the_run(tmp_path: Path) -> None:
    with RunDirectory(config(tmp_path / "run")) as run:
        finish(run)
    file = tmp_path / "run" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(StkdError, match=r"model\.safetensors is not the file that this run wrote; put that back, or"):
        RunDirectory(config(tmp_path / "run"))


def test_the_end_of_a_run_is_one_transaction(tmp_path: Path, killed_at_write: Any) -> None:
    """Killed before its files are written, a run is not finished; killed after, the next start puts them in place."""
    for writes in range(11):
        path = tmp_path / str(writes)
        with RunDirectory(config(path)) as run, killed_at_write(writes), suppress(KeyboardInterrupt):
            finish(run)
        files = {"model.safetensors", "model_ema.safetensors", "README.md", "result.json"}
        # 4 written, entered in the manifest, all renamed, 4 put in their places
        assert (finished_result(path) is not None) == (writes == 10)
        assert "damaged" not in verify(path).values()
        with RunDirectory(config(path)) as run:
            assert (run.result is not None) == (writes >= 6)
            assert {file.name for file in path.iterdir()} >= (files if writes >= 6 else set())
            assert not {file.name for file in path.iterdir()} & (files if writes < 6 else {".end", ".end-unwritten"})


def test_a_run_of_an_earlier_version_without_its_model_card_gets_it(tmp_path: Path) -> None:
    with RunDirectory(config(tmp_path / "run")) as run:
        result = finish(run)
    file = tmp_path / "run" / "result.json"
    (tmp_path / "run" / "manifest.json").unlink()
    file.write_text(json.dumps({k: v for k, v in result.items() if k not in ("weights", "teacher")}))
    card = tmp_path / "run" / "README.md"
    before = card.read_bytes()
    card.unlink()
    with RunDirectory(config(tmp_path / "run")) as run:
        assert run.result is not None
    assert card.read_bytes() == before


def test_hidden_files_do_not_make_a_directory_foreign(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    RunDirectory(config(tmp_path)).close()


def test_a_process_killed_at_its_very_start_is_not_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at_write: Any
) -> None:
    """Whatever it had made when the plug was pulled, the same command starts."""

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for writes in range(2):  # the manifest, and the options
        with killed_at_write(writes), pytest.raises(KeyboardInterrupt):
            RunDirectory(config(tmp_path / str(writes)))
        RunDirectory(config(tmp_path / str(writes))).close()
    with monkeypatch.context() as patch:
        patch.setattr("stkd.runs.directory.remove_temporaries", die)
        with pytest.raises(KeyboardInterrupt):
            RunDirectory(config(tmp_path / "last"))
    RunDirectory(config(tmp_path / "last")).close()


def test_damaged_result(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"epochs": ')
    with pytest.raises(StkdError, match=r"result\.json is damaged; delete it"):
        read_result(tmp_path)
    assert read_result(tmp_path / "elsewhere") is None


def test_metrics_are_a_row_an_epoch(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "test_top1": 0.5}]
    with RunDirectory(config(tmp_path / "run")) as run:
        run.log(rows)
    assert read_metrics(tmp_path / "run") == rows
    with RunDirectory(config(tmp_path / "run")) as run:  # goes on from a checkpoint after the first epoch
        run.log(rows[:1])
        assert read_metrics(tmp_path / "run") == rows[:1]
        run.log([*rows[:1], *rows])
        assert read_metrics(tmp_path / "run") == [*rows[:1], *rows]
    for text in ("", "{", "[1]\n"):
        (tmp_path / "run" / "metrics.jsonl").write_text(text)
        with pytest.raises(StkdError, match=r"metrics\.jsonl is missing or damaged"):
            read_metrics(tmp_path / "run")


def test_environment_is_recorded(tmp_path: Path) -> None:
    with RunDirectory(config(tmp_path / "run")) as run:
        run.record_environment({"data": "abc"})
    found = json.loads((tmp_path / "run" / "env.json").read_text())
    assert found["data"] == "abc"
    assert found["versions"]["torch"]
    assert {"python", "platform", "cpu", "threads", "gpu", "git", "command"} <= set(found)


def test_a_resumed_run_keeps_the_environment_that_it_started_in(tmp_path: Path) -> None:
    for device in ("first", "again", "cpu", "cuda:0"):
        with RunDirectory(config(tmp_path / "run")) as run:
            run.record_environment({"device": device})
            if device == "again":  # nothing was trained in the first one
                started(run)
    found = json.loads((tmp_path / "run" / "env.json").read_text())
    assert [found["device"], *(later["device"] for later in found["resumed"])] == ["again", "cpu", "cuda:0"]
