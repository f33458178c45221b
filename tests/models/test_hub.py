"""Where nothing can be fetched, that is known within seconds; what was fetched before is used."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from stkd.core.errors import StkdError
from stkd.models import create, hub
from stkd.models.files import load_model
from stkd.models.registry import recorded_name


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No host answers, and nothing was fetched."""

    def refuse(*args: Any, **options: Any) -> socket.socket:
        raise OSError("no route to host")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_a_folder_of_timm_opens_as_a_run_does(tmp_path: Path) -> None:
    saved = timm.create_model("test_resnet", num_classes=3).eval()
    pixels = {"num_classes": 3, "input_size": (3, 48, 48), "mean": (0.1, 0.2, 0.3)}
    saved.pretrained_cfg = {**saved.pretrained_cfg, **pixels}
    timm.models.save_for_hf(
        saved, tmp_path / "a", safe_serialization=True, model_config={"label_names": ["a", "b", "c"]}
    )
    model, info = load_model(tmp_path / "a")
    assert (info.model, info.size, info.mean) == ("timm/test_resnet", 48, (0.1, 0.2, 0.3))
    assert info.classes == ("a", "b", "c")
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(model(images), saved(images))
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    (tmp_path / "a" / "config.json").write_text(json.dumps({n: v for n, v in config.items() if n != "label_names"}))
    assert load_model(tmp_path / "a")[1].classes == ("0", "1", "2")


@pytest.mark.parametrize(
    "name", ["timm/test_resnet.r160_in1k", "timm/resnet18", "torchvision/resnet18", "hf/owner/name"]
)
def test_the_line_comes_at_once(name: str) -> None:
    before = time.monotonic()
    with pytest.raises(StkdError, match=f"{name} is not on this machine and .* does not answer") as caught:
        create(name, num_classes=3, pretrained=True)
    assert time.monotonic() - before < 10
    assert "\n" not in str(caught.value)


def test_offline_by_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(StkdError, match="HF_HUB_OFFLINE is set"):
        create("timm/resnet18", num_classes=3, pretrained=True)


def test_a_host_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def never(*args: Any, **options: Any) -> socket.socket:
        over.wait()
        raise OSError("the test is over")

    monkeypatch.setattr(hub, "SECONDS", 0.2)
    monkeypatch.setattr(socket, "create_connection", never)
    try:
        assert not hub.reachable("https://example.invalid/x")
    finally:
        over.set()


def test_a_host_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert hub.reachable(f"http://127.0.0.1:{port}/x")
        monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": f"http://127.0.0.1:{port}"})
        assert hub.reachable("https://example.invalid/x")
    assert not hub.reachable("https://example.invalid/x")


def downloaded(repository: str, folder: Path, files: dict[str, Any]) -> None:
    """Files as an earlier download leaves them in the cache."""
    place = folder / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    snapshot = place / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    for name, content in files.items():
        if isinstance(content, str):
            (snapshot / name).write_text(content)
        else:
            save_file(content, snapshot / name)


def test_weights_of_timm_from_an_earlier_download(tmp_path: Path) -> None:
    original = timm.create_model("test_resnet")
    downloaded("timm/test_resnet.r160_in1k", tmp_path / "hub", {"model.safetensors": original.state_dict()})
    model = create("timm/test_resnet.r160_in1k", num_classes=1000, pretrained=True)
    torch.testing.assert_close(model.state_dict(), original.state_dict())
    small = create("timm/test_resnet.r160_in1k", num_classes=3, pretrained=True, image_size=32)
    torch.testing.assert_close(small.conv1.state_dict(), original.conv1.state_dict())


def test_a_repository_from_an_earlier_download(tmp_path: Path) -> None:
    original = timm.create_model("test_resnet", num_classes=3)
    known = {"architecture": "test_resnet", "model_args": {"drop_rate": 0.25}, "pretrained_cfg": {"num_classes": 3}}
    config = json.dumps(known)
    downloaded("owner/name", tmp_path / "hub", {"config.json": config, "model.safetensors": original.state_dict()})
    model = create("hf/owner/name", num_classes=3, pretrained=True)
    torch.testing.assert_close(model.state_dict(), original.state_dict())
    assert model.drop_rate == 0.25
    assert recorded_name("hf/owner/name") == ("timm/test_resnet", {"drop_rate": 0.25})
    downloaded("owner/bare", tmp_path / "hub", {"config.json": config})
    with pytest.raises(StkdError, match=r"holds no model\.safetensors"):
        create("hf/owner/bare", num_classes=3, pretrained=True)
