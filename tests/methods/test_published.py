"""Where methods have to equal their papers' own code: weights, margins, sizes of maps, order of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stkd import losses, models
from stkd.core.config import DistillConfig
from stkd.core.errors import StkdError
from stkd.data import open_data
from stkd.data.loader import Batch
from stkd.losses.fitnet import FitNetRegressor
from stkd.losses.ofd import ofd_margin
from stkd.losses.vid import VIDRegressor
from stkd.methods import View, parse
from stkd.mixing import Mix, draw
from stkd.models.files import ModelInfo
from stkd.models.normalisations import normalisation
from stkd.models.taps import Taps, norm_before
from stkd.teachers import LiveTeacher
from stkd.teachers.normalisations import normalisation_of
from stkd.training.features import attach

STUDENT, TEACHER = torch.randn(2, 8, 10, generator=torch.Generator().manual_seed(0)).unbind()


def view() -> View:
    parts = draw(Mix("none", 1), 8, np.random.default_rng())
    batch = Batch(
        images=torch.zeros(8, 3, 8, 8),
        targets=F.one_hot(torch.arange(8), 10).float(),
        parts=parts,
        labels=torch.arange(8),
        index=torch.arange(8),
        real=8,
        epoch=0,
        step=0,
    )
    return View(batch, STUDENT, TEACHER)


def z_scored(logits: Tensor) -> Tensor:
    return (logits - logits.mean(1, keepdim=True)) / (logits.std(1, keepdim=True) + 1e-7)


def kl(temperature: float, student: Tensor = STUDENT, teacher: Tensor = TEACHER) -> Tensor:
    p, q = F.softmax(teacher / temperature, 1), F.log_softmax(student / temperature, 1)
    return temperature**2 * F.kl_div(q, p, reduction="batchmean")


def test_standardized_kd_has_two_weights() -> None:
    method = parse("kd:standardize=true,temperature=2,weight=9,ce=0.1")
    assert method.label_weight == 0.1
    expected = 9 * kl(2, z_scored(STUDENT), z_scored(TEACHER))
    torch.testing.assert_close(method.losses(view())["kl"], expected)


@pytest.mark.parametrize("name", ["kd", "stkd", "mlkd", "ctkd"])
def test_a_large_weight_needs_that_of_the_labels(name: str) -> None:
    with pytest.raises(StkdError, match="ce"):
        parse(f"{name}:weight=9")
    assert parse(f"{name}:weight=9,ce=1").label_weight == 1
    assert parse(f"{name}:weight=0.75").label_weight == 0.25


def test_standardized_mlkd_leaves_batches_and_classes_as_they_are() -> None:
    named = parse("mlkd:standardize=true,weight=9,ce=0.1").losses(view())
    temperatures = (2, 3, 5, 2, 6)
    expected = sum(kl(t, z_scored(STUDENT), z_scored(TEACHER)) for t in temperatures)
    torch.testing.assert_close(named["instance"], 9 * expected)
    for level, loss in (("batch", losses.mlkd_batch), ("class", losses.mlkd_class)):
        raw = torch.stack([loss(STUDENT, TEACHER, temperature=float(t)) for t in temperatures]).sum()
        torch.testing.assert_close(named[level], 9 * raw)


def test_function_matching_weighs_the_own_image_most() -> None:
    for mix in (parse("fm").mix, Mix(largest_first=True), Mix(instances=4, per_sample=True, largest_first=True)):
        parts = draw(mix, 64, np.random.default_rng(0))
        assert (parts.lam.diff(dim=1) <= 1e-6).all()
        torch.testing.assert_close(parts.lam.sum(1), torch.ones(64))


def test_ofd_margins_are_those_of_the_norms_before_the_activations() -> None:
    data = open_data("digits")
    teacher = models.create("resnet8", num_classes=10, in_channels=1)
    norms = [teacher.get_submodule(f"layer{i}.0.bn2") for i in (1, 2, 3)]
    for norm in norms:
        torch.nn.init.normal_(norm.bias)
        torch.nn.init.uniform_(norm.weight, 0.5, 1)
    expected = [ofd_margin(norm) for norm in norms]
    live = LiveTeacher(teacher, ModelInfo("resnet8", data.classes, 1, 8, data.mean, data.std), data)
    student = models.create("resnet8", num_classes=10, in_channels=1)
    features, extras = attach(parse("ofd"), student, live, data, torch.from_numpy(data.train.labels))
    assert features is not None
    assert extras is not None
    maps = [torch.randn(2, norm.num_features, 2, 2) for norm in norms]
    torch.testing.assert_close(extras["margins"](maps), expected)
    features.close()


def test_the_norm_before_a_place() -> None:
    wide = models.create("wrn_16_1", num_classes=10)
    assert norm_before(wide, wide.preact_taps[-1]) is wide.bn1
    assert norm_before(wide, wide.preact_taps[0]) is None
    vgg = models.create("vgg8", num_classes=10)
    assert isinstance(norm_before(vgg, vgg.preact_taps[1]), torch.nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("student", "teacher", "kernel"),
    [((2, 3, 4, 4), (2, 6, 8, 8), (4, 4)), ((2, 3, 8, 8), (2, 6, 4, 4), (3, 3)), ((2, 3, 8, 8), (2, 6, 5, 5), (4, 4))],
)
def test_fitnet_brings_maps_to_the_teachers_size(student: Any, teacher: Any, kernel: Any) -> None:
    regressor = FitNetRegressor(student, teacher)
    assert regressor.conv.kernel_size == kernel
    assert regressor(torch.randn(student)).shape == teacher


def test_vid_pools_before_it_regresses() -> None:
    regressor = VIDRegressor(3, 6)
    student, teacher = torch.randn(2, 3, 8, 8), torch.randn(2, 6, 4, 4)
    torch.testing.assert_close(regressor(student, teacher), regressor(F.avg_pool2d(student, 2), teacher))


def test_simkd_pools_larger_maps_before_it_projects() -> None:
    student = models.create("cnn4", num_classes=10)
    teacher = models.create("resnet8", num_classes=10)
    small = torch.zeros(2, 3, 16, 16)  # resnet8's last maps are 4 x 4
    images = torch.zeros(2, 3, 64, 64)
    adapted, name = parse("simkd").adapt(student, "cnn4", teacher, images, small)
    assert name == "simkd/cnn4/64x4"
    again = models.create(name, num_classes=10, image_size=64)
    again.load_state_dict(adapted.state_dict())
    seen = []
    again.projector.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[-1]))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(again.eval()(images), adapted.eval()(images))
    assert seen == [4]


def test_shufflenet_tells_its_features_before_the_last_activation() -> None:
    model = models.create("ShuffleV2", num_classes=10).eval()
    taps = (model.feature_taps[1], model.preact_taps[1])
    with Taps(model, taps) as tapped, torch.no_grad():
        model(torch.randn(2, 3, 32, 32))
        after, before = tapped.take().values()
    assert (before < 0).any()
    torch.testing.assert_close(torch.nn.ChannelShuffle(2)(before.relu()), after)


def config(**options: Any) -> DistillConfig:
    return DistillConfig(student="cnn2", data="digits", out=Path("out"), **options)


def test_normalisation_by_name() -> None:
    assert normalisation_of(config(teacher_norm="crd-cifar100")) == normalisation("crd-cifar100")
    assert normalisation_of(config(teacher_mean=(0.5,))) == ((0.5,), None)
    with pytest.raises(StkdError, match="did you mean crd-cifar100"):
        normalisation_of(config(teacher_norm="crd-cifar10"))
    with pytest.raises(StkdError, match="leave out --teacher-mean"):
        normalisation_of(config(teacher_norm="imagenet", teacher_mean=(0.5,)))
