"""What every request to the prediction server goes through: its host name, the number of requests, time, errors."""

from __future__ import annotations

import asyncio
import logging

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .http_limits import Limits, busy

__all__ = ["FAILED", "Guard", "error_response"]

FAILED = HTTPException(500, "the server failed to answer")
"""The answer to a request that met a fault of the server."""

_log = logging.getLogger(__name__)


def error_response(error: HTTPException) -> JSONResponse:
    """An error as JSON, {"error": one line}."""
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


class Guard:
    """Stands before an application; whatever happens there, the answer is JSON without a stack trace.

    Args:
        app: The application.
        limits: Of requests and their time.
        hosts: Names that it answers to; None for any. A foreign site's name may lead to this machine, and scripts of
            that site could then ask (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, limits: Limits, hosts: frozenset[str] | None) -> None:
        self.app, self.limits, self.hosts = app, limits, hosts
        self.active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.hosts is not None and _host(scope) not in self.hosts:
            refused = HTTPException(400, "this server answers to the names of its own machine alone")
            await error_response(refused)(scope, receive, send)
        elif scope["method"] in ("GET", "HEAD"):
            await self._answer(scope, receive, send)
        elif self.active >= self.limits.requests:
            await error_response(busy())(scope, receive, send)
        else:
            self.active += 1
            try:
                await self._answer(scope, receive, send)
            finally:
                self.active -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = complete = False

        async def noting(message: Message) -> None:
            nonlocal started, complete
            started = True
            complete = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        try:
            async with asyncio.timeout(self.limits.seconds) as deadline:
                await self.app(scope, receive, noting)
        except Exception as error:
            if deadline.expired():
                failed = HTTPException(504, f"there was no answer within {self.limits.seconds:g} seconds")
            else:
                _log.warning("a request failed: %s: %s", type(error).__name__, " ".join(str(error).split())[:200])
                failed = FAILED
            if not started:
                await error_response(failed)(scope, receive, send)
            elif not complete:
                raise  # the connection is closed


def _host(scope: Scope) -> str:
    """The host that a request names, without its port; of several, none."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if len(values) != 1:
        return ""
    name, colon, port = values[0].lower().rpartition(":")
    host: str = name if colon and port.isdigit() else values[0].lower()
    return host
