"""Malformed, oversized, slow and many requests to the explore page: each is answered, and nothing else breaks."""

from __future__ import annotations

import json
import math
import secrets
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stkd.serve import Explorer

pytestmark = pytest.mark.services

MB = 1 << 20
PARTS = {"count": 0, "temperature": 1, "image": 2, "weight": 6}
VALUES: dict[str, tuple[Any, ...]] = {
    "count": (99, 0, -1, "x", None, 2.5, [2], 10**30),
    "temperature": (0, -1, 1e308, math.nan, math.inf, "x", None),
    "weight": (-5, 1e308, math.nan, "x", None, {}),
    "image": ("x", 5, [], {"a": 1}, {"path": 3}, {"path": "data:image/png;base64,AAAA"}),
}
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "text": b"hello",
    "number": b"5",
    "brackets": b"[" * 200_000,
    "no-function": b'{"data": []}',
    "other-function": b'{"data": [], "fn_index": 999, "session_hash": "a"}',
    "function-of-a-word": b'{"data": [], "fn_index": "x", "session_hash": "a"}',
    "long": b'{"data": ["' + b"a" * 2 * MB + b'"], "fn_index": 0, "session_hash": "a"}',
}


class Page:
    """The page, and a client of it."""

    def __init__(self, address: str, picture: Path) -> None:
        import httpx

        self.address, self.client = address, httpx.Client(timeout=300, base_url=address)
        config = self.client.get("config").json()
        self.function = next(call for call in config["dependencies"] if len(call["targets"]) > 3)["id"]
        with picture.open("rb") as file:
            (path,) = self.client.post("gradio_api/upload", files={"files": ("own.png", file)}).json()
        image = {"path": path, "meta": {"_type": "gradio.FileData"}}
        self.good = [2, 1, image, image, None, None, 0.5, 0, 0]

    def with_(self, part: str, value: Any) -> list[Any]:
        """Good values but for one."""
        return [value if place == PARTS[part] else other for place, other in enumerate(self.good)]

    def ask(self, data: list[Any]) -> Any:
        """What the queue says in the end."""
        session = secrets.token_hex(4)
        body = {"data": data, "fn_index": self.function, "session_hash": session, "trigger_id": None}
        self.client.post("gradio_api/queue/join", content=json.dumps(body), headers=JSON).raise_for_status()
        with self.client.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:") and (said := json.loads(line[5:]))["msg"] == "process_completed":
                    return said
        raise AssertionError("the queue ended without an answer")

    def answers(self) -> bool:
        """Whether a good request is answered."""
        return "0.50 x image 1 + 0.50 x image 2" in str(self.ask(self.good)["output"])


JSON = {"Content-Type": "application/json"}


@pytest.fixture
def page(
    student_run: Path, tmp_path: Path, gradio: None, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> Iterator[Page]:
    """The page; afterwards nothing stands on the terminal but lines of stkd."""
    from stkd.serve.page import serve

    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that it is as before after the test
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "own.png")
    page, address = serve(Explorer(student_run), "explore a run")
    capfd.readouterr()
    yield Page(address, tmp_path / "own.png")
    page.close(verbose=False)
    page.server.thread.join(60)
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err


def test_malformed(page: Page) -> None:
    for part, values in VALUES.items():
        for value in values:
            said = page.ask(page.with_(part, value))
            assert not said["success"], (part, value)
            assert said["output"]["error"], (part, value)
            assert "\n" not in said["output"]["error"]
    for data in ([], page.good[:3], page.good[:-1]):
        assert page.ask(data)["output"]["error"] == "these are no values of this page"
    for name, body in BODIES.items():
        answer = page.client.post("gradio_api/queue/join", content=body, headers=JSON)
        assert 400 <= answer.status_code < 500, name
    assert page.answers()


def test_oversized(page: Page, bomb: bytes) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield bytes(MB)

    for address, content in (
        ("gradio_api/queue/join", bytes(20 * MB)),
        ("gradio_api/upload", bytes(80 * MB)),
        ("gradio_api/queue/join", endless()),
    ):
        answer = page.client.post(address, content=content, headers=JSON)  # type: ignore[arg-type]
        assert answer.status_code in (400, 413), address
    (path,) = page.client.post("gradio_api/upload", files={"files": ("bomb.png", bomb)}).json()
    said = page.ask(page.with_("image", {"path": path, "meta": {"_type": "gradio.FileData"}}))
    assert "bomb.png has too many pixels for one image" in said["output"]["data"][1]
    assert page.answers()


def test_slow(page: Page) -> None:
    """Who says nothing, or one byte now and then, holds up nobody."""
    port = int(page.address.rstrip("/").rpartition(":")[2])
    head = b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    slow = [socket.create_connection(("127.0.0.1", port), 300) for _ in range(60)]
    try:
        for number, connection in enumerate(slow):
            connection.sendall([b"", head, head + b"Content-Length: 900\r\n\r\n{"][number % 3])
        assert page.answers()
    finally:
        for connection in slow:
            connection.close()
    assert page.answers()


def test_many(page: Page) -> None:
    answers: list[bool] = []

    def ask(number: int) -> None:
        said: Callable[[], Any] = page.answers if number % 2 else lambda: not page.ask([])["success"]
        answers.append(said())

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(ask, range(48)))
    assert answers == [True] * 48
