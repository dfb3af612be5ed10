"""Tables of what was measured: medians with spread, and how many times this gateway is each of the others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.stats import Spread, ratios

if TYPE_CHECKING:
    from benchmarks.measure import Bench, Figure
    from benchmarks.peers import Peer

REFERENCE: Final = ("gateway", "gateway-redis", "gateway-http")
"""The peer that others are compared with: the first one measured."""


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of a table. A compared one gets a column beside it: the gateway's figure divided by the row's."""

    metric: str
    title: str
    form: str
    compared: bool = False


def general(peer: "Peer") -> bool:
    """Whether a peer is for every workload, and not for those alone that name it."""
    return peer.name not in ("gateway-bus", "gateway-redis", "python-socketio")


@dataclass(frozen=True, slots=True)
class Workload:
    """A measurement and its presentation."""

    name: str
    title: str
    method: str
    run: Callable[["Bench", "Peer"], Iterator["Figure"]]
    columns: Sequence[Column]
    suits: Callable[["Peer"], bool] = general
    """The predicate for peers that support this workload."""
    max_rounds: int | None = None
    """The maximum number of rounds, for a workload that takes long."""
    one_table: bool = False
    """Whether the cases are the columns of one table, of the first metric; else each has a table."""


@dataclass(slots=True)
class Results:
    """Everything measured, by workload, case, peer and metric; the values by round."""

    values: dict[tuple[str, str, str, str], dict[int, float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, workload: str, peer: str, round: int, figure: "Figure") -> None:
        self.values.setdefault((workload, figure.case, peer, figure.metric), {})[round] = figure.value

    def cases(self, workload: str) -> list[str]:
        """The cases of a workload, in the order in which they were measured."""
        return list(dict.fromkeys(case for name, case, _, _ in self.values if name == workload))

    def spread(self, workload: str, case: str, peer: str, metric: str) -> Spread | None:
        rounds = self.values.get((workload, case, peer, metric))
        return Spread.of(list(rounds.values())) if rounds else None

    def ratio(self, workload: str, case: str, metric: str, peer: str, other: str) -> Spread | None:
        """`peer`'s figure divided by `other`'s, of the rounds that have both."""
        mine = self.values.get((workload, case, peer, metric), {})
        theirs = self.values.get((workload, case, other, metric), {})
        both = sorted(mine.keys() & theirs.keys())
        return ratios([mine[i] for i in both], [theirs[i] for i in both])


def spread_text(spread: Spread | None, form: str) -> str:
    """`3 (2 to 4)`: the median and the extremes where they differ, or nothing."""
    if spread is None:
        return ""
    middle, low, high = (form.format(value) for value in (spread.median, spread.low, spread.high))
    return middle if low == high else f"{middle} ({low} to {high})"


def tables(workload: Workload, results: Results, titles: Mapping[str, str]) -> Iterator[tuple[str, list[list[str]]]]:
    """For each case its name and its rows, the first being the header; a column without values is omitted.

    `titles` are the peers' by name, in the order of the rows.
    """
    if workload.one_table:
        yield "", _one_table(workload, results, titles)
        return
    for case in results.cases(workload.name):
        measured = [peer for peer in titles if any(_row(results, workload, case, peer))]
        reference = next((name for name in REFERENCE if any(_row(results, workload, case, name))), None)
        # A single row has no comparison.
        compared = [column.metric for column in workload.columns if column.compared and len(measured) > 1]
        columns = [
            column
            for column in workload.columns
            if any(results.spread(workload.name, case, peer, column.metric) for peer in titles)
        ]
        header = [""]
        for column in columns:
            header += [column.title, "this gateway is, times"] if column.metric in compared else [column.title]
        rows = [header]
        for peer in measured:
            row = [titles[peer]]
            for column in columns:
                row.append(spread_text(results.spread(workload.name, case, peer, column.metric), column.form))
                if column.metric in compared:
                    same = reference is None or peer == reference
                    ratio = None if same else results.ratio(workload.name, case, column.metric, str(reference), peer)
                    row.append(spread_text(ratio, "{:.2f}"))
            rows.append(row)
        yield case, rows


def _one_table(workload: Workload, results: Results, titles: Mapping[str, str]) -> list[list[str]]:
    cases, column = results.cases(workload.name), workload.columns[0]
    rows = [["", *cases]]
    for peer, title in titles.items():
        spreads = [results.spread(workload.name, case, peer, column.metric) for case in cases]
        if any(spreads):
            rows.append([title, *(spread_text(spread, column.form) for spread in spreads)])
    return rows


def _row(results: Results, workload: Workload, case: str, peer: str) -> list[Spread]:
    found = (results.spread(workload.name, case, peer, column.metric) for column in workload.columns)
    return [spread for spread in found if spread]


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first row is the header; its source is aligned, to be read as it is too."""
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])
