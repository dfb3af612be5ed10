"""Fair shares: a quiet tenant beside tenants that flood. It posts 200 events/s to one client, and connects others.

*Isolation*: the quiet tenant's p99 beside a flood, divided by what it may be: twice its p99 without one plus 5 ms. Of
an event from the moment at which it fell due to its receipt; of a connection until it has subscribed. The floods, each
from a client of lower priority: batches of 1,000 events on 16 connections; batches of 16 MiB on 4; 1,000 clients that
resume at once with 10,000 events owed to each, again and again; 1,000 that connect at once, likewise; batches of 16
events to a room of 5,000. Two things are no turns of a tenant: the event loop itself takes the ends of all connections
that were aborted meanwhile in one iteration, and new ones are accepted in the order of the kernel's queue.
*Admission*: the quiet tenant's events that came and connections that were admitted, of all.

*Share*: four tenants post batches of 100 events without a pause, on 4, 8, 16 and 32 connections: the least share of one
in any second, beside an equal one; and Jain's index of fairness. *Conservation*: one tenant's work per CPU-second, the
fan-out of batches of 16 to 500 clients and the ingest of batches of 100, beside that of the same server without fair
shares.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Final

from benchmarks.frames import upgrade
from benchmarks.load.fleet import ConnectFailed, Dialogue, Fleet
from benchmarks.load.flood import BATCH, Batches, Connects, Flood, Room, flooding, oldest_cursor
from benchmarks.load.publisher import Order, SocketPublisher, Spread, batch, compact, post
from benchmarks.load.receiver import Receiver
from benchmarks.measure import ALL, PATIENCE, Bench, Figure, Meter, session
from benchmarks.peers import Peer
from benchmarks.peers.gateway import REFUSAL, GatewayOverHttp, GatewayUnshared, batch_headers, token
from benchmarks.process import Server
from benchmarks.report import Column, Workload
from benchmarks.stats import percentile
from benchmarks.workloads.ingest import over_http

QUIET: Final = "quiet"
FLOOD: Final = "flood"
RATE: Final = 200
SECONDS: Final = 4.0
PIPES: Final = 8
CONNECTS: Final = 60
LARGE: Final = 16 * 1024 * 1024
KEPT: Final = 10_000
SUBSCRIBERS: Final = 500
TURNS: Final = 7
SHARE: Final = "4 tenants that flood"
ALONE: Final = "one tenant alone"
_ROOM: Final = ("circle:7",)
_NEVER: Final = b"\0"


class Quiet:
    """The quiet tenant's clients: latencies of its events and of its connections, and what of both was refused."""

    def __init__(self, bench: Bench, server: Server, receiver: Receiver) -> None:
        self._bench = bench
        self._server = server
        self._receiver = receiver
        self._headers = batch_headers(tenant=QUIET)
        # Kept connections: a publisher is there before the flood.
        self.publisher = Spread([SocketPublisher(server.port, self._encode, refusal=_NEVER) for _ in range(PIPES)])

    def events(self) -> tuple[float, float]:
        """The p99 in seconds, and the share of the events that came."""
        self._receiver.reset(0)
        orders = int(self._bench.seconds(SECONDS) * RATE)
        start = time.monotonic_ns()
        for i in range(orders):
            due = start + int(i * 1e9 / RATE)
            while (left := due - time.monotonic_ns()) > 0:
                self._receiver.drain(ALL, left / 1e9)
            self.publisher.publish(Order(1, 80, _ROOM, due))
            self.publisher.poll()
        self._receiver.drain(orders, PATIENCE)
        latencies = self._receiver.latencies()
        missing = [float(self._bench.seconds(SECONDS))] * (orders - len(latencies))
        return percentile(latencies + missing, 0.99), len(latencies) / orders

    def connects(self) -> tuple[float, float]:
        """The p99 in seconds, and the share of the connections that were admitted."""
        seconds: list[float] = []
        count = self._bench.count(CONNECTS)
        for number in range(count):
            with contextlib.closing(self._bench.receivers.make(1)) as receiver:
                with Fleet(self._server.port, receiver) as fleet, contextlib.suppress(ConnectFailed):
                    seconds.append(fleet.connect(1, partial(dialogue, self._server.port, f"new-{number}", QUIET)))
            time.sleep(0.05)
        return percentile(sorted(seconds), 0.99), len(seconds) / count

    def _encode(self, order: Order) -> bytes:
        return post("/events", compact(order.event()), self._headers)


def dialogue(port: int, user: str, tenant: str, number: int, since: str = "") -> Dialogue:
    """The dialogue in which a client of a tenant subscribes, and resumes from a cursor."""
    bearer = token(f"{user}-{number}", ["subscribe"], tenant)
    path = f"/ws/dashboard?token={bearer}&rooms={_ROOM[0]}" + (f"&since={since}" if since else "")
    return Dialogue(upgrade(path, port), ready=b'"type":"subscribed"')


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    for title in FLOODS:
        yield from beside_flood(bench, peer, title)
    yield from among_equals(bench, peer)
    yield from alone(bench)


def beside_flood(bench: Bench, peer: Peer, title: str) -> Iterator[Figure]:
    """The quiet tenant without and beside one of `FLOODS`."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(peer.start(bench.cores.server))
        receiver = stack.enter_context(contextlib.closing(bench.receivers.make(1)))
        fleet = stack.enter_context(Fleet(server.port, receiver))
        fleet.connect(1, partial(dialogue, server.port, "ada", QUIET), sampled=True)
        quiet = Quiet(bench, server, receiver)
        stack.enter_context(contextlib.closing(quiet.publisher))
        flood = FLOODS[title](server)
        server.settle(2.0)
        quiet.events()
        (event, _), (connect, _) = quiet.events(), quiet.connects()
        with flooding(bench.cores.load, flood, server.port, bench.receivers):
            (event_flood, came), (connect_flood, admitted) = quiet.events(), quiet.connects()
    case = f"flood: {title}"
    yield Figure(case, "event_quiet", event * 1e3)
    yield Figure(case, "event_flood", event_flood * 1e3)
    yield Figure(case, "isolation", isolation(event, event_flood))
    yield Figure(case, "connect_quiet", connect * 1e3)
    yield Figure(case, "connect_flood", connect_flood * 1e3)
    yield Figure(case, "connect_isolation", isolation(connect, connect_flood))
    yield Figure(case, "admission", min(came, admitted))


def isolation(quiet: float, flood: float) -> float:
    """A p99 beside a flood, divided by what it may be."""
    return flood / (2 * quiet + 0.005)


def _batches(server: Server) -> Flood:
    request = batch(Order.now(BATCH, 80, _ROOM), batch_headers(tenant=FLOOD))
    return Batches({FLOOD: (16, request, BATCH)})


def _large(server: Server) -> Flood:
    pad = LARGE // BATCH - 200
    return Batches({FLOOD: (4, batch(Order.now(BATCH, pad, _ROOM), batch_headers(tenant=FLOOD)), BATCH)})


def _resumes(server: Server) -> Flood:
    headers = batch_headers(tenant=FLOOD)
    pipe = SocketPublisher(server.port, lambda order: batch(order, headers), refusal=REFUSAL)
    with contextlib.closing(pipe):
        for answers in range(KEPT // BATCH):
            pipe.publish(Order.now(BATCH, 80, _ROOM))
            while pipe.answers <= answers:
                pipe.wait()
                pipe.poll()
    since = oldest_cursor(server.port, _ROOM[0], token("reader", ["subscribe"], FLOOD))
    return Connects(lambda port, number: dialogue(port, "eve", FLOOD, number, since), 2.0)


def _connects(server: Server) -> Flood:
    return Connects(lambda port, number: dialogue(port, "eve", FLOOD, number), 0.0)


def _room(server: Server) -> Flood:
    return Room(lambda port, number: dialogue(port, "eve", FLOOD, number), batch_headers(tenant=FLOOD), _ROOM)


FLOODS: Final[dict[str, Callable[[Server], Flood]]] = {
    "batches of 1,000": _batches,
    "batches of 16 MiB": _large,
    "1,000 resumes": _resumes,
    "1,000 connects": _connects,
    "a room of 5,000": _room,
}


def among_equals(bench: Bench, peer: Peer) -> Iterator[Figure]:
    """Four tenants that flood."""
    connections = (4, 8, 16, 32)
    tenants = {}
    for number, count in enumerate(connections):
        headers = batch_headers(tenant=f"{FLOOD}{number}")
        tenants[f"{FLOOD}{number}"] = (count, batch(Order.now(100, 80, _ROOM), headers), 100)
    with peer.start(bench.cores.server) as server:
        with flooding(bench.cores.load, Batches(tenants), server.port, bench.receivers) as counts:
            seconds = [list(counts.recv().values()) for _ in range(max(2, int(bench.seconds(SECONDS))))]
    yield Figure(SHARE, "share", min(min(each) * len(each) / max(1, sum(each)) for each in seconds))
    yield Figure(SHARE, "jain", min(jain(each) for each in seconds))


def jain(shares: list[int]) -> float:
    """Jain's index of fairness: 1 where all are equal, 1/n where one has everything."""
    squares = sum(each * each for each in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 0.0


def alone(bench: Bench) -> Iterator[Figure]:
    """One tenant on this server and on one without fair shares: both on one core, in turns."""
    core = bench.cores.server
    peers = (GatewayOverHttp(), GatewayUnshared())
    with contextlib.ExitStack() as stack:
        sessions, pads = [], []
        for one in peers:
            sessions.append(stack.enter_context(session(bench, one, SUBSCRIBERS, lambda number: _ROOM)))
            # At once: a connection without a first request is closed after 5 s, and three more servers start.
            pads.append(sessions[-1].calibrate(250, _ROOM, SUBSCRIBERS))
        servers = [stack.enter_context(one.start(core)) for one in peers]
        fan_out: list[list[float]] = [[], []]
        ingested: list[list[float]] = [[], []]
        for _ in range(TURNS + 1):
            for side, (s, pad, server) in enumerate(zip(sessions, pads, servers, strict=True)):
                with Meter(s.server) as meter:
                    count = s.saturated(bench.seconds(0.5), pad, [_ROOM], SUBSCRIBERS, 16, 64)
                fan_out[side].append(count / meter.server)
                with Meter(server) as meter:
                    count = over_http(server, 100, bench.seconds(0.5))
                ingested[side].append(count / meter.server)
    # The first turn warms up.
    yield Figure(ALONE, "conservation", median(fan_out[0][1:]) / median(fan_out[1][1:]))
    yield Figure(ALONE, "ingest_conservation", median(ingested[0][1:]) / median(ingested[1][1:]))


WORKLOAD: Final = Workload(
    name="fairness",
    title="Fair shares: what a tenant that floods does to a quiet one",
    method=__doc__,
    run=run,
    columns=(
        Column("isolation", "p99 of events beside its bound", "{:.2f}"),
        Column("connect_isolation", "p99 of connects beside its bound", "{:.2f}"),
        Column("admission", "admitted", "{:.1%}"),
        Column("event_quiet", "p99 of events, quiet, ms", "{:.1f}"),
        Column("event_flood", "beside the flood, ms", "{:.1f}"),
        Column("connect_quiet", "p99 of connects, quiet, ms", "{:.1f}"),
        Column("connect_flood", "beside the flood, ms", "{:.1f}"),
        Column("share", "least share beside an equal one", "{:.2f}"),
        Column("jain", "Jain's index", "{:.3f}"),
        Column("conservation", "fan-out beside that without fair shares", "{:.2f}"),
        Column("ingest_conservation", "ingest beside that without fair shares", "{:.2f}"),
    ),
    suits=lambda peer: peer.name == "gateway-http",
)
