"""Stuck readers: 200 of 1,000 clients in one room never read, 500 events/s of 213 bytes for 60 s.

The events come 10 at a time, 50 times a second. Growth is the greatest value of the server's memory, read every second,
above that before the first event.
"""

import time
from collections.abc import Iterator
from typing import Final

from benchmarks.measure import ALL, Bench, Figure, session
from benchmarks.peers import Peer
from benchmarks.report import Column, Workload

CLIENTS: Final = 1_000
STUCK: Final = 200
RATE: Final = 50
BURST: Final = 10
SIZE: Final = 213
SECONDS: Final = 60.0
_ROOM: Final = ("circle:7",)
_CASE: Final = "200 of 1,000 never read"


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    clients, stuck = bench.count(CLIENTS), bench.count(STUCK)
    with session(bench, peer, clients, lambda number: _ROOM, slow=stuck) as s:
        pad = s.calibrate(SIZE, _ROOM, clients)
        for index in range(clients - stuck, clients):
            s.receiver.watch(index, False)
        before = s.server.settled_memory()
        peak, looked = before, time.monotonic()

        def look() -> None:
            nonlocal peak, looked
            if time.monotonic() - looked >= 1.0:
                peak, looked = max(peak, s.server.memory()), time.monotonic()

        orders = s.steady(bench.seconds(SECONDS), RATE, pad, [_ROOM], BURST, look)
        s.receiver.drain(ALL, 1.0)
        yield Figure(_CASE, "growth", (peak - before) / 2**20)
        yield Figure(_CASE, "share", s.receiver.total / (orders * BURST * (clients - stuck)))


WORKLOAD: Final = Workload(
    name="stuck",
    title="Stuck readers: what they do to memory",
    method=__doc__,
    run=run,
    columns=(
        Column("growth", "memory growth, MiB", "{:.1f}"),
        Column("share", "others got", "{:.1%}"),
    ),
    suits=lambda peer: peer.name in ("gateway", "ws", "nats", "uws"),
    max_rounds=2,
)
