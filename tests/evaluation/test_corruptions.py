from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_sample_image

from stkd.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt


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
        found = once(images, name, severity)
        assert found.shape == images.shape
        assert found.dtype == torch.uint8
        assert torch.equal(found, once(images, name, severity))
        far.append(distance(found, images))
    assert far == sorted(far)
    assert far[-1] > 1


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
    found = once(images, "brightness", 5).permute(0, 2, 3, 1).reshape(-1, 3).numpy()
    for before, after in zip(images.permute(0, 2, 3, 1).reshape(-1, 3).numpy(), found, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
        expected = np.array(colorsys.hsv_to_rgb(hue, saturation, min(1, value + 0.3))) * 255
        assert np.abs(after - expected).max() <= 1.01
    black = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    assert int(once(black, "brightness", 5).unique()) == 76


def test_pixelate_is_pillows_box_filter() -> None:
    images = photographs()
    found = once(images, "pixelate", 5)
    for image, got in zip(images, found, strict=True):
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
    for name in ("defocus_blur", "motion_blur", "zoom_blur", "pixelate"):
        for severity in SEVERITIES:
            assert (once(flat, name, severity).int() - 77).abs().max() <= 1
