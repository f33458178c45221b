"""Registries by name; every module of a package is imported at the first look-up, so that adding a file adds a name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from .errors import StkdError, unknown

__all__ = ["Entry", "Registry"]

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered object: its name, a one-line summary, where it was published, and the object."""

    name: str
    summary: str
    paper: str
    value: T


class Registry(Generic[T]):
    """A mapping of names to objects, filled by the modules of `package` and the entry points of that group.

    Args:
        kind: What one entry is called in messages ("method").
        package: Dotted package whose modules register entries when imported; also the entry-point group.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, Entry[T]] = {}
        self._loaded = False
        self._failure: Exception | None = None

    def register(self, name: str, summary: str, paper: str = "") -> Callable[[T], T]:
        """Decorator that registers an object under `name`.

        Raises:
            StkdError: The name is taken.
        """

        def enter(value: T) -> T:
            if name in self._entries:
                raise StkdError(f"the {self.kind} {name!r} is registered twice; choose another name for one of them")
            self._entries[name] = Entry(name, summary, paper, value)
            return value

        return enter

    def entries(self) -> list[Entry[T]]:
        """All entries, in order of registration."""
        self._load()
        return list(self._entries.values())

    def get(self, name: str) -> T:
        """The object called `name`.

        Raises:
            StkdError: There is none; names the nearest.
        """
        self._load()
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name].value

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self._entries)

    def _load(self) -> None:
        if self._failure is not None:
            raise self._failure  # half of the names would be a lie
        if self._loaded:
            return
        self._loaded = True  # the modules below may look names up while they are imported
        try:
            root = importlib.import_module(self.package)
            for module in sorted(m.name for m in pkgutil.walk_packages(root.__path__, f"{self.package}.")):
                importlib.import_module(module)
            for point in entry_points(group=self.package):
                self._load_installed(point)
        except Exception as error:
            self._failure = error
            raise
        except BaseException:  # interrupted
            self._loaded = False
            raise

    def _load_installed(self, point: EntryPoint) -> None:
        try:
            point.load()
        except StkdError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise StkdError(
                f"an installed package that adds to {self.package} cannot be imported ({point.value}: {reason}); "
                "repair or uninstall it"
            ) from error
