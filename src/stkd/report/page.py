"""Pages from the templates: one HTML file with its own style and script, for phones, dark mode and the keyboard."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["Figure", "Section", "render"]


@dataclass(frozen=True)
class Figure:
    """A figure with its caption.

    Attributes:
        plot: A figure of plotly.
        caption: As text.
    """

    plot: Any
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        name: Of its template in templates/sections, and its id for links.
        heading: As text; also its name in the navigation.
        panels: Position to the values of the template, for each panel that a reader chooses one of. A page without
            choice has one. Without values there is nothing to show.
    """

    name: str
    heading: str
    panels: Mapping[int, Mapping[str, Any] | None]


def render(
    title: str, lead: Sequence[str], sections: Sequence[Section], notes: Sequence[str] = (), choices: Sequence[str] = ()
) -> str:
    """A whole page, with everything that it needs inside.

    Args:
        title: Heading, as text.
        lead: Paragraphs below the heading.
        sections: In order; those with nothing to show are left out.
        notes: Paragraphs in a smaller font below the lead.
        choices: Names of the panels, where there are several.
    """
    from plotly.offline import get_plotlyjs

    loader = PackageLoader(__package__)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"plotly": _plotly_html, "number": itertools.count(1).__next__}
    shown = [section for section in sections if any(section.panels.values())]
    values = {"title": title, "lead": lead, "notes": notes, "sections": shown, "choices": choices}
    assets = {name: Markup(loader.get_source(environment, name)[0]) for name in ("page.css", "page.js", "figures.js")}
    return environment.get_template("page.html").render(**values, assets=assets, plotlyjs=Markup(get_plotlyjs()))


def _plotly_html(plot: Any, name: str) -> Markup:
    return Markup(plot.to_html(full_html=False, include_plotlyjs=False, div_id=name))
