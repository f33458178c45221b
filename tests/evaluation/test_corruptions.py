from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_sample_image

from stkd.evaluation.corruptions import CORRUPTIONS, GROUPS, SEVERITIES, corrupt
from stkd.evaluation.corruptions.filters import enlarged, smoothed

# Their severities follow what a classifier gets wrong: glass blur trades smoothing for moved pixels, and elastic
# transforms bend more but shift less.
NOT_BY_DISTANCE = {"glass_blur", "elastic_transform"}


def photographs(size: int = 32, count: int = 8) -> torch.Tensor:
    """Pieces of a photograph, uint8 (count, 3, size, size)."""
    photo = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)
    return torch.stack([photo[:, 150 : 150 + size, 60 * i : 60 * i + size] for i in range(count)])


def once(images: torch.Tensor, name: str, severity: int, seed: int = 0) -> torch.Tensor:
    return corrupt(images, name, severity, torch.Generator().manual_seed(seed))


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.float() - other.float()).square().mean().sqrt())


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("size", [32, 96])
def test_every_severity_harms_more_and_is_repeatable(name: str, size: int) -> None:
    images = photographs(size, 6)
    far = []
    for severity in SEVERITIES:
        corrupted = once(images, name, severity)
        assert corrupted.shape == images.shape
        assert corrupted.dtype == torch.uint8
        assert torch.equal(corrupted, once(images, name, severity))
        far.append(distance(corrupted, images))
    assert min(far) > 1
    assert far == sorted(far) or name in NOT_BY_DISTANCE


def test_fourteen_corruptions_of_four_kinds() -> None:
    assert len(CORRUPTIONS) == 14
    assert [name for group in GROUPS.values() for name in group if name != "frost"] == list(CORRUPTIONS)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_grey_images_of_eight_pixels(name: str) -> None:
    grey = photographs(8, 3).float().mean(1, keepdim=True).to(torch.uint8)
    assert once(grey, name, 5).shape == grey.shape


def test_noise_has_its_spread_and_follows_its_seed() -> None:
    grey = torch.full((40, 3, 32, 32), 128, dtype=torch.uint8)
    noisy = once(grey, "gaussian_noise", 3)
    assert float(noisy.float().std() / 255) == pytest.approx(0.08, rel=0.02)
    assert float(once(grey, "shot_noise", 5).float().std() / 255) == pytest.approx((128 / 255 / 50) ** 0.5, rel=0.02)
    spoilt = once(grey, "impulse_noise", 4)
    assert float((spoilt == 0).float().mean()) == pytest.approx(0.025, rel=0.1)
    assert float((spoilt == 255).float().mean()) == pytest.approx(0.025, rel=0.1)
    assert not torch.equal(noisy, once(grey, "gaussian_noise", 3, seed=1))


def test_contrast_by_hand() -> None:
    images = photographs()
    x = images.double() / 255
    mean = x.mean((2, 3), keepdim=True)
    assert distance(once(images, "contrast", 2), ((x - mean) * 0.5 + mean) * 255) < 0.7  # fractions are cut off


def test_brightness_raises_the_value_of_hsv() -> None:
    images = photographs(16, 2)
    corrupted = once(images, "brightness", 5).permute(0, 2, 3, 1).reshape(-1, 3).numpy()
    for before, after in zip(images.permute(0, 2, 3, 1).reshape(-1, 3).numpy(), corrupted, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
        expected = np.array(colorsys.hsv_to_rgb(hue, saturation, min(1, value + 0.3))) * 255
        assert np.abs(after - expected).max() <= 1.01
    black = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    assert int(once(black, "brightness", 5).unique()) == 76


def test_pixelate_is_pillows_box_filter() -> None:
    images = photographs()
    corrupted = once(images, "pixelate", 5)
    for image, got in zip(images, corrupted, strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        expected = picture.resize((20, 20), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
        difference = np.abs(np.asarray(expected, dtype=int) - got.permute(1, 2, 0).int().numpy())
        assert difference.max() <= 1  # Pillow rounds after each direction
        assert difference.mean() < 0.5


def test_jpeg_is_pillows() -> None:
    image = photographs()[3]
    packed = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(packed, "JPEG", quality=40)
    expected = torch.from_numpy(np.array(Image.open(packed))).permute(2, 0, 1)
    assert distance(once(image[None], "jpeg_compression", 5)[0], expected) == 0


def test_defocus_is_a_convolution_with_a_soft_disk() -> None:
    """Severity 5 up to 64 pixels: a disk of radius 1.5 is 3 x 3 equal pixels; a Gaussian of 0.1 leaves it as it is."""
    images = photographs(count=2)
    expected = ndimage.convolve(images.double().numpy(), np.full((1, 1, 3, 3), 1 / 9), mode="mirror")
    assert distance(once(images, "defocus_blur", 5), torch.from_numpy(expected)) < 0.7


def test_blurs_keep_flat_images() -> None:
    flat = torch.full((2, 3, 96, 96), 77, dtype=torch.uint8)
    for name in ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "elastic_transform", "pixelate"):
        for severity in SEVERITIES:
            assert (once(flat, name, severity).int() - 77).abs().max() <= 1


@pytest.mark.parametrize("sigma", [0.05, 0.7, 3.0, 40.0])
def test_smoothing_is_scipys(sigma: float) -> None:
    images = photographs(24, 2).double() / 255
    for mirrored, mode in ((True, "reflect"), (False, "nearest")):
        expected = ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode=mode, truncate=3)
        corrupted = smoothed(images.float(), sigma, truncate=3, mirrored=mirrored)
        assert float((corrupted - torch.from_numpy(expected)).abs().max()) < 1e-5


def test_glass_blur_is_the_published_loop() -> None:
    """Severity 4 above 64 pixels, with a loop over pixels and the published swap of two views, which copies."""
    images = photographs(70, 2)
    sigma, reach, rounds, side = 1.1, 3, 2, 70
    generator = torch.Generator().manual_seed(0)
    moves = [torch.randint(-reach, reach, (2, 2, side, side), generator=generator).numpy() for _ in range(rounds)]
    corrupted = once(images, "glass_blur", 4)
    for i, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        x = np.uint8(ndimage.gaussian_filter(image / 255, (sigma, sigma, 0), mode="nearest") * 255 + 1e-3)
        for down, right in (move[:, i] for move in moves):
            for h in range(side - reach, reach, -1):
                for w in range(side - reach, reach, -1):
                    there = h + down[h, w], w + right[h, w]
                    x[h, w], x[there] = x[there], x[h, w]
        expected = ndimage.gaussian_filter(x / 255, (sigma, sigma, 0), mode="nearest") * 255
        assert np.abs(corrupted[i].permute(1, 2, 0).numpy() - expected).max() <= 1.01


def test_snow_falls_alike_on_every_channel_and_upside_down() -> None:
    """On black paper there is the whitening and the two layers of flakes, each the other turned round."""
    black = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    for severity in SEVERITIES:
        corrupted = once(black, "snow", severity)
        assert torch.equal(corrupted, corrupted.flip(2, 3))
        assert torch.equal(corrupted[:, :1].expand(-1, 3, -1, -1), corrupted)
        kept = (0.95, 0.9, 0.9, 0.85, 0.8)[severity - 1]
        assert int(corrupted.min()) == int((1 - kept) * 0.5 * 255 + 1e-3)
        assert int(corrupted.max()) > int(corrupted.min()) + 20
    assert int(once(255 - black, "snow", 3).min()) == 255


def test_flakes_are_enlarged_as_by_scipy() -> None:
    layer = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    for zoom in (1.0, 1.25, 1.75, 2.25):
        cut = int(np.ceil(32 / zoom))
        top = (32 - cut) // 2
        large = ndimage.zoom(layer[0, 0, top : top + cut, top : top + cut].numpy(), zoom, order=1)
        trim = (len(large) - 32) // 2
        expected = torch.from_numpy(large[trim : trim + 32, trim : trim + 32])
        assert float((enlarged(layer, zoom)[0, 0] - expected).abs().max()) < 1e-5


@pytest.mark.parametrize(("severity", "end"), [(1, 1.06), (2, 1.11), (3, 1.16), (4, 1.21), (5, 1.26)])
def test_zoom_blur_is_that_of_the_published_procedure(severity: int, end: float) -> None:
    """Enlarged by scipy, one image and one zoom at a time, as make_cifar_c.py does it."""
    photos, zooms = photographs(32, 4), np.arange(1, end, 0.01)
    blurred = once(photos, "zoom_blur", severity)
    for image, ours in zip(photos.permute(0, 2, 3, 1).numpy() / 255, blurred.permute(0, 2, 3, 1), strict=True):
        total = image.copy()
        for zoom in zooms:
            cut = int(np.ceil(32 / zoom))
            top = (32 - cut) // 2
            large = ndimage.zoom(image[top : top + cut, top : top + cut], (zoom, zoom, 1), order=1)
            trim = (len(large) - 32) // 2
            total += large[trim : trim + 32, trim : trim + 32]
        expected = (total / (len(zooms) + 1) * 255).astype(np.uint8)
        assert np.abs(expected.astype(int) - ours.numpy().astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("name", "amounts"),
    [("gaussian_noise", (0.04, 0.08, 0.12, 0.15, 0.18)), ("contrast", (0.4, 0.3, 0.2, 0.1, 0.05))],
)
def test_images_of_64_pixels_are_corrupted_as_tiny_imagenet_c_is(name: str, amounts: tuple[float, ...]) -> None:
    grey = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    grey[..., :32] = 96
    for severity, amount in enumerate(amounts, 1):
        spread = once(grey, name, severity).float().std(unbiased=False) / 255
        own = 16 / 255
        expected = (own**2 + amount**2) ** 0.5 if name == "gaussian_noise" else own * amount
        assert float(spread) == pytest.approx(expected, rel=0.03, abs=0.5 / 255)


def test_fog_reaches_from_clear_to_thick() -> None:
    """The clouds span 0 to 1, so a flat image of value v ends between v v / (v + thickness) and v."""
    grey = torch.full((3, 3, 32, 32), 128, dtype=torch.uint8)
    value = 128 / 255
    for severity, thickness in zip(SEVERITIES, (0.2, 0.5, 0.75, 1, 1.5), strict=True):
        corrupted = once(grey, "fog", severity)
        assert corrupted.amax((1, 2, 3)).tolist() == [128] * 3
        assert (corrupted.amin((1, 2, 3)) - int(255 * value**2 / (value + thickness))).abs().max() <= 1
        assert not torch.equal(corrupted[0], corrupted[1])
    rough = [(once(grey, "fog", s)[:, :, 1:].float() - once(grey, "fog", s)[:, :, :-1]).abs().mean() for s in (2, 5)]
    assert rough[1] > rough[0]


def test_least_elastic_transform_is_affine() -> None:
    """Severity 1 up to 64 pixels only moves three corners, by at most 8 % of the side, so that ramps stay ramps."""
    ramp = torch.arange(40, dtype=torch.uint8).mul(6).expand(2, 3, 40, 40).contiguous()
    corrupted = once(ramp, "elastic_transform", 1).float()[:, :, 12:28, 12:28]
    assert not torch.equal(corrupted[0], corrupted[1])
    for direction in (2, 3):
        assert corrupted.diff(dim=direction).diff(dim=direction).abs().max() <= 2  # of fractions cut off
    steps = corrupted.diff(dim=3).mean((1, 2, 3)) / 6
    assert ((steps > 0.6) & (steps < 1.7)).all()
