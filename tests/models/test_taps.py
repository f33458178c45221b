from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from stkd.core.errors import StkdError
from stkd.models import POOLED, Taps, classifier, create, stages


@pytest.fixture
def model() -> nn.Module:
    return create("resnet8", num_classes=10).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 32, 32)


def test_features_lead_to_the_logits(model: nn.Module, images: Tensor) -> None:
    with Taps(model, [POOLED]) as taps:
        logits = model(images)
        pooled = taps.take()[POOLED]
    torch.testing.assert_close(classifier(model)(pooled), logits)


def test_features_stay_in_the_graph(model: nn.Module, images: Tensor) -> None:
    with Taps(model, ["layer3"]) as taps:
        model(images)
        taps.take()["layer3"].sum().backward()
    assert model.conv1.weight.grad is not None
    assert model.fc.weight.grad is None


def test_features_are_in_the_order_asked_for(model: nn.Module, images: Tensor) -> None:
    with Taps(model, [POOLED, "layer3", "layer1", "layer3"]) as taps:
        model(images)
        assert list(taps.take()) == [POOLED, "layer3", "layer1"]


def test_unknown_places_are_told_with_the_nearest(model: nn.Module) -> None:
    with pytest.raises(StkdError, match=r"layer4.*did you mean layer"):
        Taps(model, ["layer4"])
    with pytest.raises(StkdError, match="unknown submodule of ResNet"):
        Taps(model, ["layer1.9.relu2:input"])


def test_unknown_places_leave_no_hooks(model: nn.Module) -> None:
    with pytest.raises(StkdError):
        Taps(model, ["layer1", "nowhere"])
    assert not model.layer1._forward_hooks


def test_places_that_were_not_passed_are_told(model: nn.Module, images: Tensor) -> None:
    with Taps(model, ["layer1"]) as taps:
        with pytest.raises(StkdError, match="no features at layer1"):
            taps.take()
        model(images)
        taps.take()
        with pytest.raises(StkdError, match="no features at layer1"):
            taps.take()


def test_outputs_that_are_no_tensors_are_told(images: Tensor) -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, x: Tensor) -> Tensor:
            return self.pair(x)[0]

    net = Net()
    with Taps(net, ["pair"]), pytest.raises(StkdError, match="'pair' is a tuple"):
        net(images)


def test_nothing_outlives_its_use(model: nn.Module, images: Tensor) -> None:
    taps = Taps(model, ["layer1"])
    model(images)
    features = taps.take()
    taken = weakref.ref(features["layer1"])
    del features
    gc.collect()
    assert taken() is None

    model(images)
    held = weakref.ref(taps._features["layer1"])
    taps.close()
    gc.collect()
    assert held() is None
    assert not model.layer1._forward_hooks


def test_works_under_autocast(model: nn.Module, images: Tensor) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16), Taps(model, ["layer1"]) as taps:
        model(images)
        assert taps.take()["layer1"].shape == (2, 16, 32, 32)


def test_works_in_a_compiled_model(model: nn.Module, images: Tensor) -> None:
    names = [*stages(model, images, preact=True), POOLED]
    with torch.no_grad(), Taps(model, names) as taps:
        model(images)
        eager = taps.take()
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        for _ in range(2):
            compiled(images)
            for name, features in taps.take().items():
                torch.testing.assert_close(features, eager[name])


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("timm/resnet18", 64, {"act1": 32, "layer1": 16, "layer2": 8, "layer3": 4, "layer4": 2}),
        ("torchvision/resnet18", 64, {"relu": 32, "layer1": 16, "layer2": 8, "layer3": 4, "layer4": 2}),
        ("timm/mobilenetv3_small_100", 64, {"bn1": 32, "blocks.0": 16, "blocks.1": 8, "blocks.3": 4, "blocks": 2}),
    ],
)
def test_stages_of_foreign_networks(name: str, size: int, expected: dict[str, int]) -> None:
    model = create(name, num_classes=10)
    images = torch.randn(2, 3, size, size)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    names = stages(model, images)
    assert model.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    with torch.no_grad(), Taps(model, [*names, POOLED]) as taps:
        logits = model(images)
        features = taps.take()
    assert {key: features[key].shape[-1] for key in names} == expected
    torch.testing.assert_close(classifier(model)(features[POOLED]), logits)


def test_stages_of_a_vision_transformer_are_the_quarters() -> None:
    model = create("timm/vit_tiny_patch16_224", num_classes=10, image_size=64).eval()
    images = torch.randn(2, 3, 64, 64)
    names = stages(model, images)
    assert names == ["blocks.2", "blocks.5", "blocks.8", "blocks.11"]
    with torch.no_grad(), Taps(model, [*names, POOLED]) as taps:
        logits = model(images)
        features = taps.take()
    assert {tuple(features[name].shape) for name in names} == {(2, 17, 192)}
    torch.testing.assert_close(classifier(model)(features[POOLED]), logits)


class SqueezeBlock(nn.Module):
    """Widens before it halves, and looks at the whole image on the way."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(planes, 2 * planes, 1)
        self.halve = nn.Conv2d(2 * planes, planes, 3, stride=2, padding=1)
        self.squeeze = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.halve(self.widen(x))
        return out * self.squeeze(out).sigmoid()


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.down1 = SqueezeBlock(8)
        self.down2 = SqueezeBlock(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.down2(self.down1(self.stem(x))).mean((2, 3))


def test_stages_are_found_inside_a_wrapped_backbone(images: Tensor) -> None:
    model = nn.Sequential(Backbone(), nn.Linear(8, 10))
    assert stages(model, images) == ["0.stem", "0.down1", "0.down2"]


def test_models_without_stages_are_told(images: Tensor) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    with pytest.raises(StkdError, match="no submodule with spatial features"):
        stages(flat, images)
    with pytest.raises(StkdError, match="preact_taps"):
        stages(flat, images, preact=True)


def test_models_without_linear_layer_have_no_classifier() -> None:
    with pytest.raises(StkdError, match="no linear layer"):
        classifier(nn.Sequential(nn.Conv2d(3, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
