"""Event streams beside WebSockets: the same events to 500 subscribers of one room, over the one or the other.

*Paced*: an event is published when every subscriber has got the one before. Both kinds take turns, three each with a
server of its own, and the cheapest turn counts. *Holding*: the growth of the server's proportional set size for idle
connections, divided by their number; each kind has a server of its own.
"""

import time
from collections.abc import Iterator
from typing import Final

from benchmarks.frames import upgrade
from benchmarks.load.listeners import Listeners
from benchmarks.load.publisher import Order, Publisher
from benchmarks.measure import PATIENCE, Bench, Figure, Meter, Stalled
from benchmarks.peers import Peer
from benchmarks.peers.gateway import token
from benchmarks.process import Server
from benchmarks.report import Column, Workload

SUBSCRIBERS: Final = 500
HELD: Final = 3_000
WARM_UP: Final = 500
SECONDS: Final = 2.0
KINDS: Final = ("WebSocket", "event stream")
_ROOM: Final = ("circle:7",)
_PAD: Final = 20
_TURNS: Final = 3


def request(server: Server, kind: str, number: int) -> bytes:
    """The request of client `number`, with a token of its own."""
    bearer, rooms = token(f"user-{number}", ["subscribe"]), ",".join(_ROOM)
    if kind == "WebSocket":
        return upgrade(f"/ws/dashboard?token={bearer}&rooms={rooms}", server.port)
    lines = [f"GET /events/stream?rooms={rooms} HTTP/1.1", f"Host: 127.0.0.1:{server.port}"]
    return "\r\n".join([*lines, f"Authorization: Bearer {bearer}", "", ""]).encode()


def connect(server: Server, kind: str, listeners: Listeners, first: int, count: int) -> None:
    for number in range(first, first + count):
        listeners.connect(request(server, kind, number))


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    """The deliveries of both kinds, then what each takes to hold."""
    best: dict[str, list[Figure]] = {}
    for _ in range(_TURNS):
        for kind in KINDS:
            with peer.start(bench.cores.server) as server, Listeners(server.port) as listeners:
                publisher = peer.publisher(server)
                connect(server, kind, listeners, 0, SUBSCRIBERS)
                size = _size(listeners, publisher)
                _paced(bench.seconds(0.5), size, listeners, publisher)
                with Meter(server) as meter:
                    deliveries = _paced(bench.seconds(SECONDS), size, listeners, publisher)
                figures = meter.figures(f"{kind}, paced", deliveries)
                best[kind] = max(best.get(kind, figures), figures, key=lambda each: each[0].value)
                publisher.close()
    for kind in KINDS:
        yield from best[kind]
    for kind in KINDS:
        with peer.start(bench.cores.server) as server, Listeners(server.port) as listeners:
            connect(server, kind, listeners, 0, WARM_UP)
            before, held = server.settled_memory(), bench.count(HELD)
            connect(server, kind, listeners, WARM_UP, held)
            yield Figure(f"{kind}, held", "bytes", (server.settled_memory() - before) / held)


def _size(listeners: Listeners, publisher: Publisher) -> int:
    """The bytes of one event to all."""
    before = listeners.receive(1 << 62, 0.5)
    publisher.publish(Order.now(1, _PAD, _ROOM))
    return listeners.receive(1 << 62, 0.5) - before


def _paced(seconds: float, size: int, listeners: Listeners, publisher: Publisher) -> int:
    count, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        target = listeners.received + size
        publisher.publish(Order.now(1, _PAD, _ROOM))
        if listeners.receive(target, PATIENCE) != target:
            raise Stalled(f"{listeners.received} bytes arrived of {target}")
        count += SUBSCRIBERS
    return count


WORKLOAD: Final = Workload(
    name="streams",
    title="Event streams beside WebSockets: 500 subscribers of 1 room",
    method=__doc__,
    run=run,
    columns=(
        Column("deliveries", "deliveries per CPU-second", "{:,.0f}"),
        Column("microseconds", "µs of CPU each", "{:.2f}"),
        Column("bytes", "bytes a connection", "{:,.0f}"),
        Column("server_idle", "that core idle", "{:.0%}"),
    ),
    suits=lambda peer: peer.name == "gateway",
    max_rounds=2,
)
