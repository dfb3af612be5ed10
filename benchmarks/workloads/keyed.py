"""Keyed events: what they cost to publish and spare at catch-up, in one process, without sockets.

Published are 20,000 events in turn, plain ones, ones that set 100 items, and ones that append to them, through
`Gateway.publish`. Then 1,000 clients catch up that are behind by 10,000 events of 100 items, and 100 clients that are
behind by the same events without keys; their transports count bytes. At last one client asks for the state of 10,000
items. Measured is the CPU time of the process.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final

from auth.grants import Grants
from auth.identity import Identity
from auth.keys import KeyRing, hmac_key
from auth.tokens import TokenVerifier, TrustedIssuer
from benchmarks.measure import Bench, Figure
from benchmarks.peers import Peer
from benchmarks.report import Column, Workload
from gateway.core.catch_up import Progress, send_next_batch, start_replay
from gateway.core.connection import Connection
from gateway.core.frame import Batch, DeliveryCount
from gateway.core.window import Bounds, Window
from gateway.engine.gateway import Gateway
from gateway.logs.memory import MemoryLog
from schemas.events import Op

EVENTS: Final = 10_000
ITEMS: Final = 100
PUBLISH: Final = "publishing"
CATCH_UP: Final = f"catch-up of 1,000 clients, {EVENTS:,} events of {ITEMS} items behind"
STATE: Final = "state of 10,000 items to one client"
_KEY: Final = b"a key of benchmarks, 0123456789abcdef"


class _Counter:
    """A transport that is never full and counts bytes."""

    fd = None
    pings = True
    unacknowledged = 0
    kind: Final = "websocket"

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, batch: Batch) -> bool:
        self.bytes += len(batch.wire)
        return True

    def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None: ...


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    yield from asyncio.run(_figures(bench))


async def _figures(bench: Bench) -> list[Figure]:
    count = bench.count(2 * EVENTS)
    await _publish(count)
    plain = await _publish(count)
    figures = [Figure(PUBLISH, "microseconds", plain / count * 1e6)]
    changes: tuple[Op, ...] = ("set", "append")
    figures += [Figure(PUBLISH, f"{op}_ratio", await _publish(count, op) / plain) for op in changes]
    clients = bench.count(1_000)
    cpu, size = _catch_up(await _window(EVENTS, ITEMS), clients)
    more = max(1, clients // 10)
    plain_cpu, plain_size = _catch_up(await _window(EVENTS, 0), more)
    figures.append(Figure(CATCH_UP, "cpu_ratio", plain_cpu / more / (cpu / clients)))
    figures.append(Figure(CATCH_UP, "bytes_ratio", plain_size / more / (size / clients)))
    whole, step = _state(await _window(EVENTS, EVENTS))
    return [*figures, Figure(STATE, "milliseconds", whole * 1e3), Figure(STATE, "step", step * 1e3)]


async def _publish(count: int, op: Op | None = None) -> float:
    keyring = KeyRing([hmac_key(_KEY)])
    gateway = Gateway(MemoryLog((_KEY,)), TokenVerifier([TrustedIssuer("benchmarks", keyring)], "benchmarks", 60, 60))
    await gateway.start()
    try:
        begun = time.process_time()
        for n in range(count):
            key = None if op is None else f"gauge:{n % ITEMS}"
            data = {"n": n, "text": "some text"}
            await gateway.publish("acme", "run.progress", data, circle_id=n % ITEMS, item_key=key, op=op)
        return time.process_time() - begun
    finally:
        await gateway.stop()


async def _window(events: int, items: int) -> Window:
    keyring = KeyRing([hmac_key(_KEY)])
    log = MemoryLog((_KEY,), Bounds(max_events=events))
    gateway = Gateway(log, TokenVerifier([TrustedIssuer("benchmarks", keyring)], "benchmarks", 60, 60))
    await gateway.start()
    for n in range(events):
        key = f"gauge:{n % items}" if items else None
        await gateway.publish("acme", "run.progress", {"n": n, "text": "x" * 60}, circle_id=1, item_key=key)
    await gateway.stop()
    return log.window("acme")


def _connection(transport: _Counter) -> Connection:
    identity = Identity("ada", "acme", Grants.parse(["circle:1"]), frozenset({"subscribe"}), "jti", 0, 1 << 40)
    return Connection("con_1", identity, transport, 0.0, "10.0.0.1")


def _catch_up(window: Window, clients: int) -> tuple[float, int]:
    """The CPU time of all, and the bytes."""
    transports = [_Counter() for _ in range(clients)]
    connections = [_connection(transport) for transport in transports]
    begun = time.process_time()
    for connection in connections:
        connection.rooms["circle:1"] = 0
        connection.fall_behind(0)
        while send_next_batch(connection, window, 0.0, DeliveryCount()) is not Progress.LIVE:
            pass
    return time.process_time() - begun, sum(transport.bytes for transport in transports)


def _state(window: Window) -> tuple[float, float]:
    """The time until all of it is written, and that of the longest step."""
    connection = _connection(_Counter())
    steps = [_timed(lambda: start_replay(connection, window, ["circle:1"], window.head, state=True))]
    while connection.offset is not None:
        steps.append(_timed(lambda: send_next_batch(connection, window, 0.0, DeliveryCount())))
    return sum(steps), max(steps)


def _timed(step: Callable[[], object]) -> float:
    begun = time.process_time()
    step()
    return time.process_time() - begun


WORKLOAD: Final = Workload(
    name="keyed",
    title="Keyed events: publishing, catch-up and state",
    method=__doc__,
    run=run,
    columns=(
        Column("microseconds", "µs of CPU, plain", "{:.1f}"),
        Column("set_ratio", "`set`, times that", "{:.2f}"),
        Column("append_ratio", "`append`, times that", "{:.2f}"),
        Column("cpu_ratio", "times less CPU than without keys", "{:.0f}"),
        Column("bytes_ratio", "times less bytes", "{:.0f}"),
        Column("milliseconds", "ms of CPU", "{:.1f}"),
        Column("step", "ms, longest step", "{:.2f}"),
    ),
    suits=lambda peer: peer.name == "gateway",
)
