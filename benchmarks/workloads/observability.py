"""Observability: what metrics, traces and the canary add to a delivery of the fan-out, to 500 subscribers of one room.

One server, published to from inside its process, has each of them switched on and off in turns of a second, forwards
and then backwards: nothing; nothing once more, which shows what the method can tell apart; one scrape of `/metrics`, in
OpenMetrics as Prometheus asks for it; traces with OpenTelemetry's SDK that sample 1 %, in a batch processor whose
exporter drops them; and the isolation canary with a check in each second, five times as many as it makes.

*Paced*, an event is published when every subscriber has got the one before. *Saturated*, 16 or 64 are in one turn of
the loop, whose frames leave together, and the next when every subscriber has got them: the writes are as many in each
turn, and with 64 what an event costs weighs most.

Measured is the CPU time of the server's whole process for each delivery. A ratio is the median over the turns of what
was measured, divided by that with nothing in the same turn.
"""

import contextlib
from collections.abc import Iterator
from statistics import median
from typing import Final

from benchmarks.load.publisher import Order, SocketPublisher
from benchmarks.measure import Bench, Figure, Meter, Session, session
from benchmarks.peers import Peer
from benchmarks.peers.gateway import REFUSAL, GatewayObserved
from benchmarks.report import Column, Workload

SUBSCRIBERS: Final = 500
TURNS: Final = 5
SECONDS: Final = 1.0
_ROOM: Final = ("circle:7",)
_SCRAPE: Final = (
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n\r\n"
)

NOTHING: Final = "nothing"
AGAIN: Final = "again"
OBSERVERS: Final = {
    "metrics": "metrics scraped each second",
    "traces": "traces, 1 % sampled",
    "canary": "the canary, a check a second",
}
"""The observers, each by its name in an order with its title."""

CASES: Final = {
    "200 bytes, paced": 1,
    "200 bytes, saturated, 16 a turn": 16,
    "200 bytes, saturated, 64 a turn": 64,
}
"""The events of one turn."""


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    modes = (NOTHING, AGAIN, *OBSERVERS)
    with session(bench, GatewayObserved(), SUBSCRIBERS, lambda number: _ROOM) as s:
        pad = s.calibrate(213, _ROOM, SUBSCRIBERS)
        with contextlib.closing(SocketPublisher(s.server.port, lambda order: b"", REFUSAL)) as scraper:
            for case, chunk in CASES.items():
                turns: list[dict[str, float]] = []
                for turn in range(1 + bench.count(TURNS)):
                    order = modes if turn % 2 else modes[::-1]
                    turns.append({mode: _cost(bench, s, chunk, pad, mode, scraper) for mode in order})
                del turns[0]  # the first one warms up
                yield Figure(case, "microseconds", median(costs[NOTHING] for costs in turns) * 1e6)
                for mode in modes[1:]:
                    yield Figure(case, mode, median(costs[mode] / costs[NOTHING] for costs in turns))


def _cost(bench: Bench, s: Session, chunk: int, pad: int, mode: str, scraper: SocketPublisher) -> float:
    """Seconds of CPU time for each delivery, with what `mode` names switched on."""

    def publish(seconds: float) -> int:
        return s.saturated(bench.seconds(seconds), pad, [_ROOM], SUBSCRIBERS, chunk, window=chunk)

    s.publisher.publish(Order(0, 0, (mode,), 0))
    publish(SECONDS / 20)
    with Meter(s.server) as meter:
        if mode == "metrics":
            scraper.send(_SCRAPE)
        count = publish(SECONDS)
        if mode == "metrics":
            scraper.wait()
    scraper.poll()
    return meter.server / count


WORKLOAD: Final = Workload(
    name="observability",
    title="Observability: metrics, traces and the canary beside the fan-out",
    method=__doc__,
    run=run,
    columns=(
        Column("microseconds", "µs of CPU a delivery", "{:.3f}"),
        Column(AGAIN, "the same again, times that", "{:.3f}"),
        *(Column(metric, f"with {title}", "{:.3f}") for metric, title in OBSERVERS.items()),
    ),
    suits=lambda peer: peer.name == "gateway",
)
