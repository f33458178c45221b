"""Bodies and answers of /predict, for the OpenAPI description."""

from __future__ import annotations

from typing import Any

__all__ = ["ANSWER", "BODY"]

_FILE = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "properties": {"image": {"type": "array", "items": _FILE}}, "required": ["image"]}

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": _FORM}, "image/*": {"schema": _FILE}},
    }
}
"""A form of files (under any names), or one image."""

_CLASS = {"type": "object", "properties": {"class": {"type": "string"}, "probability": {"type": "number"}}}
_ROW = {
    "type": "object",
    "properties": {
        "image": {"type": "string", "description": "name of the file"},
        "model": {"type": "array", "items": _CLASS, "description": "most probable class first"},
        "error": {"type": "string", "description": "why the image cannot be read"},
    },
    "required": ["image"],
}
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_REFUSED = {
    400: "no image, or the form is broken",
    408: "it came too slowly",
    413: "too many bytes or images",
    415: "no image type",
    422: "no image can be read, or top is no number",
    503: "busy; see Retry-After",
    504: "it took too long",
}

ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"schema": {"type": "array", "items": _ROW}}}},
    **{
        status: {"description": said, "content": {"application/json": {"schema": _ERROR}}}
        for status, said in _REFUSED.items()
    },
}
"""A row for each image, in their order; or an error."""
