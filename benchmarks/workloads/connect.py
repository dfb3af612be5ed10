"""Connecting and holding: CPU for each connection made, and memory for each that is held and idle.

Clients connect 64 at a time, each subscribing to one room of 1,000 as it comes. For the gateway each has a token of its
own, which is verified; the peers verify none. CPU is that of 2,000 after 1,000 that warm the server up. Memory
is the growth of the server's proportional set size from there to 9,000 connections, once it is idle, divided by their
number; socket buffers are the kernel's and in no figure.
"""

import contextlib
from collections.abc import Iterator
from typing import Final

from benchmarks.load.fleet import Fleet
from benchmarks.measure import ALL, Bench, Figure, Meter
from benchmarks.peers import Peer
from benchmarks.report import Column, Workload, general

WARM_UP: Final = 1_000
MEASURED: Final = 2_000
HELD: Final = 9_000
_CPU: Final = "making a connection"
_MEMORY: Final = "holding a connection"


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    """Both cases with one server."""
    measured, held = bench.count(MEASURED), bench.count(HELD)
    with peer.start(bench.cores.server) as server:
        with (
            contextlib.closing(bench.receivers.make(WARM_UP + held)) as receiver,
            Fleet(server.port, receiver) as fleet,
        ):

            def connect(count: int) -> float:
                return fleet.connect(count, lambda n: peer.dialogue(server, (f"circle:{n % 1000}",), n))

            connect(WARM_UP)
            before = server.settled_memory()
            with Meter(server) as meter:
                seconds = connect(measured)
                server.settle(2.0)
            yield Figure(_CPU, "microseconds", meter.server / measured * 1e6)
            yield Figure(_CPU, "throughput", measured / seconds)
            connect(held - measured)
            receiver.drain(ALL, 0.5)
            yield Figure(_MEMORY, "bytes", (server.settled_memory() - before) / held)
            assert receiver.closed == 0, f"{receiver.closed} idle connections were closed"


WORKLOAD: Final = Workload(
    name="connect",
    title="Connecting and holding",
    method=__doc__,
    run=run,
    columns=(
        Column("microseconds", "µs of CPU", "{:,.0f}", compared=True),
        Column("bytes", "bytes", "{:,.0f}", compared=True),
        Column("throughput", "connects/s by the clock", "{:,.0f}"),
    ),
    suits=lambda peer: general(peer) and peer.name != "gateway-http",  # the same server
)
