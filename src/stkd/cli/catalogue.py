"""The entries of `stkd list`: methods, models, data sets, recipes, comparisons, export formats."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..core.errors import StkdError, unknown
from ..core.recipes import recipes
from .registrations import Registration, registrations

__all__ = ["catalogue", "searched"]


def catalogue(what: str) -> list[dict[str, str]]:
    """Entries with name, summary and paper.

    Args:
        what: "methods", "models", "data", "recipes", "comparisons" (recipes of `stkd compare`) or "formats" (of
            `stkd export`).
    """
    if what in ("recipes", "comparisons"):
        shipped = recipes("compare" if what == "comparisons" else "")
        return [{"name": n, "summary": _first_comment(p.read_text(encoding="utf-8"))} for n, p in shipped.items()]
    found = registrations(*_ROOMS[what])
    entries = _imported(what) if found is None else found
    shown = [_entry(what, entry) for entry in entries]
    return shown + _PREFIXES if what == "models" else shown


_ROOMS = {
    "methods": ("stkd.methods", "stkd.methods"),
    "models": ("stkd.models", "stkd.models"),
    "data": ("stkd.data", "stkd.data"),
    "formats": ("stkd.export", "stkd.export.formats"),
}
"""The room of each kind, and the group of entry points."""

_PREFIXES = [
    {"name": "timm/NAME", "summary": "any model of timm", "paper": ""},
    {"name": "torchvision/NAME", "summary": "any classifier of torchvision", "paper": ""},
]


def _imported(what: str) -> list[Registration]:
    """The entries of the modules themselves, installed packages that add to them included."""
    if what == "methods":
        from ..methods import methods

        return [Registration(e.name, e.summary, e.paper, _fields(e.value)) for e in methods.entries()]
    if what == "models":
        from ..models import models as registry
    elif what == "formats":
        from ..export import exporters as registry  # type: ignore[assignment]
    else:
        from ..data import sources as registry  # type: ignore[assignment]
    return [Registration(e.name, e.summary, e.paper) for e in registry.entries()]


def _entry(what: str, entry: Registration) -> dict[str, str]:
    shown = {"name": entry.name, "summary": entry.summary}
    if what == "methods":
        options = (f"{k}={v:g}" if type(v) is float else f"{k}={v}" for k, v in entry.options.items())
        shown["options"] = " ".join(options)
    return shown if what == "formats" else {**shown, "paper": entry.paper}


def searched(what: str, text: str) -> list[dict[str, str]]:
    """The entries whose names hold a text, whatever its case and underscores; of models also timm's and torchvision's.

    Args:
        what: As for `catalogue`.
        text: What is looked for.

    Returns:
        They are sorted by name.

    Raises:
        StkdError: There are none; names the nearest.
    """
    if not text.strip():
        raise StkdError("--search is empty; give a part of a name, such as mobilenet")
    entries = [entry for entry in catalogue(what) if "NAME" not in entry["name"]]
    if what == "models":
        entries += _foreign_models()
    found = [entry for entry in entries if _loosely(text) in _loosely(entry["name"])]
    if not found:
        kind = {"models": "model", "methods": "method", "data": "data set", "formats": "export format"}.get(
            what, "recipe"
        )
        raise unknown(kind, text, [entry["name"] for entry in entries])
    return sorted(found, key=lambda entry: entry["name"].casefold())


def _loosely(name: str) -> str:
    return "".join(character for character in name.casefold() if character not in " _-")


def _foreign_models() -> list[dict[str, str]]:
    """Models of timm and torchvision, and which published weights there are."""
    import timm

    from ..models.external import names
    from ..models.external.torchvision_models import AUXILIARY

    tags: dict[str, list[str]] = {}
    for full in timm.list_pretrained():
        name, _, tag = full.partition(".")
        tags.setdefault(name, []).append(tag)
    entries = []
    for name in names("timm"):
        known = ", ".join(filter(None, tags.get(name, [])))
        weights = f"published weights: {known or 'yes'}" if name in tags else "no published weights"
        entries.append({"name": f"timm/{name}", "summary": weights, "paper": ""})
    usable = [name for name in names("torchvision") if name not in AUXILIARY]
    return entries + [
        {"name": f"torchvision/{name}", "summary": "published weights: yes", "paper": ""} for name in usable
    ]


def _fields(method: type) -> dict[str, Any]:
    return {f.name: f.default for f in dataclasses.fields(method)}


def _first_comment(text: str) -> str:
    return text.splitlines()[0].removeprefix("#").strip()
