"""The frame of a report page: one HTML file with its own style and script, for phones, the dark and the keyboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

__all__ = ["Section", "page"]


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        anchor: Its id, for links.
        heading: As text; also its name in the navigation.
        parts: HTML, in order.
    """

    anchor: str
    heading: str
    parts: Sequence[str]

    def html(self) -> str:
        """The section as HTML."""
        heading = f'<h2 id="{self.anchor}-heading">{escape(self.heading)}</h2>'
        return (
            f'<section id="{self.anchor}" aria-labelledby="{self.anchor}-heading">'
            f"{heading}\n{''.join(self.parts)}</section>\n"
        )


def page(title: str, lead: str, sections: Sequence[Section], choices: Sequence[str] = ()) -> str:
    """A whole page, with everything that it needs inside.

    Args:
        title: Heading, as text.
        lead: HTML below the heading.
        sections: In order; those without parts are left out.
        choices: Names of the panels that a reader chooses one of (parts made by `parts.panel`).
    """
    from plotly.offline import get_plotlyjs

    shown = [section for section in sections if section.parts]
    links = "".join(f'<li><a href="#{s.anchor}">{escape(s.heading)}</a></li>' for s in shown)
    nav = f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n' if len(shown) > 1 else ""
    options = "".join(f'<option value="{i}">{escape(name)}</option>' for i, name in enumerate(choices))
    choose = f'<label class="choose">Show <select autocomplete="off">{options}</select></label>\n'
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">\n'
        f"<style>\n{_asset('page.css')}</style></head>\n"
        '<body><a class="skip" href="#main">Skip to the content</a>\n'
        f"<header><h1>{escape(title)}</h1>\n{lead}{nav}{choose if len(choices) > 1 else ''}</header>\n"
        f'<main id="main" tabindex="-1">\n{"".join(section.html() for section in shown)}</main>\n'
        '<footer class="soft">Made by stkd. This page needs no network.</footer>\n'
        f"<script>{get_plotlyjs()}</script>\n<script>\n{_asset('page.js')}</script></body>\n</html>\n"
    )


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
