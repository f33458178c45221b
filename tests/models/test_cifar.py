"""The CIFAR zoo against values computed with the benchmark's own code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stkd.models import Taps, create, models, stages

ORACLES = np.load(Path(__file__).parents[1] / "data" / "models.npz", allow_pickle=False)
META = json.loads(str(ORACLES["meta.json"]))
ZOO = sorted(META)
FAST = ["resnet8", "resnet8x4", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"]


def reference_images() -> Tensor:
    return torch.cos(0.013 * torch.arange(2 * 3 * 32 * 32, dtype=torch.float64)).reshape(2, 3, 32, 32)


def set_reference_weights(model: nn.Module) -> None:
    state = model.state_dict()
    for i, name in enumerate(sorted(state)):
        tensor = state[name]
        if not tensor.is_floating_point():
            continue
        wave = torch.sin(0.7 * torch.arange(tensor.numel(), dtype=torch.float64) + i).reshape(tensor.shape)
        if name.endswith("running_var"):
            wave = 1 + 0.5 * wave * wave
        elif name.endswith(("running_mean", "bias")):
            wave = 0.1 * wave
        elif tensor.dim() == 1:
            wave = 1 + 0.1 * wave
        else:
            wave = wave * (tensor.shape[0] / tensor.numel()) ** 0.5
        tensor.copy_(wave)


def test_oracles_cover_the_benchmark() -> None:
    assert len(ZOO) == 22


@pytest.mark.parametrize("name", ZOO)
def test_equals_reference(name: str) -> None:
    model = create(name, num_classes=100).double().eval()
    state = model.state_dict()
    assert {key: list(tensor.shape) for key, tensor in state.items()} == META[name]["state_dict"]
    assert sum(parameter.numel() for parameter in model.parameters()) == META[name]["params"]

    set_reference_weights(model)
    images = reference_images()
    with torch.no_grad(), Taps(model, [*stages(model, images), "pooled"]) as taps:
        logits = model(images)
        features = taps.take()
    np.testing.assert_allclose(logits.numpy(), ORACLES[name], rtol=1e-8, atol=1e-10)
    assert [list(tensor.shape) for tensor in features.values()] == META[name]["features"]


@pytest.mark.parametrize("name", ZOO)
def test_preactivation_taps_have_the_features_shapes(name: str) -> None:
    model = create(name, num_classes=100).eval()
    images = torch.randn(2, 3, 32, 32)
    names = stages(model, images, preact=True)
    with torch.no_grad(), Taps(model, names) as taps:
        model(images)
        features = taps.take()
    assert [list(tensor.shape) for tensor in features.values()] == META[name]["features"][:-1]


@pytest.mark.parametrize("name", ["resnet14", "resnet8x4", "ResNet50", "vgg11", "ShuffleV1"])
def test_preactivation_becomes_the_feature_by_relu(name: str) -> None:
    model = create(name, num_classes=10).eval()
    images = torch.randn(2, 3, 32, 32)
    after, before = stages(model, images)[1:], stages(model, images, preact=True)[1:]
    with torch.no_grad(), Taps(model, [*after, *before]) as taps:
        model(images)
        features = taps.take()
    for feature, preactivation in zip(after, before, strict=True):
        assert bool((features[preactivation] < 0).any())
        torch.testing.assert_close(features[preactivation].relu(), features[feature])


@pytest.mark.parametrize("size", [8, 16, 28, 64])
@pytest.mark.parametrize("name", [*FAST, "cnn4"])
def test_takes_grey_images_of_other_sizes(name: str, size: int) -> None:
    model = create(name, num_classes=7, in_channels=1, image_size=size)
    logits = model(torch.randn(2, 1, size, size))
    assert logits.shape == (2, 7)
    assert bool(logits.isfinite().all())


def test_vgg_pools_once_more_at_64_pixels() -> None:
    model = create("vgg8", num_classes=10).eval()
    last = []
    for size in (8, 32, 64):
        with torch.no_grad(), Taps(model, ["block4"]) as taps:
            model(torch.randn(1, 3, size, size))
            last.append(taps.take()["block4"].shape[-1])
    assert last == [1, 4, 4]


@pytest.mark.parametrize("name", [*FAST, "cnn8"])
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(0)
    model = create(name, num_classes=10)
    loss = nn.functional.cross_entropy(model(torch.randn(4, 3, 32, 32)), torch.arange(4))
    loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.isfinite().all()), key


@pytest.mark.parametrize("name", ["resnet20", "wrn_16_2", "vgg11", "MobileNetV2"])
def test_initial_convolutions_have_he_variance_over_fan_out(name: str) -> None:
    torch.manual_seed(0)
    model = create(name, num_classes=100)
    for key, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            fan_out = module.weight.shape[0] * module.weight[0, 0].numel()
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1), key
            assert module.bias is None or not bool(module.bias.any()), key
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all()), key
            assert not bool(module.bias.any()), key


def test_zoo_is_listed_with_its_papers() -> None:
    entries = {entry.name: entry for entry in models.entries()}
    assert set(ZOO) <= set(entries)
    assert all(entries[name].summary and entries[name].paper for name in ZOO)
