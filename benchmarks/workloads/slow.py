"""Slow readers: 100 connections in one room, 200 events/s of 2,000 bytes, first all of them reading, then 10 slowly.

A slow client has a receive buffer of 4 KiB and takes 20 kB/s of the 400 kB/s that come for it. The kernel's buffer on
the server's side, of some 3 MB, is filled before the measurement. Latency is that of the 90 others, from the moment at
which an event fell due to its receipt; one that has not come half a second after the last one counts as late as can be.
Growth is that of the server's memory from before the filling to its greatest value while the slow ones are slow.
"""

import contextlib
from collections.abc import Iterator
from typing import Final

from benchmarks.load.publisher import Order
from benchmarks.measure import ALL, Bench, Figure, Session, Stalled, session
from benchmarks.peers import Peer
from benchmarks.report import Column, Workload
from benchmarks.stats import percentile

CLIENTS: Final = 100
SLOW: Final = 10
RATE: Final = 200
SIZE: Final = 2_000
SIP: Final = 1_024
FILL: Final = 4_000_000
SECONDS: Final = 8.0
_ROOM: Final = ("circle:7",)
_CASE: Final = "10 of 100 read slowly"


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    seconds = bench.seconds(SECONDS)
    with session(bench, peer, CLIENTS, lambda number: _ROOM, sampled=True, slow=SLOW) as s:
        pad = s.calibrate(SIZE, _ROOM, CLIENTS)
        s.steady(bench.seconds(2.0), RATE, pad, [_ROOM])
        s.receiver.drain(ALL, 0.2)
        before, _ = _p99(s, seconds, pad, None)
        memory = s.server.memory()
        for index in range(CLIENTS - SLOW, CLIENTS):
            s.receiver.watch(index, False)
        _fill(s, pad)
        sipping = Sipping(s)
        after, share = _p99(s, seconds, pad, sipping)
    yield Figure(_CASE, "p99_none", before * 1e3)
    yield Figure(_CASE, "p99_slow", after * 1e3)
    yield Figure(_CASE, "p99_ratio", after / before)
    yield Figure(_CASE, "share", share)
    yield Figure(_CASE, "growth", (sipping.peak - memory) / 2**20)


def _fill(s: Session, pad: int) -> None:
    base = s.receiver.total
    with contextlib.suppress(Stalled):  # a server that waits for its slowest client is at its end already
        for events in range(FILL // SIZE):
            s.publisher.publish(Order.now(1, pad, _ROOM))
            s.await_count(base + (events + 1) * (CLIENTS - SLOW), patience=2.0)


class Sipping:
    """The slow clients' reading: at each order one of them takes 1,024 bytes, so that each gets 20 kB/s."""

    def __init__(self, s: Session) -> None:
        self._server = s.server
        self._sockets = s.fleet.sockets[-SLOW:]
        self._calls = 0
        self.peak = 0

    def __call__(self) -> None:
        self._calls += 1
        with contextlib.suppress(OSError):  # nothing there, or the server has closed it
            self._sockets[self._calls % SLOW].recv(SIP)
        if self._calls % (RATE // 2) == 0:
            self.peak = max(self.peak, self._server.memory())


def _p99(s: Session, seconds: float, pad: int, sipping: Sipping | None) -> tuple[float, float]:
    """The others' 99th percentile in seconds, and which share of their events reached them."""
    s.receiver.reset(s.unit(SIZE))
    orders = s.steady(seconds, RATE, pad, [_ROOM], each=sipping)
    s.receiver.drain(ALL, 0.5)
    latencies = s.receiver.latencies()
    expected = orders * (CLIENTS - SLOW)
    # What has not come is as late as can be.
    missing = [float("inf")] * (expected - len(latencies))
    worst = seconds if missing else 0.0
    p99 = percentile(latencies + missing, 0.99)
    return min(p99, max(worst, latencies[-1] if latencies else seconds)), len(latencies) / expected


WORKLOAD: Final = Workload(
    name="slow",
    title="Slow readers: what they do to the others",
    method=__doc__,
    run=run,
    columns=(
        Column("p99_none", "p99 with none slow, ms", "{:.2f}"),
        Column("p99_slow", "others' p99, ms", "{:.2f}"),
        Column("p99_ratio", "times as long", "{:.2f}"),
        Column("share", "others got in time", "{:.1%}"),
        Column("growth", "memory growth, MiB", "{:.1f}"),
    ),
    suits=lambda peer: peer.name in ("gateway", "gather", "ws", "socketio", "uws", "nats"),
)
