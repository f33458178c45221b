"""The prediction server as a process: many clients, int8, signals, another address."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stkd.export import export_run, predict_exported

pytestmark = pytest.mark.services

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
    assert (process.returncode, out) == (128 + signal.SIGINT, "")
    assert err == "stkd: stopped; run the same command again to go on\n"


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
    place = ("127.0.0.1", int(address.rpartition(":")[2]))
    with socket.create_connection(place, 300) as begun, socket.create_connection(place, 300) as idle:
        begun.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        assert b"100" in begun.recv(1000)  # the request is being read
        process.terminate()
        assert idle.recv(1) == b""
        begun.sendall(image)
        answer = begun.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"model":[{"class":' in answer
    _, err = process.communicate(timeout=300)
    assert process.returncode == 143
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_another_address_has_a_warning(start: Start, served_file: Path) -> None:
    import httpx

    address, process = start("-m", "stkd", "serve", served_file, "--host", "0.0.0.0", "--port", 0)
    port = address.rpartition(":")[2]
    headers = {"Host": f"{socket.gethostname()}:{port}"}
    assert httpx.get(f"http://127.0.0.1:{port}/health", headers=headers, timeout=300).status_code == 200
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert err.startswith("stkd: warning: --host 0.0.0.0: whoever reaches this machine can ask")
    assert err.count("\n") == 2
