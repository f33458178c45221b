"""The frame of a report page: one HTML file with its own style, readable in the dark, on a phone and when printed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["figure", "page", "table"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6573; --line: #d7dce3; --paper: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #9aa5b4; --line: #39424f; --paper: #14181f; }
}
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { margin-top: 2.2rem; font-size: 1.2rem; }
p { max-width: 46rem; } .soft { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; min-width: 32rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); font-size: .9rem; padding-bottom: .4rem; }
th, td { padding: .4rem .9rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--line); border-radius: .4rem; }
figure { margin: 1rem 0; } figcaption { color: var(--soft); font-size: .9rem; }
"""

# Plots are drawn for light paper; in the dark their text and grid follow the page.
_SCRIPT = """
function dress() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue('--ink').trim(), line = style.getPropertyValue('--line').trim();
  for (const plot of document.querySelectorAll('.js-plotly-plot')) {
    const look = { 'paper_bgcolor': 'rgba(0,0,0,0)', 'plot_bgcolor': 'rgba(0,0,0,0)', 'font.color': ink };
    for (const axis of Object.keys(plot.layout).filter((k) => /^[xy]axis/.test(k))) {
      look[axis + '.gridcolor'] = line; look[axis + '.linecolor'] = line; look[axis + '.zerolinecolor'] = line;
    }
    Plotly.relayout(plot, look);
  }
}
addEventListener('load', dress);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', dress);
"""


def page(title: str, body: Sequence[str]) -> str:
    """A whole page.

    Args:
        title: Heading, as text.
        body: Parts as HTML, in order.
    """
    from plotly.offline import get_plotlyjs

    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style><script>{get_plotlyjs()}</script><script>{_SCRIPT}</script></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{''.join(body)}</body>\n</html>\n"
    )


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as HTML; all cells are text.

    Args:
        caption: Above the table.
        header: Names of the columns.
        rows: Cells, the first of each row naming it.
    """
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in header)
    lines = [f"<tr>{''.join(f'<td>{escape(c)}</td>' for c in row)}</tr>" for row in rows]
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>\n"
    )


def figure(plot: object, caption: str) -> str:
    """A plotly figure as HTML, with the caption that also tells screen readers what it shows."""
    import plotly.io

    html = plotly.io.to_html(
        plot, include_plotlyjs=False, full_html=False, config={"displayModeBar": False, "responsive": True}
    )
    text = escape(caption)
    return f'<figure role="group" aria-label="{text}">{html}<figcaption>{text}</figcaption></figure>\n'
