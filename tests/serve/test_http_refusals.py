"""Bad requests to the prediction server: a status, one line of JSON, and the next request is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

MB = 1 << 20
PNG = {"Content-Type": "image/png"}


def form(*images: bytes, kind: str | None = None) -> list[tuple[str, Any]]:
    return [("image", (f"{i}.png", image, *([kind] if kind else []))) for i, image in enumerate(images)]


def assert_refused(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert list(said) == ["error"]
    assert "\n" not in said["error"]
    assert "Traceback" not in answer.text
    for word in words:
        assert word in said["error"]


BOUNDARY = {"Content-Type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nabc'
NONE = b'--x\r\nContent-Disposition: form-data; name="image"; filename=""\r\n\r\n\r\n--x--\r\n'
REQUESTS: dict[str, tuple[dict[str, Any], int, str]] = {
    "nothing": ({}, 400, "send images as files of a form"),
    "empty-body": ({"headers": PNG}, 400, "there is no image; send images as files"),
    "empty-form": ({"content": b"--x--\r\n", "headers": BOUNDARY}, 400, "there is no image"),
    "no-file-chosen": ({"content": NONE, "headers": BOUNDARY}, 400, "there is no image"),
    "text": ({"content": b"hello", "headers": {"Content-Type": "text/plain"}}, 415, "the body is text/plain"),
    "json": ({"json": {"image": "a.png"}}, 415, "the body is application/json"),
    "curl-data": ({"data": {"image": "a.png"}}, 415, "application/x-www-form-urlencoded"),
    "text-in-a-form": ({"files": form(b"hello", kind="text/html")}, 415, "file 1 of the form is text/html"),
    "compressed": ({"content": b"a", "headers": {**PNG, "Content-Encoding": "gzip"}}, 415, "compressed"),
    "field": ({"files": [("note", (None, b"hello"))]}, 422, "a field that is no file"),
    "top-in-the-form": ({"files": [("top", (None, b"3"))]}, 422, "/predict?top=3"),
    "top-zero": ({"files": form(b"a"), "params": {"top": "0"}}, 422, "top must be a whole number of at least 1"),
    "top-text": ({"files": form(b"a"), "params": {"top": "all"}}, 422, "top must be a whole number of at least 1"),
    "cut-form": ({"content": PART, "headers": BOUNDARY}, 400, "ends before its last boundary"),
    "no-boundary": ({"content": PART, "headers": {"Content-Type": "multipart/form-data"}}, 400, "boundary"),
    "broken-form": ({"content": b"--y\r\n" + PART, "headers": BOUNDARY}, 400, "the form cannot be read"),
    "many-images": ({"files": form(*[b"a"] * 10_000)}, 413, "more than 64 images"),
    "large-image": ({"content": bytes(50 * MB), "headers": PNG}, 413, "the image is larger than 20 MB"),
    "large-image-in-a-form": ({"files": form(b"a", bytes(21 * MB))}, 413, "image 2 is larger than 20 MB"),
    "large-request": ({"files": form(*[bytes(18 * MB)] * 6)}, 413, "the request is larger than 100 MB"),
}


@pytest.mark.parametrize("row", REQUESTS.values(), ids=REQUESTS)
def test_refused(row: tuple[dict[str, Any], int, str], client: Any, kinds: dict[str, bytes]) -> None:
    request, status, words = row
    assert_refused(client.post("/predict", **request), status, words)
    assert client.post("/predict", files=form(kinds["plain.jpg"])).status_code == 200


def test_other_addresses_and_methods(client: Any) -> None:
    assert_refused(client.get("/../etc/passwd"), 404, "GET / says")
    assert_refused(client.post("/predict/", content=b"a"), 404)
    answer = client.get("/predict")
    assert_refused(answer, 405, "GET / says")
    assert answer.headers["allow"] == "POST"
    assert_refused(client.put("/health"), 405)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "localhost:a"])
def test_foreign_host_names(host: str, client: Any, kinds: dict[str, bytes]) -> None:
    for answer in (
        client.get("/health", headers={"Host": host}),
        client.post("/predict", files=form(kinds["plain.jpg"]), headers={"Host": host}),
    ):
        assert_refused(answer, 400, "names of its own machine")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:8000", "[::1]", "[::1]:8000"])
def test_own_host_names(host: str, client: Any) -> None:
    answer = client.get("/health", headers={"Host": host, "Origin": "http://evil.example"})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("limits", [{"requests": 0}, {"held_bytes": 10}, {"waiting": 1}], ids=str)
def test_busy(limits: dict[str, int], server: Callable[..., Any], kinds: dict[str, bytes]) -> None:
    client = server(**limits)
    answer = client.post("/predict", files=form(kinds["plain.jpg"], kinds["clear.png"]))
    assert_refused(answer, 503, "ask again")
    assert int(answer.headers["retry-after"]) >= 1
    assert client.get("/health").status_code == 200


def test_what_a_request_takes_it_gives_back(server: Callable[..., Any], kinds: dict[str, bytes], bomb: bytes) -> None:
    images = form(kinds["plain.jpg"], kinds["clear.png"])
    client = server(held_bytes=200_000, waiting=2, requests=1)
    for _ in range(10):
        assert client.post("/predict", files=images).status_code == 200
        assert client.post("/predict", files=form(bomb)).status_code == 422
        assert client.post("/predict", files=form(*[b"a"] * 3)).status_code == 503


def test_a_model_that_fails(server: Callable[..., Any], kinds: dict[str, bytes]) -> None:
    def run(_: object) -> None:
        raise RuntimeError("/secret/model.onnx")

    answer = server({"run": run}).post("/predict", files=form(kinds["plain.jpg"]))
    assert_refused(answer, 500, "the server failed to answer")
    assert "secret" not in answer.text


def test_a_model_that_takes_too_long(server: Callable[..., Any], kinds: dict[str, bytes]) -> None:
    import threading

    going_on = threading.Event()
    client = server({"run": lambda _: going_on.wait(60)}, seconds=0.2)
    answer = client.post("/predict", files=form(kinds["plain.jpg"]))
    going_on.set()
    assert_refused(answer, 504, "within 0.2 seconds")


class Sender:
    """A client that sends a body in parts, and notes how much of it was read."""

    def __init__(self, parts: AsyncIterator[bytes], headers: dict[str, str]) -> None:
        self.parts, self.headers = parts, headers
        self.read = 0
        self.said: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        async for part in self.parts:
            self.read += len(part)
            return {"type": "http.request", "body": part, "more_body": True}
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.said.append(message)

    def ask(self, app: Any) -> tuple[int, dict[str, Any]]:
        headers = [(k.lower().encode(), v.encode()) for k, v in {"Host": "localhost", **self.headers}.items()]
        scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}
        asyncio.run(app({**scope, "app": None, "root_path": ""}, self.receive, self.send))
        return self.said[0]["status"], json.loads(b"".join(message.get("body", b"") for message in self.said[1:]))


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(MB)


async def parts(*of: bytes) -> AsyncIterator[bytes]:
    for part in of:
        yield part


async def stalled() -> AsyncIterator[bytes]:
    yield b"begun"
    await asyncio.sleep(60)


def test_no_more_is_read_than_the_limit(client: Any) -> None:
    sender = Sender(endless(), PNG)
    status, said = sender.ask(client.app)
    assert (status, said) == (413, {"error": "the image is larger than 20 MB"})
    assert sender.read == 21 * MB
    announced = Sender(endless(), {**PNG, "Content-Length": str(200 * MB)})
    assert announced.ask(client.app)[0] == 413
    assert announced.read == 0


def test_a_body_that_does_not_come(server: Callable[..., Any]) -> None:
    status, said = Sender(stalled(), PNG).ask(server(body_seconds=0.1).app)
    assert (status, said) == (408, {"error": "the request did not come within 0.1 seconds"})


def test_a_client_that_leaves(client: Any, kinds: dict[str, bytes]) -> None:
    assert Sender(parts(b"begun"), PNG).ask(client.app) == (400, {"error": "the request was cut off"})
    assert client.post("/predict", files=form(kinds["plain.jpg"])).status_code == 200
