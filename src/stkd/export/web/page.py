"""The page's own files: its HTML from a template, its style and its scripts as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..contract import Contract

__all__ = ["FILES", "page_files"]

_STATIC = ("page.css", "page.js", "cards.js", "camera.js", "worker.js", "pixels.js", "resize.js", "model.js", "file.js")

_SHOWN = 12  # classes below the heading

FILES = ("index.html", *_STATIC)
"""Names of what `page_files` returns."""


def page_files(contract: Contract, sizes: Mapping[str, int], runtime: str) -> dict[str, str]:
    """The files by name.

    Args:
        contract: What the model says of itself.
        sizes: Bytes of "model", "wasm" and "webgpu".
        runtime: Version of onnxruntime-web.
    """
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    model = json.loads(contract.text())["model"]  # without folders of this machine
    name = model.rpartition("/")[2]
    values: dict[str, Any] = {"info": contract.info, "contract": contract, "sizes": sizes, "runtime": runtime}
    values |= {"model": model, "name": name, "file": f"{name}.onnx", "shown": _SHOWN}
    folder = files(__package__) / "templates"
    return {
        "index.html": environment.get_template("index.html").render(values),
        **{name: (folder / name).read_text(encoding="utf-8") for name in _STATIC},
    }
