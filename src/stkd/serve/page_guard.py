"""What every request to the explore page goes through: the size of its body, and what it does wrong."""

from __future__ import annotations

import logging

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .http_guard import error_response
from .uploads import LARGEST

__all__ = ["PageGuard"]

_log = logging.getLogger(__name__)

_ASKED = 1 << 20
"""Bytes of a question to the page, which names files."""


class PageGuard:
    """Stands before Gradio's application: a body is bounded, and an error is one line.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = 4 * LARGEST if scope["path"].endswith("/upload") else _ASKED
        too_large = HTTPException(413, f"the request is larger than {most >> 20} MB")
        if _length(scope) > most:
            await error_response(too_large)(scope, receive, send)
            return
        read, started = 0, False

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise too_large
            return message

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, bounded, noting)
        except Exception as error:
            if started:
                raise  # the connection is closed
            _log.warning("a request failed: %s: %s", type(error).__name__, " ".join(str(error).split())[:200])
            failed = too_large if read > most else HTTPException(400, "the page has no answer to this request")
            await error_response(failed)(scope, receive, send)


def _length(scope: Scope) -> int:
    """Of the body, as the request announces it; 0 where it does not."""
    said = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"content-length"), "")
    return int(said[:20]) if said.isascii() and said.isdigit() else 0
