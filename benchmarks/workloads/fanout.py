"""Fan-out: one room, 500 subscribers, events of 213 and of 2,000 bytes of payload (frames of 217 and 2,004).

*Paced*: an event is published when every subscriber has got the one before. *Saturated*: events come faster than turns
of the server's loop, 16 (or 64) of them to a turn where they are published from inside the server's process, and in one
write or request to Nchan, to nats-server and to the gateway over HTTP (`POST /events/batch`). A server may join what
waits for a client: uWebSockets joins the events of a turn, nats-server and the gateway those of several too. The
client waits only so that no more than a number of events are under way. Servers differ in the number that suits them,
so each is tried with several, and its best is what counts.

Measured is the server's CPU time for each delivery, from the order or request that publishes to the socket. The last
columns show that no client was in the way: while saturated the server's core is not idle and the load's is not full.
"""

import time
from collections.abc import Iterator
from typing import Final

from benchmarks.measure import Bench, Figure, Meter, Session, session
from benchmarks.peers import Peer
from benchmarks.report import Column, Workload

SUBSCRIBERS: Final = 500
SECONDS: Final = 2.0
_ROOM: Final = ("circle:7",)

SATURATED: Final = {
    "200 bytes, saturated, 16 a turn": (213, 16, (32, 64, 288)),
    "200 bytes, saturated, 64 a turn": (213, 64, (128, 256)),
    "2 kB, saturated, 16 a turn": (2_000, 16, (32, 64)),
}
"""The cases: payload, events of one order, and the numbers of concurrent events to try."""


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    """All cases with one server, each after a warm-up."""
    with session(bench, peer, SUBSCRIBERS, lambda number: _ROOM) as s:
        for label, size in (("200 bytes", 213), ("2 kB", 2_000)):
            pad = s.calibrate(size, _ROOM, SUBSCRIBERS)
            s.paced(bench.seconds(0.5), pad, _ROOM, SUBSCRIBERS)
            with Meter(s.server) as meter:
                count = s.paced(bench.seconds(SECONDS), pad, _ROOM, SUBSCRIBERS)
            yield from meter.figures(f"{label}, paced", count)
        for case, (size, chunk, windows) in SATURATED.items():
            pad = s.calibrate(size, _ROOM, SUBSCRIBERS)
            tried: list[list[Figure]] = []
            for window in windows:
                start = time.monotonic()
                tried.append(_saturated(s, bench, case, pad, chunk, window))
                if time.monotonic() - start > 2 * bench.seconds(SECONDS):
                    break  # so slow that it has not half of them under way at a time
            yield from max(tried, key=lambda figures: figures[0].value)
            s.expect_exactly(s.receiver.total)


def _saturated(s: Session, bench: Bench, case: str, pad: int, chunk: int, window: int) -> list[Figure]:
    s.saturated(bench.seconds(0.3), pad, [_ROOM], SUBSCRIBERS, chunk, window)
    with Meter(s.server) as meter:
        count = s.saturated(bench.seconds(SECONDS / 2), pad, [_ROOM], SUBSCRIBERS, chunk, window)
    return [*meter.figures(case, count), Figure(case, "window", window)]


WORKLOAD: Final = Workload(
    name="fanout",
    title="Fan-out: 1 room, 500 subscribers",
    method=__doc__,
    run=run,
    columns=(
        Column("deliveries", "deliveries per CPU-second", "{:,.0f}", compared=True),
        Column("window", "events under way", "{:.0f}"),
        Column("server_share", "server on its core", "{:.0%}"),
        Column("server_idle", "that core idle", "{:.0%}"),
        Column("load_share", "load on its core", "{:.0%}"),
        Column("throughput", "deliveries/s by the clock", "{:,.0f}"),
    ),
)
