from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from stkd.core.errors import StkdError
from stkd.models import create, default_lr, hub


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet21", "resnet20"),
        ("mobilenetv2", "MobileNetV2"),
        ("resnet18", "timm/resnet18"),
        ("vit_b_16", "torchvision/vit_b_16"),
        ("timmm/resnet18", "timm"),
        ("timm/resnet19", "resnet18"),
        ("timm/resnet18.tv_in1", "tv_in1k"),
        ("torchvision/resnet17", "resnet18"),
    ],
)
def test_unknown_names_are_told_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(StkdError, match=rf"unknown .*did you mean .*{hint}"):
        create(name, num_classes=10)


@pytest.mark.parametrize("width", ["0", "8x0", "-1", "1000000000000", "9" * 4400, "8x"], ids=lambda w: w[:9])
def test_impossible_widths_of_a_reused_classifier(width: str) -> None:
    with pytest.raises(StkdError, match="write simkd/STUDENT/WIDTH"):
        create(f"simkd/cnn2/{width}", num_classes=10, in_channels=1, image_size=8)


@pytest.mark.parametrize("sizes", [{"num_classes": 0}, {"in_channels": 0}, {"image_size": 0}, {"image_size": 7}])
def test_impossible_sizes_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(StkdError, match=str(next(iter(sizes.values())))):
        create("resnet8", **({"num_classes": 10} | sizes))


def test_ours_have_no_pretrained_weights() -> None:
    with pytest.raises(StkdError, match="weights file"):
        create("resnet8", num_classes=10, pretrained=True)


def test_learning_rates_are_the_benchmarks() -> None:
    assert {
        name: default_lr(name) for name in ("resnet20", "ShuffleV1", "ShuffleV2", "MobileNetV2", "timm/resnet18")
    } == {
        "resnet20": 0.05,
        "ShuffleV1": 0.01,
        "ShuffleV2": 0.01,
        "MobileNetV2": 0.01,
        "timm/resnet18": 0.05,
    }


@pytest.mark.parametrize("name", ["timm/resnet18", "timm/vit_tiny_patch16_224", "torchvision/resnet18"])
def test_foreign_models_take_grey_images_of_the_size_asked_for(name: str) -> None:
    model = create(name, num_classes=7, in_channels=1, image_size=32)
    assert model.training
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 7)


def test_foreign_models_that_do_not_fit_are_refused_at_once() -> None:
    with pytest.raises(StkdError, match="torchvision/alexnet for images of 32x32"):
        create("torchvision/alexnet", num_classes=10, image_size=32)


def test_auxiliary_outputs_are_refused() -> None:
    with pytest.raises(StkdError, match="auxiliary"):
        create("torchvision/inception_v3", num_classes=10)


def test_outputs_other_than_logits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *args, **options: nn.Identity())
    with pytest.raises(StkdError, match="not logits"):
        create("timm/resnet18", num_classes=10, image_size=8)


@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18", "hf/owner/name"])
def test_failing_to_fetch_weights_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **options: Any) -> nn.Module:
        raise OSError("no route to host\nand a long tail")

    monkeypatch.setattr(hub, "reachable", lambda url: True)
    monkeypatch.setattr(timm, "create_model", unreachable)
    monkeypatch.setattr(timm.models, "load_model_config_from_hf", unreachable)
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(StkdError, match=r"network reachable.*no route to host$") as caught:
        create(name, num_classes=10, pretrained=True)
    assert "\n" not in str(caught.value)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Puts content into the cache of downloads, as torchvision's resnet18."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    url = torchvision.models.ResNet18_Weights.DEFAULT.url
    return lambda content: torch.save(content, folder / url.rpartition("/")[2])


def test_pretrained_torchvision_models_get_new_head_and_stem(published: Callable[[object], None]) -> None:
    original = torchvision.models.resnet18(weights=None)
    published(original.state_dict())
    model = create("torchvision/resnet18", num_classes=7, in_channels=1, pretrained=True)
    assert model.fc.out_features == 7
    torch.testing.assert_close(model.conv1.weight, original.conv1.weight.sum(1, keepdim=True))
    assert torch.equal(model.layer4[1].conv2.weight, original.layer4[1].conv2.weight)


class Foreign:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_pretrained_torchvision_weights_are_read_safely(
    published: Callable[[object], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    published(Foreign())
    with pytest.raises(StkdError, match="cannot build torchvision/resnet18"):
        create("torchvision/resnet18", num_classes=7, pretrained=True)
    assert not (tmp_path / "ran").exists()
