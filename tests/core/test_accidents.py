"""What libraries raise where the machine fails, and the line that it becomes."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import torch

from stkd.core.accidents import killed_worker, no_memory, of_disk

CUDA = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1 is free"
KILLED = "DataLoader worker (pid 4711) is killed by signal: {}. It is possible that ..."


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EFBIG"])
def test_a_full_disk(name: str) -> None:
    said = of_disk(OSError(getattr(errno, name), "No room", "/runs/last.pt"))
    assert said.startswith("the disk is full (/runs/last.pt); free some space and run the same command again")


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "EROFS"])
def test_a_disk_that_fails(name: str) -> None:
    number = getattr(errno, name)
    said = of_disk(OSError(number, os.strerror(number), "/runs/last.pt"))
    assert said == (
        f"the disk failed: {os.strerror(number)} (/runs/last.pt); mend it and run the same command again: what was "
        "finished is intact"
    )


def test_other_errors_of_files_are_said_as_they_are() -> None:
    assert of_disk(OSError(errno.EACCES, "Permission denied", "a")) == "Permission denied (a)"
    assert of_disk(OSError("ends in the middle")) == "ends in the middle"


def allocate_with_torch() -> object:
    return torch.empty(10**15, dtype=torch.uint8)


def allocate_with_numpy() -> object:
    return np.empty(10**16, np.uint8)


@pytest.mark.parametrize("allocate", [allocate_with_torch, allocate_with_numpy])
def test_what_allocators_say(allocate: object) -> None:
    assert callable(allocate)
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        allocate()
    said = no_memory(raised.value, ["batch_size", "image_size", "out"])
    assert said is not None
    assert said.startswith("this machine has no memory left for another ")
    assert said.endswith(
        "; take a smaller --batch-size or --image-size, or a smaller model, or end what else runs there"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError(CUDA), "the GPU has no memory left for another 20.00 GiB; take a smaller model, or"),
        (MemoryError(), "this machine has no memory left; take a smaller model, or fewer images"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "this machine has no memory left; take"),
        (RuntimeError("unable to mmap 9 bytes: Cannot allocate memory (12)"), "this machine has no memory left; take"),
    ],
    ids=["cuda", "python", "fork", "mmap"],
)
def test_no_memory(error: Exception, said: str) -> None:
    assert str(no_memory(error, [])).startswith(said)


def test_killed_processes_that_decode() -> None:
    assert "take fewer --workers or a smaller --batch-size" in str(killed_worker(RuntimeError(KILLED.format("Killed"))))
    ended = RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly")
    assert "run the same command again" in str(killed_worker(ended))
    assert "shared memory (/dev/shm) is full" in str(killed_worker(RuntimeError(KILLED.format("Bus error"))))


@pytest.mark.parametrize("error", [ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), EOFError()])
def test_a_process_that_is_killed_while_it_sends(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(*_: object) -> None:
        raise error

    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter._get_data", get)
    loader = torch.utils.data.DataLoader([1, 2], num_workers=1)  # type: ignore[arg-type]
    with pytest.raises(type(error)) as told:
        next(iter(loader))
    assert "take fewer --workers or a smaller --batch-size" in str(killed_worker(told.value))


@pytest.mark.parametrize(
    "error", [RuntimeError("sizes do not match"), OSError(errno.EIO, "x"), ValueError("memory"), EOFError()]
)
def test_other_errors_are_let_through(error: Exception) -> None:
    assert no_memory(error, ["batch_size"]) is None
    assert killed_worker(error) is None
