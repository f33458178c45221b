"""Steps of several students beside each other on a CPU, each on its share of the cores."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Condition

import torch

__all__ = ["SideBySide"]

_MOST = 4
"""Batches that wait in memory for students at most."""


class SideBySide:
    """Threads that work through steps of several students, those of one student in order.

    A small network keeps a core busier than several: between its operations all but one wait. How many cores a
    student has decides how its sums are rounded, so that it is the same for all steps.

    Args:
        students: How many; from there on, threads and cores are never other ones.
        cores: To be shared.

    Attributes:
        threads: Cores that each step has.
    """

    def __init__(self, students: int, cores: int) -> None:
        self._cores, self._workers = cores, min(students, cores)
        self.threads = cores // self._workers
        self._pool = ThreadPoolExecutor(self._workers, "student")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def batches(self, students: int) -> int:
        """Batches after which no core has waited for another's student, if students cost the same."""
        return min(_MOST, self._workers // math.gcd(self._workers, students))

    def run(self, steps: Sequence[Sequence[Callable[[], object]]], *, in_turn: bool = False) -> None:
        """Make the steps of each student.

        Args:
            steps: Of each student, in order.
            in_turn: One after the other, on the cores that each would have beside others.

        Raises:
            Exception: What a step raised; steps that had not begun are not made.
        """
        left, busy, changed = [deque(own) for own in steps], set[int](), Condition()

        def work() -> None:
            # anew each time: a backward pass takes the number that any thread has set last
            torch.set_num_threads(self.threads)
            while True:
                with changed:
                    while not (free := [i for i, own in enumerate(left) if own and i not in busy]):
                        if not any(left):
                            return
                        changed.wait()
                    at = max(free, key=lambda i: len(left[i]))
                    step = left[at].popleft()
                    busy.add(at)
                try:
                    step()
                except BaseException:
                    with changed:
                        for own in left:
                            own.clear()
                    raise
                finally:
                    with changed:
                        busy.discard(at)
                        changed.notify_all()

        try:
            workers = [self._pool.submit(work) for _ in range(1 if in_turn else self._workers)]
            wait(workers)
        finally:
            torch.set_num_threads(self._cores)
        for one in workers:
            one.result()
