"""Marks: what 18,000 idle connections of one tenant cost in `stream.mark` frames, each in one room of 1,000.

Once they are connected nothing is published for a minute: the server's CPU is that of its marks and of what it does
when it is idle. The same with `GATEWAY_MARK_INTERVAL=0` shows the latter. WebSocket pings are off in both.
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
_QUIET: Final = {"GATEWAY_PING_INTERVAL": "86400"}


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    """Both cases, each with a server of its own."""
    assert isinstance(peer, GatewayOverHttp)
    held, seconds = bench.count(HELD), bench.seconds(SECONDS)
    for interval in (15, 0):
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
                case = f"one mark in {interval} s at least" if interval else "no marks"
                yield Figure(case, "core_share", meter.server / meter.wall * 100)
                yield Figure(case, "marks", receiver.total / meter.wall)
                if receiver.total:
                    yield Figure(case, "microseconds", meter.server / receiver.total * 1e6)


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
    most_rounds=2,
)
