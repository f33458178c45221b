"""The images in the body of a request, read within limits; nothing is written to disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from .http_limits import Limits, Share

__all__ = ["Sent", "read_images"]

_HOW = "send images as files of a form (curl -F image=@photo.jpg) or one as the body (Content-Type: image/jpeg)"


@dataclass(frozen=True)
class Sent:
    """An image as it was sent.

    Attributes:
        name: The name of its file.
        content: What is in it.
    """

    name: str
    content: bytes


async def read_images(request: Request, limits: Limits, held: Share) -> list[Sent]:
    """The images of a request: the files of a form, or its whole body.

    Args:
        request: The request.
        limits: What is taken.
        held: Takes the bytes that are held.

    Raises:
        HTTPException: The body is no image and no form of images, is too large, came too slowly or holds no image.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "the body is compressed; send images as they are")
    form = kind == "multipart/form-data"
    if not form and not _may_be_image(kind):
        raise HTTPException(415, f"the body is {kind or 'of unknown type'}; {_HOW}")
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > limits.request_bytes:
        raise _too_large("the request", limits.request_bytes)
    try:
        async with asyncio.timeout(limits.body_seconds):
            stream = _within(request, limits, held)
            images = await (_form(request.headers, stream, limits) if form else _body(stream, limits))
    except ClientDisconnect:
        raise HTTPException(400, "the request was cut off") from None
    except TimeoutError:
        raise HTTPException(408, f"the request did not come within {limits.body_seconds:g} seconds") from None
    if not images:
        raise HTTPException(400, f"there is no image; {_HOW}")
    return images


async def _within(request: Request, limits: Limits, held: Share) -> AsyncGenerator[bytes, None]:
    """The parts of the body as they come."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.request_bytes:
            raise _too_large("the request", limits.request_bytes)
        held.take(len(chunk))
        yield chunk


async def _body(stream: AsyncGenerator[bytes, None], limits: Limits) -> list[Sent]:
    content = bytearray()
    async for chunk in stream:
        content += chunk
        if len(content) > limits.image_bytes:
            raise _too_large("the image", limits.image_bytes)
    return [Sent("", bytes(content))] if content else []


async def _form(headers: Headers, stream: AsyncGenerator[bytes, None], limits: Limits) -> list[Sent]:
    parser = _Form(headers, stream, limits)
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError) as error:
        said = error.message if isinstance(error, MultiPartException) else "Invalid multipart data."
        raise HTTPException(400, f"the form cannot be read: {said}") from None
    images = []
    for _, file in form.multi_items():
        assert isinstance(file, UploadFile)
        name, content = file.filename or "", file.file.read()
        file.file.close()
        if name or content:  # browsers send a nameless file where none was chosen
            images.append(Sent(name, content))
    if not parser.ended:
        raise HTTPException(400, "the form ends before its last boundary")
    return images


class _Form(MultiPartParser):
    """A form of images alone."""

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], limits: Limits) -> None:
        super().__init__(headers, stream, max_files=float("inf"))
        self.spool_max_size = limits.image_bytes + 1  # never on disk
        self.limits = limits
        self.size = 0
        self.ended = False

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        self.size = 0
        file = self._current_part.file
        if file is None:
            where = (
                "top stands in the address, as in /predict?top=3" if self._current_part.field_name == "top" else _HOW
            )
            raise HTTPException(422, f"the form has a field that is no file; {where}")
        if self._current_files > self.limits.images:
            raise HTTPException(413, f"there are more than {self.limits.images} images; send fewer at once")
        kind = (file.content_type or "").partition(";")[0].strip().lower()
        if not _may_be_image(kind):
            raise HTTPException(415, f"file {self._current_files} of the form is {kind[:100]}, not an image")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.size += end - start
        if self.size > self.limits.image_bytes:
            raise _too_large(f"image {self._current_files}", self.limits.image_bytes)
        super().on_part_data(data, start, end)

    def on_end(self) -> None:
        self.ended = True


def _may_be_image(kind: str) -> bool:
    return kind.startswith("image/") or kind in ("", "application/octet-stream")


def _too_large(what: str, limit: int) -> HTTPException:
    return HTTPException(413, f"{what} is larger than {limit / (1 << 20):g} MB")
