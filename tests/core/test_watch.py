"""How processes hear of each other's end; the two of them are threads here, with a watch each."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore

from stkd.core import processes, watch
from stkd.core.errors import Ended, Interrupted, StkdError, Terminated
from stkd.core.processes import Launch
from stkd.core.watch import Watch, watched
from stkd.core.world import World

PATIENCE = 30.0
"""Seconds for what happens within milliseconds."""

Two = tuple[Watch, Watch]


def worlds(size: int = 2) -> list[World]:
    store, made = HashStore(), []
    for rank in range(size):
        world = World(Launch(rank, size, rank, size, "a test", "127.0.0.1"))
        world.store = store
        made.append(world)
    return made


@pytest.fixture(autouse=True)
def over(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After the test no watch ends this process, whatever it hears then."""
    made: list[Watch] = []
    begin = Watch.__init__

    def noted(self: Watch, world: World, number: int) -> None:
        made.append(self)
        begin(self, world, number)

    monkeypatch.setattr(Watch, "__init__", noted)
    yield
    for one in made:
        one._over.set()


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[Watch]]:
    """Watches of so many processes, which are not ended by them."""
    monkeypatch.setattr(watch, "_LEAVE", 1e6)

    def connect(size: int) -> list[Watch]:
        with ThreadPoolExecutor(size) as pool:
            return list(pool.map(lambda world: Watch(world, 0), worlds(size)))

    return connect


@pytest.fixture
def two(connected: Callable[[int], list[Watch]]) -> Two:
    first, second = connected(2)
    return first, second


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether this process says why it ends, each time that it was decided."""
    said: list[bool] = []
    monkeypatch.setattr(watch, "speak", said.append)
    monkeypatch.setattr(processes, "_speaks", None)
    return said


def disconnect(one: Watch) -> None:
    """As the end of a process does."""
    for connection in list(one._others):
        with socket.socket(fileno=os.dup(connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)


def test_a_closed_connection_is_a_silent_end(two: Two) -> None:
    first, second = two
    assert first.ended() is second.ended() is None
    disconnect(second)
    ending = first.ended(PATIENCE)
    assert ending is not None
    assert (ending.rank, ending.code, ending.silent) == (1, 1, True)
    assert str(ending) == "error: rank 1 ended without a word: it was killed, or its machine or memory failed"
    assert first.says()


def test_the_second_says_that_the_first_is_gone(two: Two) -> None:
    first, second = two
    disconnect(first)
    ending = second.ended(PATIENCE)
    assert ending is not None
    assert (ending.rank, ending.silent) == (0, True)
    assert second.says()


def test_an_error_is_told_with_its_code(two: Two) -> None:
    first, second = two
    assert second.fail(2)
    ending = first.ended(PATIENCE)
    assert ending is not None
    assert (ending.rank, ending.code, ending.silent) == (1, 2, False)
    assert str(ending) == "stopped with rank 1"


def test_the_first_tells_the_third_of_the_second(connected: Callable[[int], list[Watch]]) -> None:
    _, second, third = connected(3)
    disconnect(second)
    ending = third.ended(PATIENCE)
    assert ending is not None
    assert (ending.rank, ending.silent) == (1, True)
    assert not third.says()


def test_of_two_that_fail_alike_the_first_is_heard(two: Two) -> None:
    first, second = two
    assert first.fail(2)
    assert not second.fail(2)


def test_work_that_is_done_is_no_end(two: Two) -> None:
    first, second = two
    second.leave()
    first.leave()
    disconnect(second)
    assert first.ended(0.3) is None


def test_errors_of_a_connection_wait_for_their_reason(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = two
    assert first.behind(ValueError("of its own")) is None
    error = RuntimeError("Connection closed by peer")
    threading.Timer(0.2, second.fail, [1]).start()
    monkeypatch.setattr(watch, "_LEARN", PATIENCE)
    ending = first.behind(error)
    assert ending is not None
    assert ending.rank == 1


def test_an_error_is_waited_for_once(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = two
    waited: list[float] = []
    monkeypatch.setattr(first, "ended", waited.append)
    error = RuntimeError("out of memory")
    first.behind(error)
    first.behind(error)
    assert waited == [watch._LEARN, 0.0]


@pytest.mark.parametrize("silent", [True, False])
def test_a_process_that_waits_for_one_that_is_gone_is_ended(
    silent: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    ended = threading.Event()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(watch, "_LEAVE", 0.05)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda world: Watch(world, 0), worlds())
    first._over.set()  # this one ends by itself
    if silent:
        disconnect(first)
    else:
        first.fail(3)
    assert ended.wait(PATIENCE)
    assert codes == [1 if silent else 3]
    said = "stkd: error: rank 0 ended without a word: it was killed, or its machine or memory failed; the last "
    assert capfd.readouterr().err == (f"{said}checkpoint is kept\n" if silent else "")
    assert second.ended() is not None


def together(*works: Callable[[], object]) -> list[BaseException | None]:
    """What two processes end with that do some work together."""

    def run(world: World, work: Callable[[], object]) -> BaseException | None:
        try:
            with watched(world):
                work()
        except BaseException as error:
            return error
        return None

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, worlds(), works))


@pytest.fixture
def same_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both threads count their watches as processes do, each from 0."""
    monkeypatch.setattr(watch, "_numbers", iter([0, 0]))
    monkeypatch.setattr(watch, "_LEAVE", 1e6)


def failing(error: BaseException) -> Callable[[], object]:
    def work() -> None:
        raise error

    return work


def waiting() -> None:
    """As a process that waits for one that ends."""
    threading.Event().wait(0.5)
    raise RuntimeError("Connection closed by peer")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StkdError("this image cannot be read"), 2),
        (OSError("no space left"), 2),
        (ValueError("a bug"), 1),
        (Terminated(15), 143),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.usefixtures("same_number")
def test_an_error_goes_on_and_ends_the_others(error: BaseException, code: int, spoken: list[bool]) -> None:
    own, other = together(waiting, failing(error))
    assert other is error
    assert isinstance(own, Ended)
    assert (own.code, str(own)) == (code, "stopped with rank 1")
    assert sorted(spoken) == [False, True]


@pytest.mark.usefixtures("same_number")
def test_the_end_of_python_is_an_error(spoken: list[bool]) -> None:
    own, other = together(failing(SystemExit(0)), waiting)
    assert isinstance(own, StkdError)
    assert str(own) == "what it called, such as a plug-in, ended it by sys.exit(0)"
    assert isinstance(other, Ended)
    assert other.code == 2


@pytest.mark.parametrize(("silent", "said"), [(True, [True]), (False, [False])])
def test_who_has_kept_a_checkpoint_says_so(
    silent: bool, said: list[bool], two: Two, spoken: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process does; the second where the first was killed."""
    first, second = two
    if silent:
        disconnect(first)
    else:
        first.fail(2)
    assert second.ended(PATIENCE) is not None
    monkeypatch.setattr(watch, "Watch", lambda world, number: second)
    with pytest.raises(Ended), watched(second.world):
        raise Ended(1, "stopped with rank 0; the last checkpoint is kept")
    assert spoken == said


@pytest.mark.usefixtures("same_number")
def test_a_stop_on_which_all_agreed_is_no_accident(spoken: list[bool]) -> None:
    stops = [Interrupted(15, "stopped by SIGTERM to rank 1") for _ in range(2)]
    assert together(*map(failing, stops)) == stops
    assert spoken == []


@pytest.mark.usefixtures("same_number")
def test_work_that_is_done_by_all() -> None:
    assert together(lambda: None, lambda: None) == [None, None]


def test_one_process_watches_nothing() -> None:
    with watched(World(Launch())) as none:
        assert none is None
