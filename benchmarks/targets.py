"""Targets, and whether a run reached them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.report import Results, spread_text
from benchmarks.stats import Spread, ratios
from benchmarks.workloads import contract, dashboards, fairness, keyed, observability, publish

_SATURATED: Final = "200 bytes, saturated, 16 a turn"


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on the median of one figure."""

    title: str
    bound: float
    at_most: bool
    form: str
    find: Callable[[Results], Spread | None]

    def met(self, found: Spread) -> bool:
        return found.median <= self.bound if self.at_most else found.median >= self.bound

    def row(self, results: Results) -> list[str]:
        """Title, bound, what was found, and a verdict."""
        bound = f"at {'most' if self.at_most else 'least'} {self.form.format(self.bound)}"
        found = self.find(results)
        if found is None:
            return [self.title, bound, "", "not measured"]
        return [self.title, bound, spread_text(found, self.form), "met" if self.met(found) else "**missed**"]


def rows(results: Results) -> Iterator[list[str]]:
    """The table of targets, its header first."""
    yield ["what", "wanted", "measured", ""]
    for target in TARGETS:
        yield target.row(results)


def _beside(workload: str, case: str, metric: str, other: str) -> Callable[[Results], Spread | None]:
    return lambda results: results.ratio(workload, case, metric, "gateway", other)


def _of(workload: str, case: str, metric: str, peer: str = "gateway") -> Callable[[Results], Spread | None]:
    return lambda results: results.spread(workload, case, peer, metric)


def _fanout(case: str, other: str) -> Callable[[Results], Spread | None]:
    return _beside("fanout", case, "deliveries", other)


def _batches_beside_process(results: Results) -> Spread | None:
    """Events per CPU-second over HTTP, divided by those in process, round by round."""
    over_http = results.values.get(("ingest", "`POST /events/batch` of 100", "gateway-http", "deliveries"), {})
    in_process = results.values.get(("ingest", "in process", "gateway", "deliveries"), {})
    both = sorted(over_http.keys() & in_process.keys())
    return ratios([over_http[round] for round in both], [in_process[round] for round in both])


def _observed(metric: str) -> Callable[[Results], Spread | None]:
    """The greatest ratio of the cases, round by round."""

    def find(results: Results) -> Spread | None:
        cases = [results.values.get(("observability", case, "gateway", metric), {}) for case in observability.CASES]
        both = set.intersection(*map(set, cases))
        return Spread.of([max(found[round] for found in cases) for round in both]) if both else None

    return find


TARGETS: Final = (
    Target("paced fan-out beside the bare send loop", 0.75, False, "{:.2f}", _fanout("200 bytes, paced", "floor")),
    Target("saturated fan-out beside nats-server", 2.0, False, "{:.1f}", _fanout(_SATURATED, "nats")),
    Target("saturated fan-out beside Nchan", 5.0, False, "{:.1f}", _fanout(_SATURATED, "nchan")),
    Target("saturated fan-out beside uWebSockets", 5.0, False, "{:.1f}", _fanout(_SATURATED, "uws")),
    Target("saturated fan-out beside `ws`", 8.0, False, "{:.1f}", _fanout(_SATURATED, "ws")),
    Target("saturated fan-out beside Socket.IO", 12.0, False, "{:.1f}", _fanout(_SATURATED, "socketio")),
    Target("saturated fan-out beside FastAPI `gather`", 2.0, False, "{:.1f}", _fanout(_SATURATED, "gather")),
    Target(
        "CPU per connect, token verified, beside `ws` without a token",
        1.5,
        True,
        "{:.2f}",
        _beside("connect", "making a connection", "microseconds", "ws"),
    ),
    Target(
        "memory per idle connection in one room, bytes",
        8_000,
        True,
        "{:,.0f}",
        _of("connect", "holding a connection", "bytes"),
    ),
    Target(
        "marks of 20,000 idle connections, % of a core",
        1.0,
        True,
        "{:.2f}",
        _of("marks", "marks of 20,000 connections", "core_share", "gateway-http"),
    ),
    Target(
        "in-process ingest, no subscribers, events per CPU-second",
        100_000,
        False,
        "{:,.0f}",
        _of("ingest", "in process", "deliveries"),
    ),
    Target(
        "HTTP ingest in batches of 100, events per CPU-second",
        30_000,
        False,
        "{:,.0f}",
        _of("ingest", "`POST /events/batch` of 100", "deliveries", "gateway-http"),
    ),
    Target(
        "HTTP ingest in batches of 100, beside in-process ingest",
        0.60,
        False,
        "{:.2f}",
        _batches_beside_process,
    ),
    Target(
        "CPU of `POST /events`, token verified, beside a bare ASGI echo",
        2.5,
        True,
        "{:.2f}",
        _of("publish", publish.CASE, "ratio", "gateway-http"),
    ),
    Target(
        "CPU of publishing a keyed event in process, times a plain one's",
        1.5,
        True,
        "{:.2f}",
        _of("keyed", keyed.PUBLISH, "set_ratio"),
    ),
    Target(
        "CPU of publishing an `append` in process, times a plain event's",
        1.5,
        True,
        "{:.2f}",
        _of("keyed", keyed.PUBLISH, "append_ratio"),
    ),
    Target(
        "CPU of catch-up over 10,000 superseded events, times less than without keys",
        20.0,
        False,
        "{:.0f}",
        _of("keyed", keyed.CATCH_UP, "cpu_ratio"),
    ),
    Target(
        "state of 10,000 items to one client, ms",
        100.0,
        True,
        "{:.0f}",
        _of("keyed", keyed.STATE, "milliseconds"),
    ),
    Target(
        "µs of CPU to check an event of 250 bytes against its JSON Schema",
        5.0,
        True,
        "{:.1f}",
        _of("contract", contract.CASE, "schema"),
    ),
    Target(
        "p99 of dashboards published by single POSTs, beside in-process publishing",
        1.5,
        True,
        "{:.2f}",
        lambda results: results.ratio("dashboards", dashboards.CASE, "p99", "gateway-http", "gateway"),
    ),
    *(
        Target(
            f"p99 of a quiet tenant's events beside {title}, times its bound",
            1.0,
            True,
            "{:.2f}",
            _of("fairness", f"flood: {title}", "isolation", "gateway-http"),
        )
        for title in fairness.FLOODS
    ),
    Target(
        "least share of a tenant among 4 that flood, beside an equal one",
        0.8,
        False,
        "{:.2f}",
        _of("fairness", fairness.SHARE, "share", "gateway-http"),
    ),
    Target(
        "fan-out of one tenant, beside that without fair shares",
        0.97,
        False,
        "{:.2f}",
        _of("fairness", fairness.ALONE, "conservation", "gateway-http"),
    ),
    *(
        Target(f"CPU of a delivery with {title}, times that without", 1.03, True, "{:.2f}", _observed(metric))
        for metric, title in observability.OBSERVERS.items()
    ),
    Target(
        "healthy clients' p99 with 10 % slow readers, times that with none",
        1.5,
        True,
        "{:.2f}",
        _of("slow", "10 of 100 read slowly", "p99_ratio"),
    ),
    Target(
        "memory growth with 200 of 1,000 that never read, MiB",
        64,
        True,
        "{:.1f}",
        _of("stuck", "200 of 1,000 never read", "growth"),
    ),
)
