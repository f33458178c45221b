"""Labels that are wrong on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stkd
from stkd.core.errors import StkdError
from stkd.data import open_data
from stkd.data.label_noise import with_label_noise


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_as_many_labels_are_wrong_and_all_others_are_right(share: float) -> None:
    data = open_data("digits", val_fraction=0.1)
    noisy = with_label_noise(data, share, seed=3)
    wrong = noisy.train.labels != data.train.labels
    assert wrong.sum() == round(share * len(data.train))
    assert data.val is not None
    assert noisy.val is data.val
    assert noisy.test is data.test
    moved = (noisy.train.labels - data.train.labels)[wrong] % 10
    counts = np.bincount(moved, minlength=10)
    assert counts[0] == 0
    assert counts[1:].min() > 0.4 * counts[1:].mean()


def test_the_seed_decides_and_the_fingerprint_tells() -> None:
    data = open_data("digits")
    one, same, other = (with_label_noise(data, 0.2, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.train.labels, same.train.labels)
    assert not np.array_equal(one.train.labels, other.train.labels)
    assert len({data.fingerprint, one.fingerprint, other.fingerprint}) == 3
    assert one.fingerprint == same.fingerprint
    assert with_label_noise(data, 0.0, seed=0) is data


def test_a_run_has_them_and_its_test_images_do_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    how: dict[str, Any] = {"epochs": 1, "train_images": 200, "precision": "32", "accelerator": "cpu"}
    with caplog.at_level("INFO"):
        stkd.train("cnn2", "digits", out=tmp_path / "run", label_noise=0.4, **how)
    assert "80 of 200 training labels are wrong on purpose" in caplog.text
    assert "label_noise: 0.4" in (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(StkdError, match="label_noise must be at least 0 and below 1"):
        stkd.train("cnn2", "digits", out=tmp_path / "other", label_noise=1.0, **how)
