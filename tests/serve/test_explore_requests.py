"""Crafted HTTP requests to the explore page: it shows what was uploaded to it, and nothing else."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stkd.core.errors import StkdError
from stkd.serve import Explorer
from stkd.serve.uploads import LARGEST, uploaded

pytestmark = pytest.mark.services

REFUSED = "only files that were uploaded to this page"
FILE = {"_type": "gradio.FileData"}

Ask = Callable[..., Any]


@pytest.fixture
def address(student_run: Path, gradio: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from stkd.serve.page import serve

    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that it is as before after the test
    page, address = serve(Explorer(student_run), "explore a run")
    yield address
    page.close(verbose=False)
    page.server.thread.join(60)


@pytest.fixture
def ask(address: str) -> Ask:
    """Puts two images into the queue as a browser does and returns what the server says in the end."""
    import httpx

    config = httpx.get(f"{address}config", timeout=300).json()
    answer = next(call for call in config["dependencies"] if len(call["targets"]) > 3)

    def send(first: Any, second: Any = None) -> Any:
        session = secrets.token_hex(4)
        data = [2, 1, first, first if second is None else second, None, None, 0.5, 0, 0]
        body = {"data": data, "fn_index": answer["id"], "session_hash": session, "trigger_id": None}
        httpx.post(f"{address}gradio_api/queue/join", json=body, timeout=300).raise_for_status()
        with httpx.stream(
            "GET", f"{address}gradio_api/queue/data", params={"session_hash": session}, timeout=300
        ) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:") and (said := json.loads(line[5:]))["msg"] == "process_completed":
                    return said
        raise AssertionError("the queue ended without an answer")

    return send


@pytest.fixture
def upload(address: str) -> Callable[[Path], str]:
    import httpx

    def send(path: Path) -> str:
        with path.open("rb") as file:
            answer = httpx.post(f"{address}gradio_api/upload", files={"files": (path.name, file)}, timeout=300)
        return str(answer.raise_for_status().json()[0])

    return send


def picture(path: Path) -> Path:
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(path)
    return path


def test_an_uploaded_image_is_shown(ask: Ask, upload: Callable[[Path], str], tmp_path: Path) -> None:
    path = upload(picture(tmp_path / "own.png"))
    for payload in ({"path": path}, {"path": path, "meta": FILE}):
        said = ask(payload)
        assert said["success"], said
        assert "0.50 x image 1 + 0.50 x image 2" in said["output"]["data"][1]


def test_an_example_is_shown(ask: Ask, address: str) -> None:
    import httpx

    components = httpx.get(f"{address}config", timeout=300).json()["components"]
    example = next(c["props"]["value"] for c in components if c["type"] == "image" and c["props"].get("value"))
    assert ask({"path": example["path"], "meta": FILE})["success"]


@pytest.mark.parametrize("meta", [None, FILE], ids=["without-meta", "with-meta"])
@pytest.mark.parametrize("place", ["file", "link", "link-in-cache", "climb", "fifo", "zero", "zero-in-cache", "null"])
def test_other_files_are_refused(
    place: str, meta: dict[str, str] | None, ask: Ask, upload: Callable[[Path], str], tmp_path: Path
) -> None:
    own = picture(tmp_path / "private.png")
    cache = Path(upload(picture(tmp_path / "own.png"))).parent
    paths = {
        "file": own,
        "link": tmp_path / "link.png",
        "link-in-cache": cache / "link.png",
        "climb": f"{cache}/{'../' * 12}{own}",
        "fifo": cache / "fifo.png",
        "zero": "/dev/zero",
        "zero-in-cache": cache / "zero.png",
        "null": f"{cache}/a\0b.png",
    }
    if place.startswith("link"):
        Path(paths[place]).symlink_to(own)
    if place == "zero-in-cache":
        Path(paths[place]).symlink_to("/dev/zero")
    if place == "fifo":
        os.mkfifo(paths[place])
    said = ask({"path": str(paths[place]), **({} if meta is None else {"meta": meta})})
    assert not said["success"]
    assert "data" not in said["output"]
    if meta is None:
        assert REFUSED in said["output"]["error"]


def test_large_files_in_the_cache_are_refused(ask: Ask, upload: Callable[[Path], str], tmp_path: Path) -> None:
    large = Path(upload(picture(tmp_path / "own.png"))).with_name("large.png")
    with large.open("wb") as file:
        file.truncate(LARGEST + 1)
    said = ask({"path": str(large)})
    assert not said["success"]
    assert said["output"]["error"] == "the file is larger than 16 MB"


@pytest.mark.parametrize("place", ["path-of-an-image", "path-of-a-slider"])
def test_nothing_is_fetched(place: str, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    async def fetch(url: str, cache_dir: str) -> str:
        fetched.append(url)
        return ""

    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_download", fetch)
    payload = {"path": "http://example.com/a.png", "meta": FILE}
    said = ask(payload) if place == "path-of-an-image" else ask(None, {"path": payload, "meta": FILE})
    assert not said["success"] or "image 1 is missing" in str(said)
    assert fetched == []


def test_other_host_names_are_refused(address: str) -> None:
    import httpx

    port = address.rstrip("/").rsplit(":", 1)[1]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "www.localhost"):
        for page in ("", "config", "gradio_api/queue/data"):
            assert httpx.get(address + page, headers={"Host": host}, timeout=300).status_code == 400
        body = {"data": [], "fn_index": 0, "session_hash": "a"}
        sent = httpx.post(f"{address}gradio_api/queue/join", json=body, headers={"Host": host}, timeout=300)
        assert sent.status_code == 400
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost"):
        assert httpx.get(f"{address}config", headers={"Host": host}, timeout=300).status_code == 200


def test_resolved_paths(tmp_path: Path) -> None:
    cache, outside = tmp_path / "cache", picture(tmp_path / "outside.png")
    cache.mkdir()
    inside = picture(cache / "inside.png")
    (tmp_path / "other name").symlink_to(cache)
    assert uploaded(str(inside), cache) == uploaded(str(tmp_path / "other name" / "inside.png"), cache) == str(inside)
    (cache / "loop").symlink_to(cache / "loop")
    for path in (outside, cache, cache / "loop", cache / "missing.png", tmp_path / "cache-of-another" / "a.png", ""):
        with pytest.raises(StkdError, match=REFUSED):
            uploaded(str(path), cache)
