"""The entries of `stkd list`: methods, models, data sets, recipes, comparisons, export formats."""

from __future__ import annotations

import dataclasses

from ..core.errors import StkdError, unknown
from ..core.recipes import recipes

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
    if what == "methods":
        from ..methods import methods

        return [
            {"name": e.name, "summary": e.summary, "options": _options(e.value), "paper": e.paper}
            for e in methods.entries()
        ]
    if what == "models":
        from ..models import models

        prefixes = [
            {"name": "timm/NAME", "summary": "any model of timm", "paper": ""},
            {"name": "torchvision/NAME", "summary": "any classifier of torchvision", "paper": ""},
        ]
        return [{"name": e.name, "summary": e.summary, "paper": e.paper} for e in models.entries()] + prefixes
    if what == "formats":
        from ..export import exporters

        return [{"name": e.name, "summary": e.summary} for e in exporters.entries()]
    from ..data import sources

    return [{"name": e.name, "summary": e.summary, "paper": e.paper} for e in sources.entries()]


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

    from ..models.external import AUXILIARY, names

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


def _options(method: type) -> str:
    shown = {f.name: f.default for f in dataclasses.fields(method)}
    return " ".join(f"{k}={v:g}" if type(v) is float else f"{k}={v}" for k, v in shown.items())


def _first_comment(text: str) -> str:
    return text.splitlines()[0].removeprefix("#").strip()
