"""The prediction server as a process with a port: many clients, slow ones, signals."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stkd.export import export_run, predict_exported

pytestmark = pytest.mark.services

LIMITED = """
import sys
from pathlib import Path
from stkd.serve import http_server
from stkd.serve.http_api import make_app
from stkd.serve.http_limits import Limits
from stkd.serve.http_model import open_served

limits = Limits(headers_seconds=1, body_seconds=1, connections=12)
with http_server.listen("127.0.0.1", 0) as listening:
    app = make_app(open_served(Path(sys.argv[1])), limits=limits)
    print(http_server.address_of(listening, "127.0.0.1"), flush=True)
    http_server.run(app, listening)
"""

Start = Callable[..., tuple[str, "subprocess.Popen[str]"]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python with a server, and reads its address from the first line."""
    with contextlib.ExitStack() as stack:

        def begin(*words: object) -> tuple[str, subprocess.Popen[str]]:
            pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            command = [sys.executable, *map(str, words)]
            process = stack.enter_context(subprocess.Popen(command, **pipes, start_new_session=True))
            stack.callback(process.kill)
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://[\w.:\[\]]+", line)
            assert found is not None, (line, process.communicate())
            return found[0].removesuffix("/predict"), process

        yield begin


def connect(address: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))
    connection.settimeout(300)
    return connection


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            found += part
    return found


def body_of(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def test_many_at_once(start: Start, served_file: Path, kinds: dict[str, bytes], tmp_path: Path) -> None:
    import httpx

    for name, content in kinds.items():
        (tmp_path / name).write_bytes(content)
    expected = {Path(row["image"]).name: row["model"] for row in predict_exported(served_file, [tmp_path])}
    address, process = start("-m", "stkd", "serve", served_file, "--port", 0)
    names = list(kinds)

    with httpx.Client(timeout=300, limits=httpx.Limits(max_connections=64)) as client:

        def ask(number: int) -> tuple[str, int, Any]:
            name = names[number % len(names)]
            answer = client.post(f"{address}/predict", files={"image": (name, kinds[name])})
            return name, answer.status_code, answer.json()

        with ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(ask, range(300)))
        bad = client.post(f"{address}/predict", content=bytes(50 << 20), headers={"Content-Type": "image/png"})
    assert bad.status_code == 413
    for name, status, rows in answers:
        assert status == 200
        assert [c["class"] for c in rows[0]["model"]] == [c["class"] for c in expected[name]]
        for one, other in zip(rows[0]["model"], expected[name], strict=True):
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out, err) == (0, "", "")


def test_an_int8_file(start: Start, served_run: Path, kinds: dict[str, bytes], tmp_path: Path) -> None:
    import httpx

    file = export_run(served_run, "int8-onnx").file
    (tmp_path / "plain.jpg").write_bytes(kinds["plain.jpg"])
    (expected,) = predict_exported(file, [tmp_path / "plain.jpg"])
    address, _ = start("-m", "stkd", "serve", file, "--port", 0)
    answer = httpx.post(f"{address}/predict", files={"image": kinds["plain.jpg"]}, timeout=300).json()
    for one, other in zip(answer[0]["model"], expected["model"], strict=True):
        assert one["class"] == other["class"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_what_has_begun_is_finished(start: Start, served_file: Path, kinds: dict[str, bytes]) -> None:
    address, process = start("-m", "stkd", "serve", served_file, "--port", 0)
    image = kinds["plain.jpg"]
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n"
    with connect(address) as begun, connect(address) as idle:
        begun.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        assert b"100" in begun.recv(1000)  # the request is being read
        process.terminate()
        assert all_of(idle) == b""
        begun.sendall(image)
        answer = all_of(begun)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert body_of(answer)[0]["model"]
    _, err = process.communicate(timeout=300)
    assert process.returncode == 143
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_slow_clients_are_sent_away(start: Start, served_file: Path) -> None:
    import httpx

    address, _ = start("-c", LIMITED, served_file)
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    with connect(address) as silent, connect(address) as slow, connect(address) as body:
        slow.sendall(head)
        body.sendall(head + b"Content-Length: 1000\r\n\r\n")
        closed = False
        for _ in range(3000):  # a byte now and then; a closed connection refuses the second
            try:
                slow.sendall(b"x")
                body.sendall(b"x")
            except OSError:
                closed = True
                break
            time.sleep(0.1)
        assert closed
        assert all_of(silent) == b""
        assert b"408 Request Timeout" in all_of(body)
    assert httpx.get(f"{address}/health", timeout=300).status_code == 200


def test_the_number_of_connections_is_bounded(start: Start, served_file: Path) -> None:
    address, _ = start("-c", LIMITED, served_file)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(address)) for _ in range(20)]
        answers = [all_of(connection) for connection in connections]
    refused = [answer for answer in answers if answer]
    assert refused
    assert all(b"\r\nretry-after: " in answer for answer in refused)
    assert all(body_of(answer) == {"error": "the server is busy; ask again in a second"} for answer in refused)


@pytest.mark.parametrize("request_", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00"], ids=str)
def test_what_is_no_request(request_: bytes, start: Start, served_file: Path) -> None:
    address, _ = start("-c", LIMITED, served_file)
    with connect(address) as connection:
        connection.sendall(request_ + b"\r\n\r\n")
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert body_of(answer) == {"error": "this is no HTTP request"}


def test_another_address_has_a_warning(start: Start, served_file: Path) -> None:
    import httpx

    address, process = start("-m", "stkd", "serve", served_file, "--host", "0.0.0.0", "--port", 0)
    port = address.rpartition(":")[2]
    headers = {"Host": f"{socket.gethostname()}:{port}"}
    assert httpx.get(f"http://127.0.0.1:{port}/health", headers=headers, timeout=300).status_code == 200
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert err.startswith("stkd: warning: --host 0.0.0.0: whoever reaches this machine can ask")
    assert err.count("\n") == 1
