"""Rewritten models train as they are; only what may be joined is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from stkd import models, rewriting
from stkd.training.compilation import compiled


@pytest.fixture(autouse=True)
def forget() -> None:
    """Code compiled for a model of an earlier test."""
    torch._dynamo.reset()


def gradient(module: Callable[[Tensor], Tensor], own: nn.Module, images: Tensor) -> Tensor:
    """All gradients of a step in one vector."""
    loss = F.cross_entropy(module(images), torch.arange(len(images)) % 4)
    loss.backward()  # type: ignore[no-untyped-call]
    return torch.cat([p.grad.flatten().double() for p in own.parameters() if p.grad is not None])


def twice(make: Callable[[], nn.Module]) -> list[nn.Module]:
    """The same model twice, in training and channels last."""
    return several(make, 2)


def several(make: Callable[[], nn.Module], number: int) -> list[nn.Module]:
    found = []
    for _ in range(number):
        torch.manual_seed(0)
        found.append(make().train().to(memory_format=torch.channels_last))
    return found


def operations(module: nn.Module, images: Tensor) -> list[Any]:
    """Targets of the nodes of a module's graph after rewriting."""
    targets: list[Any] = []

    def backend(graph: GraphModule, inputs: Any) -> Any:
        run = rewriting.rewrite(graph, inputs)
        targets.extend(node.target for node in graph.graph.nodes)
        return run

    torch.compile(module, backend=backend, dynamic=False)(images)
    return targets


def fused(targets: list[Any]) -> int:
    return targets.count(torch.ops.stkd.batch_norm_act)


ZOO = {"resnet20": 32, "wrn_16_1": 32, "vgg8": 32, "MobileNetV2": 32, "ShuffleV1": 32, "timm/resnet18": 64}
ZOO |= {"timm/mobilenetv3_small_050": 64, "torchvision/resnet18": 64}


@pytest.mark.parametrize(("name", "size"), ZOO.items())
def test_a_rewritten_model_is_as_near_to_the_exact_gradient(name: str, size: int) -> None:
    """Some models make much of a rounding, so torch's own distance is the measure."""
    images = torch.randn(16, 3, size, size).to(memory_format=torch.channels_last)
    exact, plain, own = several(lambda: models.create(name, num_classes=4, image_size=size), 3)
    for module in (exact, plain, own):
        for layer in module.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
    fast, way = compiled(own, images, lambda module, x: module(x))
    assert way == "rewritten"
    best, theirs, ours = (
        gradient(exact.double(), exact, images.double()),
        gradient(plain, plain, images),
        gradient(fast, own, images),
    )
    assert (ours - best).norm() <= 3 * (theirs - best).norm() + 1e-5 * best.norm()
    assert plain.state_dict().keys() == own.state_dict().keys()
    for one, other in zip(plain.buffers(), own.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_resnet_has_each_normalisation_and_what_follows_in_one() -> None:
    targets = operations(models.create("resnet20", num_classes=4).train(), torch.randn(4, 3, 32, 32))
    assert fused(targets) == 21
    assert F.batch_norm not in targets
    assert F.relu not in targets, "each follows a normalisation or a sum with one"


def test_any_number_of_models_of_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch by itself keeps the code of eight, and runs further ones as they are."""
    rewritten: list[GraphModule] = []
    rewrite = rewriting.rewrite

    def seen(graph: GraphModule, inputs: Any) -> Any:
        rewritten.append(graph)
        return rewrite(graph, inputs)

    monkeypatch.setattr(rewriting, "rewrite", seen)
    images = torch.randn(2, 3, 16, 16).to(memory_format=torch.channels_last)
    kept = []
    for depth in range(1, 11):
        layers = [layer for _ in range(depth) for layer in (nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))]
        kept.append(compiled(nn.Sequential(*layers).train(), images, lambda module, x: module(x)))
    assert [way for _, way in kept] == ["rewritten"] * 10
    assert len(rewritten) == 10


class Block(nn.Module):
    """A normalisation, and what becomes of it."""

    def __init__(self, after: Callable[[Tensor, Tensor, Tensor], Tensor], **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3, **options)
        self.after = after

    def forward(self, images: Tensor) -> Tensor:
        before = self.conv(images)
        found: Tensor = self.after(self.norm(before), images, before)
        return found


AFTER = {
    "nothing": (lambda y, x, b: y, []),
    "relu": (lambda y, x, b: y.relu(), ["relu"]),
    "relu in place": (lambda y, x, b: F.relu(y, inplace=True), ["relu"]),
    "sum": (lambda y, x, b: x + y, ["sum"]),
    "sum and relu": (lambda y, x, b: torch.relu(torch.add(y, x)), ["sum", "relu"]),
    "sum in place": (lambda y, x, b: F.relu(y.add_(x)), ["sum", "relu"]),
    "sum into the other": (lambda y, x, b: F.relu(x.clone().add_(y)), []),
    "sum with a factor": (lambda y, x, b: F.relu(torch.add(y, x, alpha=2)), []),
    "sum with a number": (lambda y, x, b: F.relu(y + 1), []),
    "twice": (lambda y, x, b: F.relu(y + y), []),
    "looked at": (lambda y, x, b: F.relu(y) * y, []),
    "images used again": (lambda y, x, b: F.relu(y + x) + b, []),
    "images changed": (lambda y, x, b: F.relu(y + x * b.mul_(2).mean()), []),
}


@pytest.mark.parametrize("name", AFTER)
def test_only_what_may_be_joined_is(name: str) -> None:
    after, joined = AFTER[name]
    images = torch.randn(4, 3, 8, 8).to(memory_format=torch.channels_last)
    plain, own = twice(lambda: Block(after))
    if name == "images changed":  # torch refuses to differentiate that; the values must agree all the same
        with torch.no_grad():
            torch.testing.assert_close(torch.compile(own, backend=rewriting.rewrite)(images), plain(images))
        return
    calls: list[Any] = []

    def backend(graph: GraphModule, inputs: Any) -> Any:
        run = rewriting.rewrite(graph, inputs)
        calls.extend(n for n in graph.graph.nodes if n.target is torch.ops.stkd.batch_norm_act)
        return run

    found = torch.compile(own, backend=backend)(images)
    torch.testing.assert_close(found, plain(images))
    (call,) = calls
    assert [what for what, there in (("sum", call.args[1] is not None), ("relu", call.args[-1])) if there] == joined
    for module, out in ((own, found), (plain, plain(images))):
        module.zero_grad()
        out.square().sum().backward()
    for one, other in zip(own.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("options", [{"momentum": None}, {"track_running_stats": False}, {"affine": False}])
def test_unusual_normalisation(options: dict[str, Any]) -> None:
    images = torch.randn(4, 3, 8, 8).to(memory_format=torch.channels_last)
    plain, own = twice(lambda: Block(lambda y, x, b: F.relu(y), **options))
    fast = torch.compile(own, backend=rewriting.rewrite)
    for _ in range(2):
        torch.testing.assert_close(fast(images), plain(images))
    for one, other in zip(own.state_dict().values(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", ["resnet20", "MobileNetV2"])
def test_teacher_answers_as_it_is(name: str, bf16: bool) -> None:
    images = torch.randn(8, 3, 32, 32).to(memory_format=torch.channels_last)
    (own,) = several(lambda: models.create(name, num_classes=4), 1)
    with torch.no_grad():
        for _ in range(20):
            own(images + 0.1 * torch.randn_like(images))
    own.eval()
    before = {key: value.clone() for key, value in own.state_dict().items()}
    with torch.no_grad():
        fast, way = compiled(own, images, lambda module, x: module(x))
        expected = own(images)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            theirs, ours = own(images), fast(images)
            with torch.profiler.profile() as profile:
                fast(images)
    assert way == "rewritten"
    names = {event.key for event in profile.key_averages()}
    assert "stkd::batch_norm_act" in names
    assert "aten::native_batch_norm" not in names
    assert (ours - expected).norm() <= 2 * (theirs - expected).norm() + 1e-5 * expected.norm()
    assert all(torch.equal(value, before[key]) for key, value in own.state_dict().items())


def test_gradients_through_a_model_in_evaluation() -> None:
    images = torch.randn(4, 3, 8, 8).to(memory_format=torch.channels_last)
    plain, own = (block.eval() for block in twice(lambda: Block(lambda y, x, b: F.relu(y + x))))
    for module, run in ((own, torch.compile(own, backend=rewriting.rewrite)), (plain, plain)):
        run(images).square().sum().backward()
        assert all(p.grad is not None for p in module.parameters())
    for one, other in zip(own.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize(
    ("kernel", "stride", "groups", "wide"),
    [(5, 1, 8, True), (3, 2, 8, True), (3, 1, 8, False), (5, 2, 1, False), (5, 2, 4, False)],
)
def test_depthwise_convolutions_that_are_slow_in_bf16(kernel: int, stride: int, groups: int, wide: bool) -> None:
    images = torch.randn(4, 8, 12, 12).to(memory_format=torch.channels_last)
    plain, own = twice(lambda: nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=groups))
    assert rewriting.helps(own) == wide
    targets = operations(own, images)
    assert any(getattr(t, "__name__", "") == "_conv2d" for t in targets) == wide
    fast = torch.compile(own, backend=rewriting.rewrite)
    for bf16 in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found, expected = fast(images), plain(images)
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)
        for out, module in ((found, own), (expected, plain)):
            module.zero_grad()
            out.float().square().sum().backward()
        for one, other in zip(own.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=5e-2, atol=1.0 if bf16 else 1e-3)


def test_without_a_compiler_the_model_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("Ninja is required to load C++ extensions\n(pip install ninja to get it)")

    monkeypatch.setattr(rewriting.norms, "load_kernels", refuse)
    own = models.create("cnn2", num_classes=4).train()
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    with pytest.warns(
        UserWarning, match=r"goes uncompiled \(RuntimeError: Ninja is required to load C\+\+ extensions\)$"
    ):
        found, way = compiled(own, torch.randn(4, 3, 8, 8), lambda module, x: module(x))
    assert (found, way) == (own, "eager")
    assert all(torch.equal(before[name], tensor) for name, tensor in own.state_dict().items())


def test_many_students_of_a_kind_are_all_rewritten() -> None:
    images = torch.randn(4, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(12):
            torch.manual_seed(seed)
            own = models.create("resnet8", num_classes=4).train()
            fast, way = compiled(own, images, lambda module, x: module(x))
            assert way == "rewritten"
            with torch.profiler.profile() as profile:
                fast(images)
            assert "stkd::batch_norm_act" in {event.key for event in profile.key_averages()}
