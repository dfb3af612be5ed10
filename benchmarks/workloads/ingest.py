"""Ingest: events accepted into the log without connected clients, events of 250 bytes in 500 rooms.

In process, 200,000 events are ordered in one go and published one after the other in turns of 100, through
`Gateway.publish` or through the EventBus and its bridge. Over HTTP one kept connection carries requests of 1, 16, 100
and 1,000 events, 4 requests under way. Measured is the server's CPU time for each event: events per CPU-second
are what one core can take.
"""

import time
from collections.abc import Iterator
from typing import Final

from benchmarks.load.publisher import Order, SocketPublisher, compact, post
from benchmarks.measure import Bench, Figure, Meter
from benchmarks.peers import Peer
from benchmarks.peers.gateway import GatewayOverHttp, batch_headers
from benchmarks.process import Server
from benchmarks.report import Column, Workload

EVENTS: Final = 200_000
TURN: Final = 100
ROOMS: Final = 500
PAD: Final = 80
BATCHES: Final = (1, 16, 100, 1_000)
UNDER_WAY: Final = 4
SECONDS: Final = 1.5


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    with peer.start(bench.cores.server) as server:
        if isinstance(peer, GatewayOverHttp):
            for size in BATCHES:
                over_http(server, size, bench.seconds(0.3))
                with Meter(server) as meter:
                    count = over_http(server, size, bench.seconds(SECONDS))
                yield from meter.figures(f"`POST /events/batch` of {size:,}", count)
        else:
            _in_process(server, peer, EVENTS // 20)
            with Meter(server) as meter:
                count = _in_process(server, peer, bench.count(EVENTS))
            yield from meter.figures("in process", count)


def _in_process(server: Server, peer: Peer, count: int) -> int:
    publisher = peer.publisher(server)
    for i in range(count // TURN):
        publisher.publish(Order.now(TURN, PAD, [f"circle:{100 + i % ROOMS}"]))
    server.settle(60.0)
    return count // TURN * TURN


def over_http(server: Server, size: int, seconds: float) -> int:
    """Post batches of `size` events; returns the events that were accepted."""
    pipe = SocketPublisher(server.port, lambda order: b"", refusal=b'"code":')
    # Made beforehand: the client's core must not be what limits.
    at = time.monotonic_ns()
    bodies = [
        compact(
            {"events": [Order(1, PAD, [f"circle:{100 + (i * size + j) % ROOMS}"], at).event() for j in range(size)]}
        )
        for i in range(ROOMS // size or 1)
    ]
    requests = [post("/events/batch", body, batch_headers()) for body in bodies]
    deadline = time.monotonic() + seconds
    sent = 0
    try:
        while time.monotonic() < deadline or pipe.answers < sent:
            while sent - pipe.answers < UNDER_WAY and time.monotonic() < deadline:
                pipe.send(requests[sent % len(requests)])
                sent += 1
            if pipe.answers < sent:
                pipe.wait()
                pipe.poll()
    finally:
        pipe.close()
    return sent * size


def suits(peer: Peer) -> bool:
    """Not for peers: they keep no log without listeners; the cost of the one on Redis is measured by `nodes`."""
    return peer.name.startswith("gateway") and peer.name != "gateway-redis"


WORKLOAD: Final = Workload(
    name="ingest",
    title="Ingest: no subscribers",
    method=__doc__,
    run=run,
    columns=(
        Column("deliveries", "events per CPU-second", "{:,.0f}"),
        Column("microseconds", "µs of CPU an event", "{:.1f}"),
        Column("load_share", "load on its core", "{:.0%}"),
    ),
    suits=suits,
)
