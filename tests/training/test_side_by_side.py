"""Steps of several students on threads: all are made, in each student's order, on its share of the cores."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stkd.training.side_by_side import SideBySide


@pytest.fixture
def three_on_four() -> Iterator[SideBySide]:
    """Three students, four cores."""
    before = torch.get_num_threads()
    group = SideBySide(3, 4)
    yield group
    group.close()
    torch.set_num_threads(before)


@pytest.mark.parametrize("in_turn", [False, True])
def test_every_step_in_order(in_turn: bool, three_on_four: SideBySide) -> None:
    made: list[list[int]] = [[], [], []]
    at_work = most = 0
    lock = threading.Lock()

    def step(student: int, number: int) -> None:
        nonlocal at_work, most
        with lock:
            at_work, most = at_work + 1, max(most, at_work + 1)
        time.sleep(0.002)
        made[student].append(number)
        with lock:
            at_work -= 1

    for _ in range(3):
        three_on_four.run(
            [[partial(step, s, n) for n in range(count)] for s, count in enumerate((7, 1, 5))], in_turn=in_turn
        )
    assert made == [[*range(7)] * 3, [0] * 3, [*range(5)] * 3]
    assert most == (1 if in_turn else 3)


@pytest.mark.parametrize(("students", "cores", "each"), [(3, 2, 1), (2, 4, 2), (3, 16, 5), (2, 2, 1)])
def test_cores_are_shared(students: int, cores: int, each: int) -> None:
    """Forward and backward; and outside of the steps all is as before, for new threads too."""
    before = torch.get_num_threads()
    group = SideBySide(students, cores)
    seen = []

    class Look(torch.autograd.Function):
        @staticmethod
        def forward(context: object, x: torch.Tensor) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            return x * 2

        @staticmethod
        def backward(context: object, *grads: torch.Tensor) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            return grads[0] * 2

    def step() -> None:
        Look.apply(torch.ones(3, requires_grad=True)).sum().backward()  # type: ignore[no-untyped-call]

    try:
        torch.set_num_threads(cores)
        for _ in range(2):
            group.run([[step] * 3] * students)
            with ThreadPoolExecutor(1) as new:
                assert torch.get_num_threads() == new.submit(torch.get_num_threads).result() == cores
    finally:
        torch.set_num_threads(before)
        group.close()
    assert group.threads == each
    assert seen == [each] * (2 * 2 * 3 * students)


def test_an_error_ends_it(three_on_four: SideBySide) -> None:
    """What has not begun is not made, the error is the caller's, and the threads go on."""
    made = []

    def bad() -> None:
        raise KeyError("spoilt")

    with pytest.raises(KeyError, match="spoilt"):
        three_on_four.run([[bad, partial(made.append, 0)], [], []])
    assert made == []
    three_on_four.run([[partial(made.append, 1)]])
    assert made == [1]


@given(st.integers(2, 40), st.integers(2, 16), st.data())
def test_batches_fill_the_cores(students: int, cores: int, data: st.DataObject) -> None:
    group = SideBySide(students, cores)
    left = data.draw(st.integers(1, students))
    batches = group.batches(left)
    group.close()
    assert 1 <= batches <= 4
    assert batches == 4 or batches * left % min(students, cores) == 0
