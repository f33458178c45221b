"""Images that are decoded at the same time have a bounded number of pixels together."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

from stkd.serve.http_pixels import Room


def test_no_more_is_taken_than_there_is() -> None:
    room, lock, taken, most = Room(100), threading.Lock(), [0], [0]

    def use(part: int) -> None:
        with room.of(part):
            with lock:
                taken[0] += part
                most[0] = max(most[0], taken[0])
            threading.Event().wait(0.001)
            with lock:
                taken[0] -= part

    parts = random.Random(0).choices([1, 10, 40, 100], k=200)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(use, parts))
    assert most[0] <= 100
    assert taken[0] == 0


def test_a_large_part_is_not_passed_over() -> None:
    room, order = Room(10), []
    waiting = threading.Event()

    def large() -> None:
        waiting.set()
        with room.of(10):
            order.append("large")

    def small() -> None:
        with room.of(1):
            order.append("small")

    with ThreadPoolExecutor(4) as pool:
        with room.of(1):
            pool.submit(large)
            waiting.wait()
            while not room._turn.locked():  # it waits in front
                pass
            others = [pool.submit(small) for _ in range(3)]
        for other in others:
            other.result(60)
    assert order[0] == "large"
