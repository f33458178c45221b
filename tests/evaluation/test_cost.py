from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from stkd import models
from stkd.evaluation import costs, latency, macs, parameters, peak_memory


def test_parameters_by_hand() -> None:
    # conv 1*2*9, 2*4*9, 4*8*9; batch norms 2*(2+4+8); linear 8*10+10
    assert parameters(models.create("cnn2", num_classes=10, in_channels=1)) == 18 + 72 + 288 + 28 + 90


def test_macs_of_a_tiny_network_by_hand() -> None:
    # 8x8: conv 1->4; 4x4: conv 4->8; 2x2: conv 8->16; linear 16->10
    expected = 64 * 1 * 4 * 9 + 16 * 4 * 8 * 9 + 4 * 8 * 16 * 9 + 16 * 10
    assert macs(models.create("cnn4", num_classes=10, in_channels=1).eval(), 1, 8) == expected


def test_macs_of_resnet8_by_hand() -> None:
    """Stem, one block of two convolutions at each of 16, 32 and 64 channels, two 1x1 shortcuts, linear."""
    first = 32 * 32 * (3 * 16 + 2 * 16 * 16) * 9
    second = 16 * 16 * (16 * 32 * 9 + 32 * 32 * 9 + 16 * 32)
    third = 8 * 8 * (32 * 64 * 9 + 64 * 64 * 9 + 32 * 64)
    expected = first + second + third + 64 * 100
    assert macs(models.create("resnet8", num_classes=100).eval(), 3, 32) == expected


@pytest.mark.parametrize(
    ("name", "weights"), [("resnet18", "ResNet18"), ("mobilenet_v2", "MobileNet_V2"), ("vgg16", "VGG16")]
)
def test_macs_and_parameters_that_torchvision_publishes(name: str, weights: str) -> None:
    published = getattr(torchvision.models, f"{weights}_Weights").IMAGENET1K_V1.meta
    with torch.device("meta"):
        model = getattr(torchvision.models, name)().eval()
    assert round(macs(model, 3, 224) / 1e9, 3) == published["_ops"]  # published as GFLOPS, one for each multiply-add
    assert parameters(model) == published["num_params"]


def test_latency_is_of_the_given_batch() -> None:
    seen: list[int] = []

    class Counter(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return super().forward(x.flatten(1))

    assert latency(Counter(64, 2), 1, 8, 7, runs=3) > 0
    assert set(seen) == {7}
    assert len(seen) > 3


def test_peak_memory_by_hand() -> None:
    """Weights, the batch, and at the widest place a layer's input and output together; what is freed does not count."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1000, bias=False), nn.ReLU(), nn.Linear(1000, 10, bias=False))
    weights = 64 * 1000 + 1000 * 10
    assert peak_memory(model.eval(), 1, 8, 32) == 4 * (weights + 32 * (64 + 1000 + 1000))
    assert peak_memory(model.eval(), 1, 8, 1) == 4 * (weights + 64 + 1000 + 1000)


def test_all_costs() -> None:
    values = costs(models.create("cnn2", num_classes=10, in_channels=1).eval(), 1, 8)
    assert values["params"] == 496
    assert values["throughput_64"] == pytest.approx(64000 / values["latency_ms_64"])
    assert values["throughput_1"] == pytest.approx(1000 / values["latency_ms_1"])
    assert 4 * 496 < values["peak_bytes_1"] < values["peak_bytes_64"]
