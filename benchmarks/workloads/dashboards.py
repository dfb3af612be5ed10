"""Dashboards: 5,000 connections in 1,000 rooms, each in 5 (3 circles and 2 projects), 500 events/s at a steady rate.

An event belongs to a circle of 30 members and to a project of 20; no connection is in both, so that servers which would
send it twice do the same work. Latency is from the moment at which an event fell due to its receipt, of every delivery.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final

from benchmarks.measure import Bench, Figure, Meter, session
from benchmarks.peers import Peer
from benchmarks.report import Column, Workload, general
from benchmarks.stats import percentile

CONNECTIONS: Final = 5_000
CIRCLES: Final = 500
PROJECTS: Final = 500
RATE: Final = 500
SECONDS: Final = 10.0
SIZE: Final = 250
CASE: Final = "500 events/s to 50 of 5,000 connections each"


def rooms_of(number: int) -> list[str]:
    """The rooms of a connection: steps that are coprime to the numbers of rooms spread them evenly."""
    circles = [_circle(number + step) for step in (0, 137, 291)]
    return circles + [_project(number * 7 + step) for step in (0, 211)]


# Ids from 100 on, all of three digits, so that all events are of one size.
def _circle(number: int) -> str:
    return f"circle:{100 + number % CIRCLES}"


def _project(number: int) -> str:
    return f"project:{100 + number % PROJECTS}"


def audiences(connections: int) -> list[tuple[str, str]]:
    """A circle and a project for each event, in turn: every circle once, no pair that a connection is in both of."""
    met = {pair for number in range(connections) for pair in product(rooms_of(number)[:3], rooms_of(number)[3:])}
    chosen = []
    for circle in range(CIRCLES):
        pairs = ((_circle(circle), _project(circle * 3 + step)) for step in range(PROJECTS))
        chosen.append(next(pair for pair in pairs if pair not in met))
    return chosen


def listeners(connections: int, audience: Sequence[str]) -> int:
    """The number of connections in these rooms."""
    return sum(not set(audience).isdisjoint(rooms_of(number)) for number in range(connections))


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    connections = bench.count(CONNECTIONS)
    chosen = audiences(connections)
    members = {audience: listeners(connections, audience) for audience in chosen}
    with session(bench, peer, connections, rooms_of, sampled=True) as s:
        pad = s.calibrate(SIZE, chosen[0], members[chosen[0]])
        warm_up = s.steady(bench.seconds(2.0), RATE, pad, chosen)
        s.await_count(sum(members[chosen[i % len(chosen)]] for i in range(warm_up)))
        s.receiver.reset(s.unit(SIZE))
        with Meter(s.server) as meter:
            count = s.steady(bench.seconds(SECONDS), RATE, pad, chosen)
            deliveries = sum(members[chosen[i % len(chosen)]] for i in range(count))
            s.await_count(deliveries)
        yield from meter.figures(CASE, deliveries)
        latencies = s.receiver.latencies()
        assert len(latencies) == deliveries, f"{len(latencies)} latencies of {deliveries} deliveries"
        for share in (50, 99, 99.9):
            yield Figure(CASE, f"p{share}", percentile(latencies, share / 100) * 1e3)


WORKLOAD: Final = Workload(
    name="dashboards",
    title="Dashboards: 5,000 connections in 1,000 rooms",
    method=__doc__,
    run=run,
    columns=(
        Column("microseconds", "µs of CPU a delivery", "{:.2f}", compared=True),
        Column("p50", "p50, ms", "{:.2f}", compared=True),
        Column("p99", "p99, ms", "{:.2f}", compared=True),
        Column("p99.9", "p99.9, ms", "{:.2f}"),
        Column("server_share", "server on its core", "{:.0%}"),
        Column("load_share", "load on its core", "{:.0%}"),
    ),
    suits=lambda peer: peer.has_rooms and general(peer),
)
