from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from stkd.core.errors import StkdError
from stkd.runs.checkpoint import load_checkpoint, save_checkpoint

STATE: dict[str, Any] = {
    "identity": {"data": "d"},
    "w": torch.arange(1000.0),
    "epoch": 3,
    "best": None,
    "rows": [{"a": 1.5}],
}


def test_round_trip(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", STATE)
    state = load_checkpoint(tmp_path / "last.pt")
    assert torch.equal(state.pop("w"), STATE["w"])
    assert state == {k: v for k, v in STATE.items() if k != "w"}
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_cut_short(share: float, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, STATE)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(StkdError, match=r"checkpoint .*last\.pt is damaged; delete"):
        load_checkpoint(path)


def test_foreign_objects_are_not_executed(tmp_path: Path) -> None:
    class Foreign:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "TRACE",))

    torch.save({**STATE, "extra": Foreign()}, tmp_path / "last.pt")
    with pytest.raises(StkdError, match="is damaged"):
        load_checkpoint(tmp_path / "last.pt")
    assert not (tmp_path / "TRACE").exists()


def test_failed_write_keeps_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, STATE)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            save_checkpoint(path, {**STATE, "epoch": 4})
    assert load_checkpoint(path)["epoch"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
