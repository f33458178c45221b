"""The entries of `stkd list`: methods, models, data sets, recipes, comparisons."""

from __future__ import annotations

import dataclasses

from ..core.recipes import recipes

__all__ = ["catalogue"]


def catalogue(what: str) -> list[dict[str, str]]:
    """Entries with name, summary and paper.

    Args:
        what: "methods", "models", "data", "recipes" or "comparisons" (recipes of `stkd compare`).
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
    from ..data import sources

    return [{"name": e.name, "summary": e.summary, "paper": e.paper} for e in sources.entries()]


def _options(method: type) -> str:
    shown = {f.name: f.default for f in dataclasses.fields(method)}
    return " ".join(f"{k}={v:g}" if type(v) is float else f"{k}={v}" for k, v in shown.items())


def _first_comment(text: str) -> str:
    return text.splitlines()[0].removeprefix("#").strip()
