from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stkd.api import run_train
from stkd.cli.main import _parser
from stkd.core.config import (
    DistillConfig,
    RunConfig,
    TrainConfig,
    build,
    groups,
    to_yaml,
)
from stkd.core.errors import StkdError
from stkd.core.options import checked, config_from
from stkd.core.recipes import find_recipe, read_recipe, recipes
from stkd.models import default_lr


def parsed(command: str, config: type[RunConfig] = TrainConfig) -> RunConfig:
    """The config that a command line resolves to."""
    words = command.split()
    return config_from(config, _parser().parse_args(words)[words[0]])


TRAIN = "train --data digits --model cnn2 --out run"


def test_defaults_are_those_of_the_dataclass() -> None:
    assert parsed(TRAIN) == TrainConfig(data="digits", model="cnn2", out=Path("run"))


def test_flags_are_typed() -> None:
    config = parsed(f"{TRAIN} --epochs 3 --lr 1e-3 --nesterov true --milestones [0.5,0.75] --clip-norm 1 --mix cutmix")
    assert (config.epochs, config.lr, config.nesterov, config.clip_norm) == (3, 0.001, True, 1.0)
    assert config.milestones == (0.5, 0.75)
    assert config.mix == "cutmix"
    assert config.out == Path("run")


def test_flag_beats_recipe_beats_default(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("epochs: 7\nbatch-size: 32\nlr: 0.2\nmilestones: [2, 3]\nschedule: multistep\n")
    config = parsed(f"{TRAIN} --recipe {tmp_path / 'r.yaml'} --epochs 9")
    assert (config.epochs, config.batch_size, config.lr, config.momentum) == (9, 32, 0.2, 0.9)
    assert config.milestones == (2.0, 3.0)


def test_a_recipe_may_hold_everything(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text("data: digits\nmodel: cnn4\nout: there\n")
    config = parsed(f"train --recipe {tmp_path / 'r.yml'}")
    assert isinstance(config, TrainConfig)
    assert (config.data, config.model, config.out) == ("digits", "cnn4", Path("there"))


def test_a_flag_at_its_default_beats_the_recipe_too(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("batch_size: 32\nnesterov: true\n")
    config = parsed(f"{TRAIN} --recipe {tmp_path / 'r.yaml'} --batch-size 64 --nesterov false")
    assert config.batch_size == 64
    assert config.nesterov is False


@given(
    epochs=st.integers(1, 10**6),
    lr=st.none() | st.floats(1e-12, 1e12),
    mix=st.sampled_from([None, "none", "mixup", "cutmix"]),
    milestones=st.lists(st.floats(0.01, 0.99), max_size=4).map(sorted),
    data=st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1).map("folder:".__add__),
    beside=st.none() | st.booleans(),
)
def test_yaml_round_trip(**options: Any) -> None:
    config = DistillConfig(student="cnn2", out=Path("run"), teacher_weights=Path("t.pth"), **options)
    assert build(DistillConfig, checked(DistillConfig, yaml.safe_load(to_yaml(config)))) == config


def test_resolved_config_is_a_recipe_that_repeats_the_run(tmp_path: Path) -> None:
    config = parsed(f"{TRAIN} --epochs 3 --milestones [0.5,0.75] --ema 0.99")
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert parsed(f"train --recipe {tmp_path / 'config.yaml'}") == config


def test_crd_recipe() -> None:
    config = parsed("distill --data digits --student resnet8x4 --out run --recipe crd", DistillConfig)
    assert (config.epochs, config.batch_size, config.optimizer, config.momentum) == (240, 64, "sgd", 0.9)
    assert (config.weight_decay, config.schedule, config.gamma) == (5e-4, "multistep", 0.1)
    assert config.milestones == (150.0, 180.0, 210.0)
    assert config.lr is None, "the model's own"


@pytest.mark.parametrize(
    ("model", "lr"),
    [("resnet20", 0.05), ("vgg8", 0.05), ("wrn_16_2", 0.05)]
    + [(name, 0.01) for name in ("MobileNetV2", "ShuffleV1", "ShuffleV2")]
    + [("timm/resnet18", 0.05), ("Sequential", 0.05)],
)
def test_usual_learning_rate(model: str, lr: float) -> None:
    assert default_lr(model) == lr


@pytest.mark.parametrize(
    ("options", "lr"),
    [
        ({"model": "cnn2"}, 0.05 * 32 / 64),
        ({"model": "ShuffleV2"}, 0.01 * 32 / 64),
        ({"model": "cnn2", "optimizer": "adamw"}, 0.001),
        ({"model": "cnn2", "lr": 0.3}, 0.3),
    ],
)
def test_learning_rate_of_a_run(options: dict[str, Any], lr: float, tmp_path: Path) -> None:
    given = {"data": "digits", "epochs": 1, "train_images": 32, "batch_size": 32, "precision": "32", **options}
    result = run_train(TrainConfig(out=tmp_path / "run", **given))
    assert result.scores["lr"] == pytest.approx(lr)


def test_shipped_recipes_are_valid() -> None:
    assert "crd" in recipes()
    for name in recipes():
        options = read_recipe(find_recipe(name))
        checked(DistillConfig, options)
        assert find_recipe(name).read_text().startswith("# ")


@pytest.mark.parametrize("config", [TrainConfig, DistillConfig])
def test_every_option_is_documented_once(config: type[RunConfig]) -> None:
    shown = [field.name for fields in groups(config).values() for field in fields]
    assert sorted(shown) == sorted(field.name for field in dataclasses.fields(config))
    assert all(field.metadata["help"] for field in dataclasses.fields(config))


@pytest.mark.parametrize("name", ["epoch", "learning_rate", ""])
def test_unknown_option_from_python(name: str) -> None:
    with pytest.raises(StkdError, match="unknown option"):
        build(TrainConfig, {"data": "digits", "model": "cnn2", "out": "run", name: 1})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 10**12}, "epochs must be at most 1,000,000,000, got 1,000,000,000,000"),
        ({"batch_size": 10**12}, "batch_size must be at most 1,000,000"),
        ({"workers": 10**9}, "workers must be at most 1024"),
        ({"devices": 10**9}, "devices must be at most 1024"),
        ({"image_size": 10**9}, "image_size must be at most 4096"),
        *(({"teacher_size": size}, "teacher_size must be at") for size in (-1, 0, 10**9)),
        *(({name: seed}, f"{name} must be at") for name in ("seed", "data_seed", "split_seed") for seed in (-1, 2**63)),
        ({"milestones": (math.nan,)}, "milestones must be finite, got nan"),
        ({"teacher_mean": (math.inf,)}, "teacher_mean must be finite, got inf"),
        ({"checkpoint_minutes": math.inf}, "checkpoint_minutes must be finite"),
        ({"plugin": Path("a\0b")}, "plugin has a zero byte"),
        ({"more_teachers": (Path("a\0b"),)}, "more_teachers has a zero byte"),
    ],
    ids=str,
)
def test_out_of_range(options: dict[str, Any], said: str) -> None:
    given = {"data": "digits", "student": "cnn2", "out": Path("run"), **options}
    with pytest.raises(StkdError, match=re.escape(said)):
        DistillConfig(**given)
