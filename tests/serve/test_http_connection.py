"""Connections to the prediction server: slow ones, too many, and what is no HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stkd.export import open_exported


@pytest.fixture
def limited(served_file: Path) -> Iterator[str]:
    """The address of a server in a thread of this process, with small limits."""
    from stkd.serve.http_api import make_app
    from stkd.serve.http_limits import Limits
    from stkd.serve.http_server import address_of, listen, make_server

    limits = replace(Limits(), headers_seconds=0.5, body_seconds=0.5, connections=12)
    with listen("127.0.0.1", 0) as listening:
        server = make_server(make_app(open_exported(served_file), limits=limits))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield address_of(listening, "127.0.0.1")
        server.should_exit = True
        thread.join()


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


def test_slow_clients_are_sent_away(limited: str) -> None:
    import httpx

    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    with connect(limited) as silent, connect(limited) as slow, connect(limited) as body:
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
    assert httpx.get(f"{limited}/health", timeout=300).status_code == 200


def test_the_number_of_connections_is_bounded(limited: str) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(limited)) for _ in range(20)]
        answers = [all_of(connection) for connection in connections]
    refused = [answer for answer in answers if answer]
    assert refused
    assert all(b"\r\nretry-after: " in answer for answer in refused)
    assert all(body_of(answer) == {"error": "the server is busy; ask again in a second"} for answer in refused)


@pytest.mark.parametrize("request_", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00"], ids=str)
def test_what_is_no_request(request_: bytes, limited: str) -> None:
    with connect(limited) as connection:
        connection.sendall(request_ + b"\r\n\r\n")
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert body_of(answer) == {"error": "this is no HTTP request"}
