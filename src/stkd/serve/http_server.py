"""The prediction server as a process: its address, its sockets and its end."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import uvicorn

from ..core.errors import StkdError
from ..core.signals import stopping
from .http_connection import Connection
from .http_guard import Guard

__all__ = ["address_of", "hosts_of", "is_loopback", "listen", "make_server"]


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; they wait until the server answers.

    Args:
        host: Address or name of this machine.
        port: TCP port; 0 for a free one.

    Raises:
        StkdError: There is no such address on this machine, or the port is taken.
    """
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError):
        raise StkdError(f"--host {host} is no address; give one of this machine, as 127.0.0.1") from None
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would share the port with another server
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(1024)
    except OSError as failed:
        listening.close()
        if failed.errno == errno.EADDRNOTAVAIL:
            raise StkdError(f"--host {host} is no address of this machine; give another, as 127.0.0.1") from None
        raise StkdError(f"port {port} cannot be used ({failed.strerror}); give --port another") from None
    return listening


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def hosts_of(host: str) -> frozenset[str] | None:
    """Host names that a server at an address answers to; None for any."""
    return frozenset({"localhost", "127.0.0.1", "[::1]", _in_url(host)}) if is_loopback(host) else None


def address_of(listening: socket.socket, host: str) -> str:
    """The address of a server for clients."""
    return f"http://{_in_url(host)}:{listening.getsockname()[1]}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host.lower()


def make_server(app: Guard) -> uvicorn.Server:
    """A server for an application; `server.run(sockets=[listening])` serves until a signal asks it to stop.

    The signal is raised again once all requests that have begun are answered.
    """
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it tells of every broken form
    torch.set_num_threads(1)  # of each thread that decodes; the model's runtime has its own
    config = uvicorn.Config(
        app,
        http=type("LimitedConnection", (Connection,), {"limits": app.limits}),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(app.limits.seconds),
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """uvicorn's server, which takes the signals of schedulers as it takes SIGTERM."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
            yield
            return
        others = [number for number in stopping() if number not in (signal.SIGINT, signal.SIGTERM)]
        with super().capture_signals():
            before = {number: signal.signal(number, self.handle_exit) for number in others}
            try:
                yield
            finally:  # then uvicorn raises what it took once more
                for number, handler in before.items():
                    signal.signal(number, handler)
