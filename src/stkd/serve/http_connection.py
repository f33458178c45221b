"""A connection to the prediction server that cannot be held open by saying nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from .http_limits import Limits

__all__ = ["Connection"]


class Connection(H11Protocol):
    """uvicorn's connection with a bound on their number and on the time of headers, and with errors as JSON.

    After an answer that was given before the whole body had come, uvicorn reads the rest and drops it, so that the
    client gets to see the answer; the bound on the time ends that too.
    """

    limits: ClassVar[Limits] = Limits()
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse("503 Service Unavailable", "the server is busy; ask again in a second", "retry-after: 1\r\n")
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def send_400_response(self, msg: str) -> None:
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()
        else:
            self._refuse("400 Bad Request", "this is no HTTP request")

    def _refuse(self, status: str, said: str, headers: str = "") -> None:
        body = json.dumps({"error": said})
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}"
        self.transport.write(f"{head}connection: close\r\n\r\n{body}".encode())
        self.transport.close()

    def _wait(self) -> None:
        self._stop()
        self._timer = self.loop.call_later(self.limits.headers_seconds, self._expired)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self) -> None:
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:  # a request that is being answered has limits of its own
            self.transport.abort()
