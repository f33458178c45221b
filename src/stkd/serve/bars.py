"""The models' distributions side by side, as an HTML table of bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from torch import Tensor

__all__ = ["STYLE", "bars", "problem"]

STYLE = """
#answers .bars { width: 100%; border: 0; border-collapse: collapse; table-layout: fixed;
  font-variant-numeric: tabular-nums; }
#answers .bars :is(thead, tbody, tr) { border: 0; background: none; }
#answers .bars caption { text-align: left; padding-bottom: .5rem; color: var(--body-text-color); }
#answers .bars :is(th, td) { border: 0; border-bottom: 1px solid var(--border-color-primary);
  padding: .3rem .8rem .3rem 0; text-align: left; font-weight: 500; overflow-wrap: anywhere; }
#answers .bar { display: block; height: .7rem; border-radius: .2rem; min-width: 1px; background: #d55e00; }
#answers .bar.teacher { background: #0072b2; }
#answers .problem { color: var(--body-text-color); font-weight: 600; }
.pixels img { image-rendering: pixelated; width: 100%; height: 100%; object-fit: contain; }
#examples .grid-container { grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr)) !important; }
#examples .grid-wrap { height: auto; min-height: 0; max-height: none; overflow: visible; }
footer { display: none !important; }
"""


def bars(
    probabilities: Mapping[str, Tensor],
    classes: Sequence[str],
    latency_ms: Mapping[str, float],
    caption: str,
    top: int = 5,
) -> str:
    """A table with a row for every class that is among some model's likeliest, in the first model's order.

    Args:
        probabilities: (C,) for each model.
        classes: Names of the C classes; they are escaped.
        latency_ms: Milliseconds for one image, of each model.
        caption: Above the table.
        top: Likeliest classes of each model that get a row.
    """
    first = next(iter(probabilities.values()))
    likeliest = {c for p in probabilities.values() for c in p.topk(min(top, len(classes))).indices.tolist()}
    order = sorted(likeliest, key=lambda c: -float(first[c]))
    head = "".join(f'<th scope="col">{who}<br>{latency_ms[who]:.2f} ms</th>' for who in probabilities)
    rows = [
        f'<tr><th scope="row">{escape(classes[c])}</th>'
        + "".join(_bar(who, float(p[c])) for who, p in probabilities.items())
        + "</tr>"
        for c in order
    ]
    return (
        f'<table class="bars"><caption>{escape(caption)}</caption>'
        f'<thead><tr><th scope="col">class</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _bar(who: str, probability: float) -> str:
    return f'<td>{probability:.1%}<span class="bar {who}" style="width:{100 * probability:.1f}%"></span></td>'


def problem(message: str) -> str:
    """One line that says what is wrong."""
    return f'<p class="problem" role="alert">{escape(message)}</p>'
