"""Images of requests that arrive together go through the model together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

__all__ = ["Batcher"]


class Batcher:
    """Collects images for passes of the model; one pass at a time.

    While a pass runs, the images that come wait for the next one. How many may wait is for the caller to bound.

    Args:
        answer: From images uint8 (N, C, S, S) to probabilities (N, classes); called in a thread of its own.
        most: Images of a pass, at most.
        wait: Seconds that the first image of a pass waits for others.
    """

    def __init__(self, answer: Callable[[Tensor], Tensor], *, most: int = 32, wait: float = 0.002) -> None:
        self._answer, self._most, self._wait = answer, most, wait
        self._queue: asyncio.Queue[tuple[Tensor, asyncio.Future[Tensor]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "model")

    async def ask(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Probabilities (classes,) of each of some images uint8 (C, S, S)."""
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[Tensor]] = [loop.create_future() for _ in images]
        for image, answer in zip(images, answers, strict=True):
            self._queue.put_nowait((image, answer))
        return await asyncio.gather(*answers)

    async def run(self) -> None:
        """Answer until this is cancelled."""
        try:
            while True:
                await self._pass()
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _pass(self) -> None:
        batch = [await self._queue.get()]
        if self._queue.empty():
            await asyncio.sleep(self._wait)
        while len(batch) < self._most and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        batch = [(image, answer) for image, answer in batch if not answer.done()]  # nobody waits for the others
        if not batch:
            return
        pixels = torch.stack([image for image, _ in batch])
        try:
            rows = await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, pixels)
        except Exception as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), row in zip(batch, rows, strict=True):
            if not answer.done():
                answer.set_result(row)
