"""What the prediction server takes, and how much of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.exceptions import HTTPException

__all__ = ["Budget", "Limits", "Share", "busy"]


@dataclass(frozen=True)
class Limits:
    """Limits of the prediction server.

    Attributes:
        image_bytes: Of one image.
        request_bytes: Of the body of one request.
        images: In one request.
        pixels: Of one image, and of all that are decoded at the same time.
        requests: That are answered at the same time.
        held_bytes: Of all bodies that are held at the same time.
        waiting: Images that are decoded or wait for the model at the same time.
        connections: Open at the same time.
        headers_seconds: From the opening of a connection, or the end of an answer, to the end of the next headers.
        body_seconds: In which the body of a request must have come.
        seconds: In which a request must have been answered.
    """

    image_bytes: int = 20 << 20
    request_bytes: int = 100 << 20
    images: int = 64
    pixels: int = 64_000_000
    requests: int = 256
    held_bytes: int = 512 << 20
    waiting: int = 1024
    connections: int = 512
    headers_seconds: float = 10.0
    body_seconds: float = 30.0
    seconds: float = 60.0


class Budget:
    """An amount that all requests share.

    Args:
        size: The amount.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """A part of it, given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self.taken -= share.taken


class Share:
    """What one request has of a budget."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.taken = 0

    def take(self, amount: int) -> None:
        """Take more.

        Raises:
            HTTPException: 503, so much is not left.
        """
        if self.budget.taken + amount > self.budget.size:
            raise busy()
        self.budget.taken += amount
        self.taken += amount


def busy() -> HTTPException:
    """The answer to a request that must come again later."""
    return HTTPException(503, "the server is busy; ask again in a second", headers={"Retry-After": "1"})
