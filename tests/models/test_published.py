"""What published weights expect is taken from timm's and torchvision's own tables, without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torchvision
from timm.data import ImageNetInfo, resolve_data_config

from stkd.core.errors import StkdError
from stkd.models.published import published


@pytest.mark.parametrize(
    "name",
    [
        "resnet50.a1_in1k",
        "resnet18",
        "tf_efficientnet_lite0",
        "vit_base_patch16_224.augreg_in21k",
        "mobilenetv3_large_100",
    ],
)
def test_timm(name: str) -> None:
    known = published(f"timm/{name}")
    cfg = timm.get_pretrained_cfg(name).to_dict()
    pixels = resolve_data_config(pretrained_cfg=cfg)
    assert known is not None
    assert (known.size, known.mean, known.std) == (pixels["input_size"][2], tuple(pixels["mean"]), tuple(pixels["std"]))
    assert (known.crop_pct, known.interpolation, known.outputs) == (
        pixels["crop_pct"],
        pixels["interpolation"],
        cfg["num_classes"],
    )
    assert all(len(set(names)) == len(names) == known.outputs for names in known.classes)


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "swin_v2_t", "efficientnet_b1", "inception_v3"])
def test_torchvision(name: str) -> None:
    known = published(f"torchvision/{name}")
    weights = torchvision.models.get_model_weights(name).DEFAULT
    pixels = weights.transforms()
    assert known is not None
    assert [known.size] == pixels.crop_size
    assert known.crop_pct == pytest.approx(pixels.crop_size[0] / pixels.resize_size[0])
    assert (list(known.mean), list(known.std), known.interpolation) == (
        pixels.mean,
        pixels.std,
        pixels.interpolation.value,
    )
    assert known.classes[0][:3] == tuple(weights.meta["categories"][:3])


def test_every_model_has_values_that_a_header_can_hold() -> None:
    for name in timm.list_models(pretrained=True)[::100]:
        known = published(f"timm/{name}")
        assert known is not None
        assert 0 < known.crop_pct <= 1
        assert known.interpolation in ("bilinear", "bicubic")
        assert len(known.mean) == len(known.std)


def test_names_that_a_data_set_uses_are_chosen() -> None:
    known = published("timm/resnet18")
    assert known is not None
    numbers = tuple(ImageNetInfo().label_names())
    assert known.names_for(("n01440764", "n02102040")) == numbers
    words = known.names_for(("tench", "goldfish", "parachute"))
    assert words is not None
    assert {"tench", "goldfish", "parachute"} <= set(words)
    assert words.index("goldfish") == 1
    assert words.index("parachute") == numbers.index("n03888257")


def test_models_without_published_weights() -> None:
    assert published("resnet8") is None
    assert published("simkd/resnet8/64") is None
    for name in ("timm/resnet19", "torchvision/resnet17"):
        with pytest.raises(StkdError, match=r"did you mean .*resnet18"):
            published(name)


@pytest.mark.parametrize("old", [False, True])
def test_folder_of_the_hub(old: bool, tmp_path: Path) -> None:
    pixels = {
        "input_size": [3, 160, 160],
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "crop_pct": 0.9,
        "interpolation": "bilinear",
    }
    config: dict[str, Any] = {"architecture": "test_resnet", "num_classes": 2, "label_names": ["a", "b"]}
    config |= pixels if old else {"pretrained_cfg": pixels}
    (tmp_path / "config.json").write_text(json.dumps(config))
    known = published(f"hf/{tmp_path}")
    assert known is not None
    assert (known.size, known.mean, known.crop_pct, known.interpolation) == (160, (0.5,) * 3, 0.9, "bilinear")
    assert (known.outputs, known.classes) == (2, (("a", "b"),))
