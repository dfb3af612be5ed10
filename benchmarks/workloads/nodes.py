"""Nodes: two nodes on one Redis, published to at the first, with subscribers at both.

Each node is a process as an operator starts it: `gateway serve`, or python-socketio's AsyncServer with its
AsyncRedisManager on uvicorn. Redis is a third, with nothing on disk. All three are on one core, and the load on the
other: events a second are those of one core for the whole. “Over HTTP” is one gateway with its log in memory and the
same clients: the floor. Ratios are those of the gateway's two nodes. Uvicorn, uvloop and the Redis client are the
same everywhere.

100 connections at each node (200 at the single one) are in 20 rooms of 10, half of them at each node: an event makes 10
deliveries of 213 bytes. Events come by `POST /events/batch`, each request to the next room, over 8 connections in turn.
The gateway verifies the publisher's token, judges each event and gives it its place in the log. The route beside
python-socketio, a bare ASGI function, takes the same requests and does nothing but emit: no token, no log, and its
answer does not tell whether Redis got the event.

Saturated, up to 256 events are under way, 1 or 16 a request. Then, at 200 events/s, one a request, latency is from the
moment at which an event fell due to its receipt by a subscriber at the second node. CPU is user and system time of the
processes.

Tenants, for the gateway alone: a subscriber at the second node in each of 1, 10 or 1,000 tenants, and batches of 100
events, one tenant after the other, published at the first, up to 1,000 events under way. Idle is what following 1,000
tenants costs while nothing is published.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Final

from benchmarks.load.fleet import Dialogue, Fleet
from benchmarks.load.publisher import Order, Publisher, SocketPublisher, Spread, compact, post
from benchmarks.measure import ALL, Bench, Figure, Meter, Session
from benchmarks.peers import Peer, gateway
from benchmarks.peers.cluster import Cluster, OnRedis
from benchmarks.process import Server
from benchmarks.report import Column, Workload
from benchmarks.stats import percentile

CONNECTIONS: Final = 200
ROOMS: Final = [(f"circle:{100 + number}",) for number in range(20)]
LISTENERS: Final = CONNECTIONS // len(ROOMS)
SIZE: Final = 213
RATE: Final = 200
BATCHES: Final = (1, 16)
UNDER_WAY: Final = 256
PUBLISHERS: Final = 8
TENANTS: Final = (1, 10, 1_000)
TENANTS_BATCH: Final = 100
TENANTS_UNDER_WAY: Final = 1_000
SECONDS: Final = 8.0


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    def dialogue(server: Server, number: int) -> Dialogue:
        return peer.dialogue(server, ROOMS[number % len(ROOMS)], number)

    with running(bench, peer) as cluster:
        counts = [CONNECTIONS // len(cluster.nodes)] * len(cluster.nodes)
        publishers = Spread([peer.publisher(cluster.nodes[0]) for _ in range(PUBLISHERS)])
        with contextlib.closing(publishers), _session(bench, peer, cluster, counts, dialogue, publishers) as s:
            pad = s.calibrate(SIZE, ROOMS[0], LISTENERS)
            for size in BATCHES:
                yield from _saturated(s, cluster, bench, pad, size)
            yield from _steady(s, cluster, bench, pad)
        if isinstance(peer, gateway.GatewayOnRedis):
            for tenants in TENANTS:
                yield from _tenants(bench, peer, cluster, tenants)


@contextlib.contextmanager
def running(bench: Bench, peer: Peer) -> Iterator[Cluster]:
    """The peer's nodes and their Redis; of a peer that has none, its one server."""
    if isinstance(peer, OnRedis):
        with peer.cluster(bench.cores.server) as cluster:
            yield cluster
    else:
        with peer.start(bench.cores.server) as server:
            yield Cluster([server], None)


@contextlib.contextmanager
def _session(
    bench: Bench,
    peer: Peer,
    cluster: Cluster,
    counts: Sequence[int],
    dialogue: Callable[[Server, int], Dialogue],
    publisher: Publisher,
) -> Iterator[Session]:
    """Clients at each node, as many as `counts` says of it; those at the last one are sampled."""
    with contextlib.ExitStack() as open:
        receiver = open.enter_context(contextlib.closing(bench.receivers.make(sum(counts))))
        fleets = [open.enter_context(Fleet(node.port, receiver)) for node in cluster.nodes]
        for node, fleet, count in zip(cluster.nodes, fleets, counts, strict=True):
            fleet.connect(count, partial(dialogue, node), sampled=node is cluster.nodes[-1])
        for server in (*cluster.nodes, cluster.redis):
            if server is not None:
                server.settle(2.0)
        receiver.drain(ALL, 0.1)
        yield Session(peer, cluster.nodes[0], fleets[0], publisher)


@dataclass(frozen=True, slots=True)
class _Weights:
    """A meter for each process of a cluster."""

    nodes: Sequence[Meter]
    redis: Sequence[Meter]

    def figures(self, case: str, events: int, listeners: int) -> Iterator[Figure]:
        """The cost of `events` with `listeners` each; the load of both cores."""
        wall, nodes = self.nodes[0].wall, sum(meter.server for meter in self.nodes)
        for meter in self.redis:
            yield Figure(case, "redis", meter.server / events * 1e6)
        yield Figure(case, "event", nodes / events * 1e6)
        if listeners > 1:
            yield Figure(case, "delivery", nodes / events / listeners * 1e6)
        yield Figure(case, "server_idle", self.nodes[0].idle / wall)
        yield Figure(case, "load_share", self.nodes[0].load / wall)

    def idle_figures(self, case: str) -> Iterator[Figure]:
        """Milliseconds of CPU a second, of Redis and of the last node."""
        for meter in self.redis:
            yield Figure(case, "redis_idle", meter.server / meter.wall * 1e3)
        yield Figure(case, "node_idle", self.nodes[-1].server / self.nodes[-1].wall * 1e3)


@contextlib.contextmanager
def _weighed(cluster: Cluster) -> Iterator[_Weights]:
    redis = [] if cluster.redis is None else [cluster.redis]
    weights = _Weights([Meter(node) for node in cluster.nodes], [Meter(server) for server in redis])
    with contextlib.ExitStack() as weighing:
        for meter in (*weights.nodes, *weights.redis):
            weighing.enter_context(meter)
        yield weights


def _saturated(s: Session, cluster: Cluster, bench: Bench, pad: int, size: int) -> Iterator[Figure]:
    case = f"saturated, {size} a request"
    s.saturated(bench.seconds(0.5), pad, ROOMS, LISTENERS, size, UNDER_WAY)
    with _weighed(cluster) as weights:
        events = s.saturated(bench.seconds(SECONDS / 2), pad, ROOMS, LISTENERS, size, UNDER_WAY) // LISTENERS
    s.expect_exactly(s.receiver.total)
    yield Figure(case, "events", events / weights.nodes[0].wall)
    yield from weights.figures(case, events, LISTENERS)


def _steady(s: Session, cluster: Cluster, bench: Bench, pad: int) -> Iterator[Figure]:
    case = f"{RATE} events/s, 1 a request"
    s.receiver.reset(s.unit(SIZE))
    with _weighed(cluster) as weights:
        events = s.steady(bench.seconds(SECONDS), RATE, pad, ROOMS)
        s.expect_exactly(events * LISTENERS)
    latencies = s.receiver.latencies()
    sampled = events * LISTENERS // len(cluster.nodes)
    assert len(latencies) == sampled, f"{len(latencies)} latencies of {sampled} deliveries"
    for share in (50, 99):
        yield Figure(case, f"p{share}", percentile(latencies, share / 100) * 1e3)
    yield from weights.figures(case, events, LISTENERS)


def _tenants(bench: Bench, peer: gateway.GatewayOnRedis, cluster: Cluster, count: int) -> Iterator[Figure]:
    names = [f"tenant-{number}" for number in range(count)]
    turn = cycle(names)
    headers = gateway.batch_headers(["publish", "platform"])

    def dialogue(server: Server, number: int) -> Dialogue:
        return gateway.dialogue(server, ROOMS[0], number, names[number])

    def encode(order: Order) -> bytes:
        events = [{**order.event(), "tenant": next(turn)} for _ in range(order.count)]
        return post("/events/batch", compact({"events": events}), headers)

    publisher = SocketPublisher(cluster.nodes[0].port, encode, gateway.REFUSAL)
    with contextlib.closing(publisher), _session(bench, peer, cluster, (0, count), dialogue, publisher) as s:
        pad = s.calibrate(SIZE, ROOMS[0], 1)
        s.saturated(bench.seconds(0.5), pad, ROOMS[:1], 1, TENANTS_BATCH, TENANTS_UNDER_WAY)
        with _weighed(cluster) as weights:
            events = s.saturated(bench.seconds(SECONDS / 2), pad, ROOMS[:1], 1, TENANTS_BATCH, TENANTS_UNDER_WAY)
        s.expect_exactly(s.receiver.total)
        case = f"tenants: {count:,}, saturated, {TENANTS_BATCH} a request"
        yield Figure(case, "events", events / weights.nodes[0].wall)
        yield from weights.figures(case, events, 1)
        if count == max(TENANTS):  # at the end: a node closes a publisher's connection that is idle for 5 s
            with _weighed(cluster) as idle:
                time.sleep(bench.seconds(SECONDS))
            yield from idle.idle_figures(f"tenants: {count:,}, idle")


WORKLOAD: Final = Workload(
    name="nodes",
    title="Nodes: two on one Redis",
    method=__doc__,
    run=run,
    columns=(
        Column("p50", "p50, ms", "{:.2f}", compared=True),
        Column("p99", "p99, ms", "{:.2f}", compared=True),
        Column("events", "events/s end to end", "{:,.0f}", compared=True),
        Column("redis", "Redis, µs of CPU an event", "{:.1f}", compared=True),
        Column("event", "nodes, µs of CPU an event", "{:.1f}", compared=True),
        Column("delivery", "nodes, µs of CPU a delivery", "{:.2f}"),
        Column("redis_idle", "Redis, ms of CPU a second", "{:.1f}"),
        Column("node_idle", "second node, ms of CPU a second", "{:.1f}"),
        Column("server_idle", "that core idle", "{:.0%}"),
        Column("load_share", "load on its core", "{:.0%}"),
    ),
    suits=lambda peer: peer.name in ("gateway-redis", "gateway-http", "python-socketio"),
)
