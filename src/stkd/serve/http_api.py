"""What the prediction server answers: /predict, /health, and / for people."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from torch import Tensor

from .. import __version__
from ..export.answers import answer_of
from ..export.format import Opened
from ..models.files import ModelInfo
from ..runs.prediction import top_classes
from .batching import Batcher
from .http_body import read_images
from .http_guard import FAILED, Guard, error_response
from .http_limits import Budget, Limits, Share
from .http_pixels import Decoders
from .http_schema import ANSWER, BODY

__all__ = ["make_app"]

_SAID = {
    404: "there is no such address; GET / says which there are",
    405: "this address is not asked like that; GET / says how",
}


def make_app(opened: Opened, *, limits: Limits | None = None, hosts: frozenset[str] | None = None) -> Guard:
    """The prediction server as an ASGI application.

    Args:
        opened: The exported model.
        limits: What it takes.
        hosts: Host names that it answers to; None for any.
    """
    limits = limits or Limits()
    info, answer = opened.contract.info, answer_of(opened)
    batcher = Batcher(lambda pixels: answer.probabilities(pixels)["model"])
    decoders = Decoders(info, limits.pixels)
    held, waiting = Budget(limits.held_bytes), Budget(limits.waiting)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(batcher.run())
        yield
        running.cancel()
        decoders.close()

    # FastAPI's pages of documentation load scripts from a CDN
    app = FastAPI(
        title="stkd serve",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )

    async def read(request: Request, place: Share) -> tuple[list[str], list[Tensor | str]]:
        """Names and pixels of the images of a request; their files are given up."""
        with held.share() as share:
            images = await read_images(request, limits, share)
            place.take(len(images))
            return [image.name for image in images], await decoders.pixels([image.content for image in images])

    @app.get("/", response_class=PlainTextResponse)
    async def usage(request: Request) -> str:
        """How to use the server."""
        return _usage(info, str(request.base_url), limits)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Which model answers."""
        return {
            "model": info.model,
            "classes": list(info.classes),
            "size": info.size,
            "channels": info.channels,
            "weights": opened.contract.weights,
            "runtime": opened.runtime,
            "version": __version__,
        }

    @app.post("/predict", openapi_extra=BODY, responses=ANSWER, response_class=JSONResponse)
    async def predict(request: Request, top: Annotated[int, Query(ge=1)] = 5) -> JSONResponse:
        """The most probable classes of one or many images; one that cannot be read has "error" instead."""
        with waiting.share() as place:
            names, decoded = await read(request, place)
            readable = [pixels for pixels in decoded if isinstance(pixels, Tensor)]
            if not readable:
                raise HTTPException(422, _unread(names, [str(reason) for reason in decoded]))
            answers = iter(await batcher.ask(readable))
        rows = [
            {"image": name, "model": top_classes(next(answers), info.classes, top)}
            if isinstance(pixels, Tensor)
            else {"image": name, "error": pixels}
            for name, pixels in zip(names, decoded, strict=True)
        ]
        return JSONResponse(rows)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        said = _SAID.get(error.status_code, error.detail)
        return error_response(HTTPException(error.status_code, said, error.headers))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(HTTPException(422, "top must be a whole number of at least 1"))

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        return error_response(FAILED)

    return Guard(app, limits, hosts)


def _unread(names: list[str], reasons: list[str]) -> str:
    first = f"{names[0] or 'the image'} {reasons[0]}"
    return first if len(names) == 1 else f"none of the {len(names)} images can be read; the first: {first}"


def _usage(info: ModelInfo, address: str, limits: Limits) -> str:
    return (
        f"{info.model}, {len(info.classes)} classes\n\n"
        f"curl -F image=@photo.jpg {address}predict                     one image or more, a -F for each\n"
        f"curl -F image=@photo.jpg '{address}predict?top=1'             the most probable class alone\n"
        f"curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg {address}predict\n"
        f"curl {address}health                                          model, classes, versions\n"
        f"curl {address}openapi.json                                    the same for programs\n\n"
        f"Up to {limits.images} images at once, of {limits.image_bytes >> 20} MB and {limits.pixels // 1_000_000} "
        f"million pixels each, {limits.request_bytes >> 20} MB together.\n"
    )
