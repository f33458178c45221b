from __future__ import annotations

import torch

from stkd.data.batch_buffers import BatchMemory


def test_is_used_again_once_nothing_shows_it() -> None:
    memory = BatchMemory()
    first = memory.take(4, 5)
    place = first.data_ptr()
    assert first.shape == (4, 5)
    del first
    assert memory.take(2, 10).data_ptr() == place


def test_whatever_shows_it_keeps_it() -> None:
    memory = BatchMemory()
    first = memory.take(4, 5).fill_(1)
    place, part = first.data_ptr(), first[1:].detach()
    weight = torch.ones(5, requires_grad=True)
    kept_by_autograd = (first * weight).sum()
    del first
    others = [memory.take(4, 5).fill_(2) for _ in range(5)]
    assert len({place, *(o.data_ptr() for o in others)}) == 6
    assert bool((part == 1).all())
    del part
    assert memory.take(4, 5).data_ptr() != place
    kept_by_autograd.backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [4] * 5
    del kept_by_autograd
    assert memory.take(4, 5).data_ptr() == place


def test_other_sizes_get_other_memory() -> None:
    memory = BatchMemory()
    memory.take(4)
    assert memory.take(5).shape == (5,)


def test_begins_where_memory_of_torch_does() -> None:
    """Sums depend on it in their last digits, and a resumed run must give the same ones."""
    memory = BatchMemory()
    kept = [memory.take(size) for size in (1, 3, 8, 100, 1001)]
    assert all(tensor.data_ptr() % 64 == 0 for tensor in kept)
