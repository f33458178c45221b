from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, kstest

from stkd import mixing as blending
from stkd.core.errors import StkdError
from stkd.mixing import Mix, Parts, blend, draw, mix_images, mix_labels, virtual_samples

CLASSES = 5

mixes = st.builds(
    Mix,
    kind=st.sampled_from(["mixup", "cutmix"]),
    instances=st.integers(1, 5),
    alpha=st.sampled_from([1e-6, 1e-3, 0.1, 0.3, 1.0, 4.0, 1e6]),
    per_sample=st.booleans(),
    real=st.sampled_from([0.0, 0.3, 1.0]),
) | st.builds(Mix, kind=st.sampled_from(["mixup", "cutmix"]), instances=st.integers(1, 4), beside=st.just(True))
sizes = st.integers(1, 33)
seeds = st.integers(0, 2**32)


def rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(list(key))


def images_of(labels: torch.Tensor) -> torch.Tensor:
    """Images whose every pixel is the label."""
    return labels.double().view(-1, 1, 1, 1).expand(-1, 2, 16, 12).contiguous()


@settings(deadline=None, max_examples=150)
@given(mixes, sizes, seeds)
def test_parts(mix: Mix, batch: int, seed: int) -> None:
    parts = draw(mix, batch, rng(seed))
    index, lam = parts.index, parts.lam
    k = mix.instances if mix.active else 1
    rows = 2 * batch if mix.active and mix.beside else batch
    assert index.shape == lam.shape == (rows, k)
    assert index.dtype == torch.int64
    assert lam.dtype == torch.float32
    virtual = index[rows - batch :]
    assert torch.equal(virtual[:, 0], torch.arange(batch))
    for column in virtual.T:
        assert torch.equal(column.sort().values, torch.arange(batch))
    assert bool(torch.isfinite(lam).all())
    assert bool((lam >= 0).all())
    torch.testing.assert_close(lam.sum(1), torch.ones(rows), atol=1e-6, rtol=0)
    if not mix.per_sample and not mix.real and not mix.beside:
        assert bool((lam == lam[0]).all())
    assert (parts.boxes is not None) == (mix.active and mix.kind == "cutmix")
    if parts.boxes is not None:
        assert parts.boxes.shape == (rows, k - 1, 4)
        assert bool((parts.boxes >= 0).all())
        assert bool((parts.boxes <= 1).all())


@settings(deadline=None, max_examples=100)
@given(mixes, sizes, seeds)
def test_targets_are_what_the_images_are_made_of(mix: Mix, batch: int, seed: int) -> None:
    """The mean pixel of images that are filled with their label is the label's mean under the target."""
    labels = torch.from_numpy(rng(seed, 1).integers(0, CLASSES, batch))
    parts = draw(mix, batch, rng(seed))
    images, lam = mix_images(images_of(labels), parts)
    targets = mix_labels(labels, parts.index, lam, CLASSES)
    torch.testing.assert_close(targets.sum(1), torch.ones(len(images)), atol=1e-5, rtol=0)
    expected = targets.double() @ torch.arange(CLASSES, dtype=torch.float64)
    torch.testing.assert_close(images.mean((1, 2, 3)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("instances", [2, 3, 4])
@pytest.mark.parametrize("per_sample", [False, True])
def test_mixup_is_the_naive_loop(instances: int, per_sample: bool) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(7, 3, 5, 4, dtype=torch.float64), torch.randint(CLASSES, (7,))
    parts = draw(Mix(instances=instances, per_sample=per_sample), 7, rng(1))
    mixed, lam = mix_images(images, parts)
    targets = mix_labels(labels, parts.index, lam, CLASSES)
    for row in range(7):
        image, target = torch.zeros(3, 5, 4, dtype=torch.float64), torch.zeros(CLASSES)
        for weight, partner in zip(parts.lam[row], parts.index[row], strict=True):
            image += weight.double() * images[partner]
            target[labels[partner]] += weight
        torch.testing.assert_close(mixed[row], image, atol=1e-6, rtol=0)
        torch.testing.assert_close(targets[row], target)


@pytest.mark.parametrize("instances", [2, 3, 4])
@pytest.mark.parametrize("per_sample", [False, True])
def test_cutmix_labels_are_shares_of_pixels(instances: int, per_sample: bool) -> None:
    """Every pixel carries its image's label, so that counting pixels gives the label."""
    labels = torch.arange(CLASSES).repeat(8)
    parts = draw(Mix("cutmix", instances=instances, per_sample=per_sample), len(labels), rng(3))
    mixed, lam = mix_images(images_of(labels), parts)
    targets = mix_labels(labels, parts.index, lam, CLASSES)
    counted = torch.stack([(mixed[:, 0] == c).double().mean((1, 2)) for c in range(CLASSES)], dim=1)
    torch.testing.assert_close(targets.double(), counted, atol=1e-6, rtol=0)
    assert len(mixed.unique()) == CLASSES, "pixels are moved, never blended"


def test_cutmix_pastes_boxes() -> None:
    """With two images, the pixels of the second are a rectangle, and about as many as its weight says."""
    labels = torch.tensor([0, 1])
    areas, weights = [], []
    for seed in range(60):
        parts = draw(Mix("cutmix", per_sample=True), 2, rng(seed))
        mixed, _ = mix_images(images_of(labels), parts)
        own = mixed[0, 0] == 0
        if torch.equal(parts.index[0], torch.tensor([0, 0])) or own.all():
            continue
        rows, columns = (~own).any(1).nonzero().flatten(), (~own).any(0).nonzero().flatten()
        assert not own[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].any()
        areas.append(float((~own).double().mean()))
        weights.append(float(parts.lam[0, 1]))
    assert np.corrcoef(areas, weights)[0, 1] > 0.7
    assert all(area <= weight + 0.2 for area, weight in zip(areas, weights, strict=True))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_real_share_stays_bit_equal(kind: Literal["mixup", "cutmix"]) -> None:
    images = torch.randn(10, 3, 8, 8)
    parts = draw(Mix(kind, instances=3, real=0.4), 10, rng(0))
    mixed, lam = mix_images(images, parts)
    assert torch.equal(mixed[:4], images[:4])
    assert torch.equal(lam[:4], torch.tensor([[1.0, 0.0, 0.0]]).expand(4, 3))
    assert not any(torch.equal(mixed[i], images[i]) for i in range(4, 10))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("instances", [2, 3])
def test_beside_doubles_the_rows(kind: Literal["mixup", "cutmix"], instances: int) -> None:
    images = torch.randn(6, 3, 8, 8)
    mixed, lam = mix_images(images, draw(Mix(kind, instances, beside=True), 6, rng(0)))
    alone, lam_alone = mix_images(images, draw(Mix(kind, instances), 6, rng(0)))
    assert torch.equal(mixed[:6], images)
    assert torch.equal(lam[:6, 0], torch.ones(6))
    torch.testing.assert_close(mixed[6:], alone)
    assert torch.equal(lam[6:], lam_alone)


@pytest.mark.parametrize("mix", [Mix("none"), Mix(instances=1), Mix("cutmix", instances=1), Mix(real=1.0)])
def test_without_partners_images_are_left_alone(mix: Mix) -> None:
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6)
    parts = draw(mix, 6, rng(0))
    mixed, lam = mix_images(images, parts)
    assert torch.equal(mixed, images)
    assert torch.equal(mix_labels(labels, parts.index, lam, 6), torch.eye(6))


@settings(deadline=None, max_examples=30)
@given(mixes, sizes, seeds, st.integers(0, 99), st.integers(0, 9999))
def test_drawn_from_its_key_alone(mix: Mix, batch: int, seed: int, epoch: int, step: int) -> None:
    torch.manual_seed(step)
    np.random.seed(epoch)
    first = draw(mix, batch, rng(seed, epoch, step))
    second = draw(mix, batch, rng(seed, epoch, step))
    assert torch.equal(first.index, second.index)
    assert torch.equal(first.lam, second.lam)
    if first.boxes is not None and second.boxes is not None:
        assert torch.equal(first.boxes, second.boxes)


def test_other_keys_draw_others() -> None:
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    found = {tuple(draw(Mix(), 64, rng(*key)).index[:, 1].tolist()) for key in keys}
    assert len(found) == len(keys)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("per_sample", [False, True])
def test_two_weights_follow_beta(alpha: float, per_sample: bool) -> None:
    """Dirichlet(alpha, alpha) is mixup's Beta(alpha, alpha)."""
    mix = Mix(alpha=alpha, per_sample=per_sample)
    if per_sample:
        lam = draw(mix, 4000, rng(0)).lam[:, 0]
    else:
        lam = torch.cat([draw(mix, 2, rng(0, i)).lam[:1, 0] for i in range(2000)])
    assert kstest(lam.double().numpy(), beta(alpha, alpha).cdf).pvalue > 0.01


def test_every_instance_has_the_same_mean_weight() -> None:
    lam = draw(Mix(instances=4, per_sample=True), 20_000, rng(0)).lam
    torch.testing.assert_close(lam.mean(0), torch.full((4,), 0.25), atol=0.01, rtol=0)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("alpha", [1e-300, 1e-12, 1e-7])
def test_tiny_alpha_gives_whole_images(kind: Literal["mixup", "cutmix"], alpha: float) -> None:
    parts = draw(Mix(kind, 3, alpha, per_sample=True), 3000, rng(0))
    assert bool(torch.isfinite(parts.lam).all())
    torch.testing.assert_close(parts.lam.max(1).values, torch.ones(3000), atol=1e-2, rtol=0)
    shares = parts.lam.mean(0)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.05, rtol=0)


@pytest.mark.parametrize("mix", [Mix(instances=3, per_sample=True), Mix("cutmix", per_sample=True), Mix(beside=True)])
def test_some_rows_are_rows_of_the_whole(mix: Mix) -> None:
    """What several processes rely on: each mixes its own rows of one batch."""
    images = torch.randn(8, 3, 8, 8)
    parts = draw(mix, 8, rng(0))
    whole, lam = mix_images(images, parts)
    for rank in (0, 1):
        own, own_lam = mix_images(images, parts.rows(slice(rank, None, 2)))
        torch.testing.assert_close(own, whole[rank::2])
        assert torch.equal(own_lam, lam[rank::2])


def test_unlabelled_partners_carry_no_mass() -> None:
    labels, index = torch.tensor([2, -1]), torch.tensor([[0, 1], [1, 1]])
    targets = mix_labels(labels, index, torch.tensor([[0.7, 0.3], [0.6, 0.4]]), 3)
    torch.testing.assert_close(targets, torch.tensor([[0.0, 0.0, 0.7], [0.0, 0.0, 0.0]]))


def test_images_keep_their_precision_and_the_source_its_pixels() -> None:
    images = torch.randn(4, 3, 8, 8, dtype=torch.bfloat16)
    before = images.clone()
    for mix in (Mix(), Mix(instances=3), Mix("cutmix")):
        mixed, _ = mix_images(images, draw(mix, 4, rng(0)))
        assert mixed.dtype == torch.bfloat16
        assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"instances": 0}, "instances must be 1 or more"),
        ({"alpha": 0.0}, "alpha must be a positive number"),
        ({"alpha": float("nan")}, "alpha must be a positive number"),
        ({"alpha": float("inf")}, "alpha must be a positive number"),
        ({"alpha": 1e300}, "alpha must be at most 1,000,000"),
        ({"instances": 10**19}, "instances must be at most 255"),
        ({"kind": "mixip"}, "unknown kind of virtual samples 'mixip'; did you mean mixup"),
        ({"real": 1.1}, "between 0 and 1"),
        ({"real": 0.5, "beside": True}, "give one of the two"),
    ],
)
def test_impossible_choices(options: dict[str, Any], words: str) -> None:
    with pytest.raises(StkdError, match=words):
        Mix(**options)


def test_in_one_call() -> None:
    images, labels = torch.rand(6, 1, 4, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    mixed, targets = virtual_samples(images, labels, 3, instances=3, seed=(1, 2, 3))
    parts = draw(Mix(instances=3), 6, np.random.default_rng((1, 2, 3)))
    assert torch.equal(mixed, mix_images(images, parts)[0])
    torch.testing.assert_close(targets.sum(1), torch.ones(6))
    again, _ = virtual_samples(images, labels, 3, instances=3, seed=(1, 2, 3))
    assert torch.equal(mixed, again)
    assert not torch.equal(virtual_samples(images, labels, 3)[0], virtual_samples(images, labels, 3)[0])


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_most_instances_and_the_largest_alpha_are_weights(kind: Any) -> None:
    mixed, targets = virtual_samples(torch.rand(4, 1, 4, 4), torch.arange(4), 4, instances=255, alpha=1e6, kind=kind)
    assert torch.isfinite(mixed).all()
    torch.testing.assert_close(targets.sum(1), torch.ones(4))


@pytest.mark.parametrize(
    ("kind", "label", "said"),
    [("x", 0, "unknown kind of virtual samples 'x'"), ("mixup", 99, "the label 99 is none of the 3 classes, 0 to 2")],
)
def test_in_one_call_what_means_nothing_is_refused(kind: Any, label: int, said: str) -> None:
    with pytest.raises(StkdError, match=said):
        virtual_samples(torch.rand(2, 1, 4, 4), torch.tensor([0, label]), 3, kind=kind)


def test_parts_move_together() -> None:
    parts = draw(Mix("cutmix"), 4, rng(0)).to("cpu")
    assert isinstance(parts, Parts)
    assert parts.boxes is not None


def weighted_parts(batch: int, k: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    index = torch.stack([torch.randperm(batch, generator=generator) for _ in range(k)], dim=1)
    lam = torch.rand(batch, k, generator=generator)
    return index, lam / lam.sum(1, keepdim=True)


def random_pixels(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@given(st.integers(1, 20), st.integers(1, 4), st.sampled_from([1, 50, 1 << 18]), st.booleans(), st.integers(0, 99))
def test_blend_is_the_weighted_sum(batch: int, k: int, block: int, whole: bool, seed: int) -> None:
    """Whatever the size of the blocks."""
    images = random_pixels(batch, 5, 6) if whole else torch.randn(batch, 5, 6)
    index, lam = weighted_parts(batch, k, seed)
    scale, shift = torch.rand(6), torch.randn(6)
    expected = (lam[:, :, None, None].double() * images[index].double()).sum(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blending, "_BLOCK", block)
        plain, mapped = blend(images, index, lam), blend(images, index, lam, (scale, shift))
    assert plain.dtype == torch.float32
    torch.testing.assert_close(plain.double(), expected, atol=2e-4, rtol=1e-5)
    torch.testing.assert_close(mapped.double(), expected * scale + shift, atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_blend_given_memory_changes_nothing(k: int) -> None:
    images, (index, lam) = random_pixels(9, 4, 12), weighted_parts(9, k, 0)
    out = torch.full((9, 4, 12), torch.nan)
    found = blend(images, index, lam, out=out)
    assert found.data_ptr() == out.data_ptr()
    assert torch.equal(found, blend(images, index, lam))


@pytest.mark.parametrize("k", [2, 3])
def test_blend_weight_one_is_the_image_itself(k: int) -> None:
    images, (index, _) = torch.randn(6, 7), weighted_parts(6, k, 1)
    assert torch.equal(blend(images, index, torch.eye(k)[0].expand(6, k)), images[index[:, 0]])


def test_blend_gradients_reach_the_images() -> None:
    images, (index, lam) = torch.randn(4, 3, dtype=torch.float64, requires_grad=True), weighted_parts(4, 3, 2)
    assert torch.autograd.gradcheck(lambda x: blend(x, index, lam.double()), images)


def test_blend_order_of_memory_is_kept() -> None:
    images, (index, lam) = torch.randn(4, 3, 5, 6), weighted_parts(4, 2, 3)
    last = images.contiguous(memory_format=torch.channels_last)
    assert blend(images, index, lam).is_contiguous()
    assert blend(last, index, lam).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(blend(images, index, lam), blend(last, index, lam))
