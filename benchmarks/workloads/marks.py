"""Marks: what `stream.mark` costs for 18,000 idle connections of one tenant, each in one room of 1,000.

Once they are connected nothing is published for a minute: the server's CPU is that of its marks and of what it does
when it is idle. `GATEWAY_MARK_INTERVAL=0` shows the latter; the difference, for 20,000 connections, is what the marks
cost. WebSocket pings are off in both.
"""

import contextlib
from collections.abc import Iterator
from typing import Final

from benchmarks.load.fleet import Fleet
from benchmarks.measure import ALL, Bench, Figure, Meter
from benchmarks.peers import Peer
from benchmarks.peers.gateway import GatewayOverHttp
from benchmarks.report import Column, Workload

HELD: Final = 18_000
SECONDS: Final = 60.0
WITH: Final = "a mark in 15 s at least"
WITHOUT: Final = "no marks"
ALONE: Final = "marks of 20,000 connections"
_QUIET: Final = {"GATEWAY_PING_INTERVAL": "86400"}


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    """Both cases, each with a server of its own, and their difference."""
    assert isinstance(peer, GatewayOverHttp)
    held, seconds = bench.count(HELD), bench.seconds(SECONDS)
    shares: list[float] = []
    rate = 0.0
    for interval, case in ((15, WITH), (0, WITHOUT)):
        with peer.start(bench.cores.server, GATEWAY_MARK_INTERVAL=str(interval), **_QUIET) as server:
            with (
                contextlib.closing(bench.receivers.make(held)) as receiver,
                Fleet(server.port, receiver) as fleet,
            ):
                fleet.connect(held, lambda n: peer.dialogue(server, (f"circle:{n % 1000}",), n))
                receiver.drain(ALL, min(20.0, seconds))
                receiver.reset(0)
                with Meter(server) as meter:
                    receiver.drain(ALL, seconds)
                assert receiver.closed == 0, f"{receiver.closed} idle connections were closed"
                shares.append(meter.server / meter.wall * 100)
                rate = max(rate, receiver.total / meter.wall)
                yield Figure(case, "core_share", shares[-1])
                yield Figure(case, "marks", receiver.total / meter.wall)
    alone = shares[0] - shares[1]
    yield Figure(ALONE, "core_share", alone * 20_000 / held)
    yield Figure(ALONE, "microseconds", alone / 100 / rate * 1e6)


WORKLOAD: Final = Workload(
    name="marks",
    title="Marks: what idle connections cost",
    method=__doc__,
    run=run,
    columns=(
        Column("core_share", "% of a core", "{:.2f}"),
        Column("marks", "marks/s", "{:,.0f}"),
        Column("microseconds", "µs of CPU each", "{:.2f}"),
    ),
    suits=lambda peer: peer.name == "gateway-http",
    max_rounds=2,
)
