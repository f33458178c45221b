"""Runs on a Ray that is started here."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from stkd.core.errors import StkdError
from stkd.studies.compare.recipe import Comparison
from stkd.studies.compare.study import compare


@pytest.mark.services
def test_local_ray(tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    tiny |= {"seeds": 1}
    tiny["methods"]["wild"] = {"method": "ce", "lr": 1e30}
    handler = signal.getsignal(signal.SIGTERM)
    found = compare(Comparison.of(tiny), tmp_path / "ray", jobs=1, backend="ray")
    assert signal.getsignal(signal.SIGTERM) is handler
    here = compare(Comparison.of(tiny), tmp_path / "here", jobs=1)
    for one, two in zip(found["cells"], here["cells"], strict=True):
        for ours, theirs in zip(one["runs"], two["runs"], strict=True):
            assert ours["test"] == pytest.approx(theirs["test"], rel=1e-5)  # Ray's worker has all threads
        assert len(one["failed"]) == len(two["failed"]) == (one["method"] == "wild")


def test_ray_is_optional(tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "stkd.studies.compare.ray_workers", raising=False)
    with pytest.raises(StkdError, match=r"--backend ray needs the package ray: pip install 'stkd\[ray\]'"):
        compare(Comparison.of(tiny), tmp_path, backend="ray")
