"""Images that come together share a pass; none is lost, none gets another's answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from stkd.serve.batching import Batcher

T = TypeVar("T")


def image(value: int) -> Tensor:
    return torch.full((1, 2, 2), value, dtype=torch.uint8)


def with_batcher(batcher: Batcher, what: Callable[[], Awaitable[T]]) -> T:
    async def go() -> T:
        running = asyncio.create_task(batcher.run())
        try:
            return await what()
        finally:
            running.cancel()

    return asyncio.run(go())


def test_each_gets_its_own_answer_and_passes_are_shared() -> None:
    sizes: list[int] = []

    def answer(pixels: Tensor) -> Tensor:
        sizes.append(len(pixels))
        return pixels[:, 0, 0, :1].float()

    async def ask() -> list[list[Tensor]]:
        return await asyncio.gather(*(batcher.ask([image(i), image(i + 100)]) for i in range(50)))

    batcher = Batcher(answer, most=16)
    found = with_batcher(batcher, ask)
    assert [[int(value) for value in values] for values in found] == [[i, i + 100] for i in range(50)]
    assert sum(sizes) == 100
    assert max(sizes) == 16
    assert len(sizes) == 7


def test_what_comes_during_a_pass_waits_for_the_next() -> None:
    sizes: list[int] = []
    begun, going_on = threading.Event(), threading.Event()

    def answer(pixels: Tensor) -> Tensor:
        sizes.append(len(pixels))
        begun.set()
        assert going_on.wait(60)
        return pixels[:, 0, 0, :1].float()

    async def ask() -> None:
        first = asyncio.create_task(batcher.ask([image(1)]))
        await asyncio.to_thread(begun.wait, 60)
        given_up = asyncio.create_task(batcher.ask([image(2)]))
        others = [asyncio.create_task(batcher.ask([image(i)])) for i in (3, 4, 5)]
        await asyncio.sleep(0)
        given_up.cancel()
        going_on.set()
        assert [int(row[0]) for row in await asyncio.gather(first, *others)] == [1, 3, 4, 5]

    batcher = Batcher(answer)
    with_batcher(batcher, ask)
    assert sizes == [1, 3]


def test_a_pass_that_fails_is_the_last_of_its_images_alone() -> None:
    def answer(pixels: Tensor) -> Tensor:
        if int(pixels.max()) == 255:
            raise RuntimeError("out of memory")
        return pixels[:, 0, 0, :1].float()

    async def ask() -> None:
        with pytest.raises(RuntimeError, match="out of memory"):
            await batcher.ask([image(255), image(1)])
        assert int((await batcher.ask([image(7)]))[0]) == 7

    batcher = Batcher(answer)
    with_batcher(batcher, ask)
