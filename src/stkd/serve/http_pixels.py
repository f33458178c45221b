"""What the model sees of images that were sent: decoded in threads, within limits of memory."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from joblib import cpu_count
from torch import Tensor

from ..core.errors import StkdError
from ..data.decode import decode_square, open_image
from ..models.files import ModelInfo

__all__ = ["Decoders", "Room"]


class Room:
    """An amount that threads share; whoever comes first gets its part first.

    Args:
        size: The amount.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self._turn, self._changed = threading.Lock(), threading.Condition()

    @contextlib.contextmanager
    def of(self, part: int) -> Iterator[None]:
        """Wait until so much is left, and take it for a while; it must not be more than there is."""
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._left >= part)
            self._left -= part
        try:
            yield
        finally:
            with self._changed:
                self._left += part
                self._changed.notify()


class Decoders:
    """Threads that decode images, as many as there are cores.

    Args:
        info: What the model expects of images.
        most: Pixels of an image, and of all images together that are decoded at the same time, which bounds the memory.
    """

    def __init__(self, info: ModelInfo, most: int) -> None:
        self._info, self._most = info, most
        self._room = Room(most)
        self._threads = ThreadPoolExecutor(cpu_count(), "decode")

    async def pixels(self, files: Sequence[bytes]) -> list[Tensor | str]:
        """The pixels that evaluation would see of image files.

        Args:
            files: Their contents.

        Returns:
            For each uint8 (C, S, S), or in words that follow the image's name why there are none.
        """
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(self._threads, self._decoded, file) for file in files))

    def close(self) -> None:
        """End the threads; what waits for them is given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _decoded(self, file: bytes) -> Tensor | str:
        info = self._info
        try:
            image = open_image(file)
            size = image.height * image.width
            if size > self._most:
                return f"has more than {self._most // 1_000_000} million pixels; scale it down"
            with self._room.of(size):
                return decode_square(file, info.channels, info.size, info.crop_pct, info.interpolation)
        except StkdError as error:
            return str(error).removeprefix("the image ")
