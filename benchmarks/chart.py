"""A chart of bars, as SVG: a panel for each figure, a bar for each server, a line from its lowest round to its highest.

Light or dark follows the reader's settings. Bars are linear from zero within a panel, and panels share nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from benchmarks.report import REFERENCE, Results
from benchmarks.stats import Spread

WIDTH: Final = 960
_COLUMNS: Final = 2
_PANEL: Final = WIDTH // _COLUMNS
_LABEL: Final = 186
_BAR: Final = _PANEL - _LABEL - 100
_ROW: Final = 22
_HEAD: Final = 52
_STYLE: Final = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 } .note, .value { fill: #59636e } .value { font-size: 12px }
.bar { fill: #afb8c1 } .ours { fill: #0969da } .spread { stroke: #1f2328; stroke-opacity: .55 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .note, .value { fill: #9198a1 }
  .bar { fill: #545d68 } .ours { fill: #4493f8 } .spread { stroke: #e6edf3 }
}
"""


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of all servers; `note` says whether more or less is better."""

    title: str
    note: str
    workload: str
    case: str
    metric: str
    form: str


_MORE: Final = "deliveries per CPU-second: more is better"
PANELS: Final = (
    Panel("Fan-out, one event at a time", _MORE, "fanout", "200 bytes, paced", "deliveries", "{:,.0f}"),
    Panel("Fan-out, 16 a turn", _MORE, "fanout", "200 bytes, saturated, 16 a turn", "deliveries", "{:,.0f}"),
    Panel("Connecting", "µs of CPU: less is better", "connect", "making a connection", "microseconds", "{:,.0f}"),
    Panel("Holding a connection", "bytes: less is better", "connect", "holding a connection", "bytes", "{:,.0f}"),
)


def chart(results: Results, titles: Mapping[str, str], panels: Sequence[Panel] = PANELS) -> str | None:
    """The chart of what was measured of `panels`; None if that is nothing. `titles` are the servers' by name."""
    found = [(panel, bars) for panel in panels if (bars := _bars(results, panel, titles))]
    if not found:
        return None
    lines = []
    top = 0
    for start in range(0, len(found), _COLUMNS):
        row = found[start : start + _COLUMNS]
        for column, (panel, bars) in enumerate(row):
            lines.append(f'<g transform="translate({column * _PANEL} {top})">{_panel(panel, bars)}</g>')
        top += _HEAD + _ROW * max(len(bars) for _, bars in row) + 16
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *lines, "</svg>", ""])


def plain(title: str) -> str:
    """A title without its Markdown."""
    return title.replace("*", "").replace("`", "")


def _bars(results: Results, panel: Panel, titles: Mapping[str, str]) -> list[tuple[str, str, Spread]]:
    return [
        (name, plain(title), spread)
        for name, title in titles.items()
        if (spread := results.spread(panel.workload, panel.case, name, panel.metric))
    ]


def _panel(panel: Panel, bars: Sequence[tuple[str, str, Spread]]) -> str:
    longest = max(spread.high for _, _, spread in bars) or 1.0
    parts = [
        f'<text class="title" x="12" y="20">{escape(panel.title)}</text>',
        f'<text class="note" x="12" y="38">{escape(panel.note)}</text>',
    ]
    for i, (name, title, spread) in enumerate(bars):
        y = _HEAD + i * _ROW
        low, middle, high = (round(_BAR * value / longest, 1) for value in (spread.low, spread.median, spread.high))
        kind = "bar ours" if name in REFERENCE else "bar"
        parts += [
            f'<text x="{_LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(title)}</text>',
            f'<rect class="{kind}" x="{_LABEL}" y="{y}" width="{max(middle, 1)}" height="16" rx="2"/>',
            f'<path class="spread" d="M{_LABEL + low} {y + 8}H{_LABEL + high}"/>' if high > low else "",
            f'<text class="value" x="{_LABEL + high + 6}" y="{y + 12}">{panel.form.format(spread.median)}</text>',
        ]
    return "".join(parts)
