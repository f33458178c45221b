"""Whether published weights can be had: in seconds, not after minutes of retries where there is no network."""

from __future__ import annotations

import socket
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from ..core.errors import StkdError

__all__ = ["WEIGHTS", "cached_in_hub", "fetched", "hub_reachable", "reachable", "unreachable"]

SECONDS = 4.0
"""How long a host may take to answer."""

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names of weights in a repository of the Hugging Face hub."""


def reachable(url: str) -> bool:
    """Whether the host of a URL, or the proxy that stands for it, accepts a connection within a few seconds."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if (proxy := urllib.request.getproxies().get(parts.scheme)) and not urllib.request.proxy_bypass(host):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    answered = threading.Event()

    def connect() -> None:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        try:
            socket.create_connection((parts.hostname or "", port), timeout=SECONDS).close()
            answered.set()
        except OSError:
            pass

    # Looking a host name up has no timeout of its own.
    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(SECONDS)
    return answered.is_set()


def hub_reachable() -> bool:
    """Whether the Hugging Face hub can be asked: it answers, and the user has not set HF_HUB_OFFLINE."""
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and reachable(constants.ENDPOINT)


def cached_in_hub(repository: str, names: tuple[str, ...] = WEIGHTS) -> Path | None:
    """The first of some files of a repository that an earlier download has left; None if there is none.

    Args:
        repository: OWNER/NAME or OWNER/NAME@REVISION.
        names: Of the files.
    """
    from huggingface_hub import try_to_load_from_cache

    owner_and_name, _, revision = repository.partition("@")
    for name in names:
        file = try_to_load_from_cache(owner_and_name, name, revision=revision or None)
        if isinstance(file, str):
            return Path(file)
    return None


def fetched(repository: str, patterns: tuple[str, ...]) -> Path:
    """The folder of files of a repository, which are fetched where they are not there yet.

    Args:
        repository: OWNER/NAME or OWNER/NAME@REVISION.
        patterns: Of the names of the files.
    """
    from huggingface_hub import snapshot_download

    owner_and_name, _, revision = repository.partition("@")
    return Path(snapshot_download(owner_and_name, revision=revision or None, allow_patterns=list(patterns)))


def unreachable(name: str, url: str | None = None) -> StkdError:
    """The error for a model of which nothing is on this machine, while its host does not answer.

    Args:
        name: Of the model.
        url: Where it would be fetched from; None is the hub.
    """
    from huggingface_hub import constants

    why = f"{urlsplit(url or constants.ENDPOINT).hostname} does not answer; is the network reachable?"
    if url is None and constants.HF_HUB_OFFLINE:
        why = "HF_HUB_OFFLINE is set, which forbids to fetch it."
    return StkdError(
        f"{name} is not on this machine and {why} Fetch its weights on a machine that has a network and give the file: "
        "--weights FILE (--teacher-weights, --student-weights)"
    )
