from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from stkd.core.errors import StkdError
from stkd.runs.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from stkd.runs.verification import verify

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
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.pt", "manifest.json"]


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
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.pt", "manifest.json"]


def kept(folder: Path, *epochs: int) -> Path:
    """Checkpoints of some epochs, one after the other."""
    for epoch in epochs:
        save_checkpoint(folder / "last.pt", {**STATE, "epoch": epoch, "step": 0})
    return folder / "last.pt"


def test_the_one_before_is_kept(tmp_path: Path) -> None:
    path = kept(tmp_path, 1, 2, 3)
    assert [load_checkpoint(tmp_path / name)["epoch"] for name in ("last.pt", "previous.pt")] == [3, 2]
    assert newest_checkpoint(path, mend=True)["epoch"] == 3


def test_a_flipped_bit_is_found_and_the_one_before_is_taken(
    tmp_path: Path, flipped: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = kept(tmp_path, 1, 2)
    for seed in range(20):
        with flipped(path, seed):
            assert newest_checkpoint(path, mend=False)["epoch"] == 1
    assert "last.pt is damaged; the run goes on from the one before it, of epoch 2, step 0" in caplog.messages[0]
    with flipped(path, 0):
        assert newest_checkpoint(path, mend=True)["epoch"] == 1
        assert load_checkpoint(path)["epoch"] == 1
        kept(tmp_path, 5)
        assert load_checkpoint(tmp_path / "previous.pt")["epoch"] == 1


def test_where_both_are_damaged_it_begins_anew(tmp_path: Path) -> None:
    path = kept(tmp_path, 1, 2)
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(StkdError, match=r"last\.pt is damaged; delete .* to train from the beginning"):
        newest_checkpoint(path, mend=True)


def test_killed_at_any_write_there_is_a_checkpoint(tmp_path: Path, killed_at_write: Any) -> None:
    path, writes = kept(tmp_path, 1, 2), 0
    while True:
        try:
            with killed_at_write(writes):
                kept(tmp_path, 3)
            break
        except KeyboardInterrupt:
            writes += 1
        assert load_checkpoint(path)["epoch"] == 2
        assert "damaged" not in verify(tmp_path).values()
    assert writes == 4  # manifest, the one before, manifest, the last one
    assert load_checkpoint(path)["epoch"] == 3


def test_checkpoints_of_an_earlier_version(tmp_path: Path) -> None:
    torch.save({**STATE, "step": 0}, tmp_path / "last.pt")
    assert newest_checkpoint(tmp_path / "last.pt", mend=True)["epoch"] == 3
    kept(tmp_path, 4)
    assert [load_checkpoint(tmp_path / name)["epoch"] for name in ("last.pt", "previous.pt")] == [4, 3]


def test_a_damaged_manifest_costs_no_checkpoint(tmp_path: Path) -> None:
    path = kept(tmp_path, 1, 2)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StkdError, match=r"manifest\.json is damaged, .* or delete it"):
        newest_checkpoint(path, mend=True)
    (tmp_path / "manifest.json").unlink()
    assert newest_checkpoint(path, mend=True)["epoch"] == 2
