"""The screen of `gateway top`: a reading as text in columns, in as many lines as there are."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_STATES: Final = {"ready": "green", "draining": "yellow", "not ready": "bold red"}
_UNKNOWN: Final = "-"

WIDE: Final = 80
"""Columns from which on all numbers of a node are shown."""

_ENDLESS: Final = 1 << 30


def screen_of(reading: Mapping[str, Any], url: str, width: int = WIDE, height: int | None = None) -> Group:
    """A reading, cut to `height` lines where that is given: each part gets a share of what those above have left."""
    nodes, problems, slow = reading["nodes"], _problems(reading), reading["shown"]["slow"]
    known = [each for each in nodes if "connections" in each]
    left = _ENDLESS if height is None else height - 2 - bool(known)
    node_rows = min(len(nodes), max(1, left // 4))
    hidden = len(nodes) - node_rows
    problem_rows = min(len(problems), max(1, left // 4))
    left -= node_rows + bool(hidden) + problem_rows
    lines: list[RenderableType] = [_heading(url, f"as of {reading['at']}"), _nodes(nodes[:node_rows], known, width)]
    lines += [_line(f"{hidden} more nodes")] if hidden else []
    lines += [_reasons(known)] if known else []
    lines += problems[:problem_rows]
    if left < 3:
        return Group(*lines)
    left -= 2
    slow_rows = min(len(slow), left // 3)
    lines += [Text(), _busiest(reading["tenants"], reading["shown"], width, left - slow_rows - bool(slow_rows))]
    if slow_rows:
        shown = reading["shown"]
        text = f"{shown['behind']} slow consumers on the node that answers, of {shown['tenant']}"
        lines.append(Text(text, "yellow", no_wrap=True))
        lines += [_line(f"  {each['connection_id']}  {each['user_id']}  {each['node']}") for each in slow[:slow_rows]]
    return Group(*lines)


def silence_of(url: str, since: str, seconds: float, error: str) -> Group:
    """The screen while there is no answer: nothing of an earlier reading."""
    text = Text(f"no answer since {since} ({seconds:.0f} s)", style="bold red")
    return Group(_heading(url, "no answer"), Text(), text, Text(error))


def _heading(url: str, state: str) -> Text:
    return Text(f"gateway top  {url}  {state}  (q ends)", style="bold", no_wrap=True, overflow="ellipsis")


def _columns(names: Iterable[str], numbers: int, longest: int | None = None) -> Table:
    """A table without lines; the last so many columns have numbers, the first one at most `longest` characters."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    names = list(names)
    for position, name in enumerate(names):
        most = longest if position == 0 else None
        right = position >= len(names) - numbers
        table.add_column(name, justify="right" if right else "left", no_wrap=True, overflow="ellipsis", max_width=most)
    return table


def _nodes(nodes: Iterable[Mapping[str, Any]], known: Sequence[Any], width: int) -> Table:
    names = ("conns", "deliv/s", "behind", "events/s", "loop p99", "log lag", "version")
    numbers = () if not known else names if width >= WIDE else names[:2]
    table = _columns(("node", "state", *numbers), len(numbers))
    for node in nodes:
        state = "draining" if node["draining"] else "ready" if node["ready"] else "not ready"
        rate, connections = node.get("per_second", {}), node.get("connections")
        cells = (
            _UNKNOWN if connections is None else str(sum(connections.values())),
            _rate(rate.get("deliveries")),
            str(node.get("behind", _UNKNOWN)),
            _rate(rate.get("events")),
            _lag(node.get("loop_lag_p99")),
            _UNKNOWN if node.get("log_lag") is None else f"{node['log_lag']:.1f} s",
            node["version"],
        )
        table.add_row(node["node"].removeprefix("node_"), Text(state, _STATES[state]), *cells[: len(numbers)])
    return table


def _reasons(nodes: Iterable[Mapping[str, Any]]) -> Text:
    """The refusals, closes and gaps of all nodes a second, by reason."""
    parts = []
    for name in ("refusals", "closes", "gaps"):
        counted: Counter[str] = Counter()
        for node in nodes:
            counted.update(node.get(f"{name}_per_second", {}))
        if counted:
            parts.append(f"{name}/s: " + ", ".join(f"{reason} {_rate(rate)}" for reason, rate in counted.most_common()))
    text = "; ".join(parts) or "no refusals, closes or gaps"
    return Text(text, style="yellow" if parts else "dim", no_wrap=True, overflow="ellipsis")


def _problems(reading: Mapping[str, Any]) -> list[RenderableType]:
    said = [f"{each['node']}: {each['problem']}" for each in reading["nodes"] if each.get("problem")]
    said += [f"{node}: no answer" for node in reading["silent"]]
    return [Text(each, style="bold red", no_wrap=True, overflow="ellipsis") for each in said]


def _busiest(tenants: Sequence[Any], shown: Mapping[str, Any], width: int, rows: int) -> Table:
    """The busiest tenants beside the busiest rooms of the one that is shown."""
    numbers, longest = (2, width // 2 - 22) if width >= WIDE else (1, width // 2 - 12)
    busiest = _columns(("busiest tenants", "deliv/s", "events/s")[: 1 + numbers], numbers, longest)
    for each in tenants[:rows]:
        rate = each.get("per_second", {})
        cells = (_rate(rate.get("deliveries")), _rate(rate.get("events")))
        busiest.add_row(each["tenant"], *cells[:numbers])
    rooms = _columns((f"rooms of {shown['tenant']}", "conns", "users")[: 1 + numbers], numbers, longest)
    for each in shown["rooms"][:rows]:
        cells = (str(each["connections"]), str(each["users"]))
        rooms.add_row(each["room"], *cells[:numbers])
    both = Table.grid(padding=(0, 3, 0, 0))
    both.add_row(*([busiest] if tenants else []), rooms)
    return both


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def _rate(rate: float | None) -> str:
    if rate is None:
        return _UNKNOWN
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def _lag(lag: float | str | None) -> str:
    if isinstance(lag, str):
        return "> 10 s"
    return _UNKNOWN if lag is None else f"{1_000 * lag:g} ms"
