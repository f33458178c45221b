"""How processes that train together end together: what ends one of them ends all, and one of them says why."""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import count
from multiprocessing.connection import Client, Connection, Listener, wait

from .errors import Ended, Interrupted, StkdError, Terminated
from .processes import speak
from .world import World

__all__ = ["Watch", "watched"]

_LEARN = 5.0
"""Seconds in which the end of another process is known, after what was shared with it failed."""

_LEAVE = 20.0
"""Seconds that a process has to end by itself, with a checkpoint, once another one has ended."""

_SOON = 0.5
"""Seconds by which processes that fail alike are apart."""


@dataclass(frozen=True)
class Ending:
    """The end of a process before its work was done.

    Attributes:
        rank: Which one.
        code: Its exit code.
        silent: Whether it said nothing, since it was killed.
    """

    rank: int
    code: int
    silent: bool = False

    def __str__(self) -> str:
        if self.silent:
            return f"error: rank {self.rank} ended without a word: it was killed, or its machine or memory failed"
        return f"stopped with rank {self.rank}"


class Watch:
    """Connects the first process with each other one, while they work together.

    A connection that closes is the end of a process, whatever ended it. What one learns it tells the others. A process
    that does not end by itself then, since it waits for one that is gone, is ended.

    Args:
        world: The processes.
        number: How often they have worked together before.
    """

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self._ending: Ending | None = None
        self._asked: BaseException | None = None
        self._known, self._over = threading.Event(), threading.Event()
        self._others = _connected(world, number)
        threading.Thread(target=self._run, daemon=True).start()

    def ended(self, seconds: float = 0.0) -> Ending | None:
        """The end of another process, if one is heard of within some seconds."""
        self._known.wait(seconds)
        return self._ending

    def behind(self, error: BaseException) -> Ending | None:
        """The end of another process that an error here may come of.

        torch's errors of a connection are RuntimeErrors; they may come before that end is heard of.
        """
        waits = isinstance(error, RuntimeError) and error is not self._asked
        self._asked = error
        return self.ended(_LEARN if waits else 0.0)

    def says(self) -> bool:
        """Whether this process says what it heard: the first does, or where that is gone the second."""
        ending = self._ending
        return ending is not None and self.world.rank == (1 if ending.rank == 0 else 0)

    def leave(self) -> None:
        """The work is done: what happens to the others does not matter here any more."""
        self._over.set()
        for connection in list(self._others):
            with suppress(OSError, ValueError):
                connection.send_bytes(_DONE)

    def fail(self, code: int) -> bool:
        """Tell the others that this process ends; whether it is the first to."""
        self._over.set()
        if self.world.rank and self.ended(_SOON) is not None:  # what all meet alike the first process says
            return False
        first = True
        with suppress(Exception):  # the store may be gone
            assert self.world.store is not None
            first = self.world.store.add("ended", 1) == 1
        self._tell(Ending(self.world.rank, code))
        return first

    def _tell(self, ending: Ending) -> None:
        message = json.dumps(asdict(ending)).encode()
        for connection in list(self._others):
            with suppress(OSError, ValueError):
                connection.send_bytes(message)

    def _run(self) -> None:
        while self._others and self._ending is None:
            for connection in wait(list(self._others), 1.0):
                assert isinstance(connection, Connection)
                self._hear(connection)
        if self._ending is None:
            return
        if self.world.rank == 0:
            self._tell(self._ending)
        self._known.set()
        if not self._over.wait(_LEAVE):
            if self.says() and self._ending.silent:
                print(f"stkd: {self._ending}; the last checkpoint is kept", file=sys.stderr)
            sys.stderr.flush()
            os._exit(self._ending.code)

    def _hear(self, connection: Connection) -> None:
        try:
            message = connection.recv_bytes(_LONGEST)
        except (EOFError, OSError):
            message = b""
        if message == _DONE:
            del self._others[connection]
        elif message:
            self._ending = Ending(**json.loads(message))
        else:
            self._ending = Ending(self._others[connection], 1, silent=True)


_DONE = b"done"
_LONGEST = 4096


def _connected(world: World, number: int) -> dict[Connection, int]:
    """Connections to the processes that this one hears, and their ranks."""
    assert world.store is not None
    name, several = f"watch/{number}", world.size > world.launch.local_size
    if world.rank:
        port, key = json.loads(world.store.get(name))
        connection = Client((world.launch.address, port), authkey=bytes.fromhex(key))
        connection.send_bytes(str(world.rank).encode())
        return {connection: 0}
    key = secrets.token_bytes(32)
    with Listener(("" if several else "127.0.0.1", 0), backlog=world.size, authkey=key) as listener:
        world.store.set(name, json.dumps([listener.address[1], key.hex()]))
        connections = [listener.accept() for _ in range(world.size - 1)]
    return {connection: int(connection.recv_bytes(_LONGEST)) for connection in connections}


_numbers = count()


@contextmanager
def watched(world: World) -> Iterator[Watch | None]:
    """Work of several processes that end together.

    Raises:
        Ended: Another one has ended. Any other error of this process goes on as it is, after the others were told.
    """
    if world.size == 1:
        yield None
        return
    watch = Watch(world, next(_numbers))
    try:
        yield watch
    except Interrupted:  # all have agreed on it
        watch.leave()
        raise
    except Ended:  # with word of a checkpoint, which the first process writes
        heard = watch.ended()
        speak(watch.says() and heard is not None and (heard.silent or world.rank == 0))
        raise
    except SystemExit as error:
        speak(watch.fail(2))
        raise StkdError(f"what it called, such as a plug-in, ended it by sys.exit({error.code})") from None
    except BaseException as error:
        ending = watch.behind(error)
        if ending is not None:
            speak(watch.says() and ending.silent)
            raise Ended(ending.code, str(ending)) from None
        speak(watch.fail(_code(error)))
        raise
    else:
        watch.leave()


def _code(error: BaseException) -> int:
    """The exit code of an error, as the command line has it."""
    if isinstance(error, Terminated):
        return 128 + error.signum
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 2 if isinstance(error, StkdError | OSError) else 1
