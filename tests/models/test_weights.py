from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from stkd.core.errors import StkdError
from stkd.models import create, load, read_state, save, weights


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(1)
    return create("resnet8", num_classes=10)


def fresh() -> nn.Module:
    torch.manual_seed(2)
    return create("resnet8", num_classes=10)


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for (name, a), (_, b) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


def refusal(path: Path, target: nn.Module | None = None) -> str:
    """The one line that loading ends in, and the proof that it changed nothing."""
    target = target or fresh()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(StkdError) as caught:
        load(target, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_round_trip_with_metadata(model: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "student.safetensors"
    save(model.to(memory_format=torch.channels_last), path, {"model": "resnet8"})
    target = fresh()
    load(target, path)
    assert_same(model, target)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"model": "resnet8"}
    assert os.listdir(tmp_path) == ["student.safetensors"]


def test_shared_tensors_are_written_each(tmp_path: Path) -> None:
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    save(tied, tmp_path / "tied.safetensors")
    state = read_state(tmp_path / "tied.safetensors")
    assert torch.equal(state["0.weight"], state["1.weight"])


def test_failed_save_leaves_the_old_file_and_no_other(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "student.safetensors"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(model, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["student.safetensors"]


def test_saving_into_a_missing_folder_is_told(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(StkdError, match="cannot write"):
        save(model, tmp_path / "missing" / "student.safetensors")


@pytest.mark.parametrize("key", [None, "model", "state_dict", "model_state_dict", "net", "student", "ema"])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_checkpoints_of_many_kinds_load(key: str | None, prefix: str, model: nn.Module, tmp_path: Path) -> None:
    state: dict[str, Any] = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    path = tmp_path / "checkpoint.pth"
    torch.save(state if key is None else {key: state, "epoch": 3, "best_acc": torch.tensor(70.0)}, path)
    target = fresh()
    load(target, path)
    assert_same(model, target)


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_numpy_accuracies_beside_the_weights_are_read(module: bytes, model: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    checkpoint = {"model": model.state_dict(), "best_acc": np.float64(70.0), "loss": np.float32(0.5)}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=False)
    names = (b"numpy._core.multiarray", b"numpy.core.multiarray")
    content = path.read_bytes()
    for name in names:
        content = content.replace(b"c" + name + b"\n", b"c" + module + b"\n")
    path.write_bytes(content)
    target = fresh()
    load(target, path)
    assert_same(model, target)


def test_old_checkpoints_without_batch_counters_load(model: nn.Module, tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    target = fresh()
    load(target, tmp_path / "old.pth")
    assert_same(model, target)


def test_half_precision_weights_load(model: nn.Module, tmp_path: Path) -> None:
    save(model.half(), tmp_path / "half.safetensors")
    target = fresh()
    load(target, tmp_path / "half.safetensors")
    assert target.fc.weight.dtype == torch.float32
    assert torch.equal(target.fc.weight, model.fc.weight.float())


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "no weights file" in refusal(tmp_path / "nothing.pth")
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 half a zip", b"\x80\x02}q\x00."])
def test_files_of_other_kinds(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    assert str(path) in refusal(path)


@pytest.mark.parametrize("kind", ["safetensors", "pth", "legacy"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_files(kind: str, share: float, model: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / f"cut.{kind}"
    if kind == "safetensors":
        save(model, path)
    else:
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=kind == "pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "cut short" in refusal(path)


class Foreign:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_record_names_in_another_encoding(model: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(model.state_dict(), path)
    path.write_bytes(path.read_bytes().replace(b"model/data.pkl", b"model/dat\xa1.pkl"))
    with pytest.raises(StkdError, match="damaged"):
        read_state(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_foreign_objects_are_neither_run_nor_read(
    legacy: bool, model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "foreign.pth"
    torch.save({"model": model.state_dict(), "extra": Foreign()}, path, _use_new_zipfile_serialization=not legacy)
    line = refusal(path)
    assert "mkdir" in line
    assert "re-save" in line
    assert not (tmp_path / "ran").exists()


def test_checkpoints_without_weights_tell_what_they_hold(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "empty.pth")
    assert "epoch, loss" in refusal(tmp_path / "empty.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    assert "a list" in refusal(tmp_path / "list.pth")


@pytest.mark.parametrize("other", ["resnet14", "resnet8x4", "wrn_16_1", "ShuffleV2"])
def test_weights_of_another_model_are_recognised(other: str, tmp_path: Path) -> None:
    save(create(other, num_classes=10), tmp_path / "other.safetensors")
    line = refusal(tmp_path / "other.safetensors")
    assert line.endswith(f"look like weights of {other}")
    assert "unexpected" in line


def test_missing_names_are_counted(model: nn.Module, tmp_path: Path) -> None:
    state = model.state_dict()
    del state["fc.weight"], state["fc.bias"]
    torch.save(state, tmp_path / "headless.pth")
    assert "2 missing (fc.weight, fc.bias)" in refusal(tmp_path / "headless.pth")


def test_another_shape_is_told(model: nn.Module, tmp_path: Path) -> None:
    save(create("resnet8", num_classes=10, in_channels=1), tmp_path / "grey.safetensors")
    assert "(16, 1, 3, 3) in the file, (16, 3, 3, 3) in the model" in refusal(tmp_path / "grey.safetensors")


def test_another_number_of_classes_is_told(tmp_path: Path) -> None:
    save(create("resnet8", num_classes=100), tmp_path / "hundred.safetensors")
    assert "has 100 classes, the model 10 (fc.weight)" in refusal(tmp_path / "hundred.safetensors")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("kind", ["complex", "sparse", "quantised", "no"])
def test_numbers_that_are_not_plain_are_refused(kind: str, model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a reader of files would hand them on: none of them may be taken for what it is not."""
    change: dict[str, Callable[[Tensor], Tensor]] = {
        "complex": lambda tensor: torch.complex(tensor, tensor),
        "sparse": Tensor.to_sparse,
        "quantised": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
        "no": lambda tensor: tensor.to("meta"),
    }
    state = model.state_dict()
    before = {name: tensor.clone() for name, tensor in state.items()}
    given = {**before, "fc.weight": change[kind](before["fc.weight"])}
    monkeypatch.setattr(weights, "read_content", lambda _: given)
    with pytest.raises(StkdError, match=f"holds {kind} numbers in fc.weight"):
        weights.load(model, "some.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("kind", ["complex", "sparse", "quantised", "meta", "too large"])
def test_files_of_other_numbers_are_refused(kind: str, model: nn.Module, tmp_path: Path) -> None:
    state = model.state_dict()
    weight = state["fc.weight"]
    state["fc.weight"] = {
        "complex": torch.complex(weight, weight),
        "sparse": weight.to_sparse(),
        "quantised": torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
        "meta": weight.to("meta"),
        "too large": weight.double() * 1e300,
    }[kind]
    torch.save(state, tmp_path / "other.pth")
    assert "fc.weight" in refusal(tmp_path / "other.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_numbers_are_refused(value: float, model: nn.Module, tmp_path: Path) -> None:
    state: dict[str, Tensor] = model.state_dict()
    state["fc.bias"] = torch.full((10,), value)
    torch.save(state, tmp_path / "broken.pth")
    assert "NaN or infinite values in fc.bias" in refusal(tmp_path / "broken.pth")
