"""Measurement for workloads: a server with a fleet of clients, its CPU time and memory."""

import contextlib
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from benchmarks.load.fleet import Dialogue, Fleet
from benchmarks.load.publisher import Order, Publisher
from benchmarks.load.receiver import Receiver, Receivers
from benchmarks.machine import Cores, core_idle
from benchmarks.peers import Peer
from benchmarks.process import Server

PATIENCE: Final = 20.0
"""Seconds that a server may take to deliver what was published."""

ALL: Final = 1 << 62
"""A count that is never reached."""

SMALL_BUFFER: Final = 4_096
"""Bytes of the kernel's receive buffer of a slow client."""


class Stalled(Exception):
    """Published events did not arrive, or other ones did."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The options of every workload. `quick` measures for a fifth of the time, with a fifth of the connections: a smoke
    test, not for publication."""

    cores: Cores
    receivers: Receivers
    quick: bool = False

    def seconds(self, full: float) -> float:
        """The duration of a measurement that takes `full` seconds."""
        return full / 5 if self.quick else full

    def count(self, full: int) -> int:
        """The number of connections for a workload with `full`."""
        return full // 5 if self.quick else full


@dataclass(frozen=True, slots=True)
class Figure:
    """One value of one round."""

    case: str
    metric: str
    value: float


class Meter:
    """A context manager that measures the CPU time of a server.

    In seconds: `wall` by the clock; `server` and `load`, the CPU time of the server and of this process; `idle`, that
    of the server's core. The rest of that core went to other processes of this machine.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.wall = self.server = self.load = self.idle = 0.0

    def __enter__(self) -> "Meter":
        self._before = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            after = self._now()
            self.wall, self.server, self.load, self.idle = (b - a for a, b in zip(self._before, after, strict=True))

    def _now(self) -> tuple[float, float, float, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return time.monotonic(), self._server.cpu(), used.ru_utime + used.ru_stime, core_idle(self._server.core)

    def figures(self, case: str, deliveries: int) -> list[Figure]:
        """The cost of `deliveries`: per CPU-second of the server and in microseconds; the load of both cores."""
        assert deliveries, "nothing was delivered"
        return [
            Figure(case, "deliveries", deliveries / self.server),
            Figure(case, "microseconds", self.server / deliveries * 1e6),
            Figure(case, "server_share", self.server / self.wall),
            Figure(case, "server_idle", self.idle / self.wall),
            Figure(case, "load_share", self.load / self.wall),
            Figure(case, "throughput", deliveries / self.wall),
        ]


@dataclass(frozen=True, slots=True)
class Session:
    """A running server with its clients and a publisher."""

    peer: Peer
    server: Server
    fleet: Fleet
    publisher: Publisher

    @property
    def receiver(self) -> Receiver:
        return self.fleet.receiver

    def calibrate(self, size: int, rooms: Sequence[str], listeners: int) -> int:
        """The `pad` with which one event to `rooms`, which has `listeners`, is a payload of `size` bytes for each.

        Counts are in events of that size afterwards.
        """
        pad = 0
        for _ in range(20):
            self.receiver.reset(0)
            self.publisher.publish(Order.now(1, pad, rooms))
            self.await_count(listeners)
            self.receiver.drain(listeners + 1, 0.05)
            self.publisher.poll()
            each, odd = divmod(self.receiver.payload, listeners)
            if odd or self.receiver.total != listeners:  # a ping of the server's own protocol came between
                self.receiver.drain(ALL, 0.25)
                continue
            if each == size:
                self.receiver.reset(self.unit(size))
                return pad
            pad = pad + size - each
            if pad < 0:
                raise Stalled(f"an event without padding has {each} bytes already, which is more than {size}")
        got = f"{self.receiver.total} messages of {self.receiver.payload} bytes"
        raise Stalled(f"no padding makes an event of {size} bytes: {listeners} listeners got {got}")

    def unit(self, size: int) -> int:
        """The unit of counting for events of `size` bytes."""
        return 0 if self.peer.unit_is_message else size

    def await_count(self, count: int, patience: float = PATIENCE) -> None:
        """Receive until `count` are counted; raise Stalled where they do not come within `patience` seconds."""
        if self.receiver.drain(count, patience) < count:
            self.publisher.poll()
            raise Stalled(f"{self.receiver.total} of {count} arrived, {self.receiver.closed} connections were closed")
        self.publisher.poll()

    def expect_exactly(self, count: int) -> None:
        """Receive until `count` are counted, and see that nothing comes after them."""
        self.await_count(count)
        if (total := self.receiver.drain(count + 1, 0.05)) != count:
            raise Stalled(f"{total} arrived where {count} were published")

    def paced(self, seconds: float, pad: int, rooms: Sequence[str], listeners: int) -> int:
        """Publish one event, wait until all have it, publish the next; at least one. Returns the deliveries."""
        count = 0
        base = self.receiver.total
        deadline = time.monotonic() + seconds
        while not count or time.monotonic() < deadline:
            self.publisher.publish(Order.now(1, pad, rooms))
            count += listeners
            self.await_count(base + count)
        return count

    def steady(
        self,
        seconds: float,
        rate: float,
        pad: int,
        audiences: Sequence[Sequence[str]],
        count: int = 1,
        each: Callable[[], None] | None = None,
    ) -> int:
        """Give `rate` orders a second, of `count` events each, to one of `audiences` after the other, and receive.

        An event's latency counts from when it fell due, so that a load client that is late does not flatter the server.
        `each` is called after every order. Returns the orders.
        """
        start = time.monotonic_ns()
        orders = int(seconds * rate)
        for i in range(orders):
            due = start + int(i * 1e9 / rate)
            while (left := due - time.monotonic_ns()) > 0:
                self.receiver.drain(ALL, left / 1e9)
            self.publisher.publish(Order(count, pad, audiences[i % len(audiences)], due))
            self.publisher.poll()
            if each is not None:
                each()
        return orders

    def saturated(
        self, seconds: float, pad: int, audiences: Sequence[Sequence[str]], listeners: int, chunk: int, window: int
    ) -> int:
        """Publish `chunk` events at a time and never wait, but for `window` events that are not everywhere yet.

        Each chunk goes to the next of `audiences`, which have `listeners` each. The window bounds what piles up in
        sockets; the server always has the next chunks to work on. At least one chunk. Returns the deliveries.
        """
        published = 0
        base = self.receiver.total
        deadline = time.monotonic() + seconds
        while not published or time.monotonic() < deadline:
            while published - (self.receiver.total - base) // listeners < window:
                self.publisher.publish(Order.now(chunk, pad, audiences[published // chunk % len(audiences)]))
                published += chunk
            self.await_count(base + (published - window + chunk) * listeners)
        self.await_count(base + published * listeners)
        return published * listeners


@contextlib.contextmanager
def session(
    bench: Bench,
    peer: Peer,
    clients: int,
    rooms: Callable[[int], Sequence[str]],
    sampled: bool = False,
    slow: int = 0,
) -> Iterator[Session]:
    """`peer` with `clients` connections, the n-th of them in `rooms(n)`.

    The last `slow` of them have next to no receive buffer and are not sampled; they are read like the others until
    the caller stops them.
    """
    with peer.start(bench.cores.server) as server:
        with contextlib.closing(bench.receivers.make(clients)) as receiver, Fleet(server.port, receiver) as fleet:

            def dialogue(number: int) -> Dialogue:
                return peer.dialogue(server, rooms(number), number)

            fleet.connect(clients - slow, dialogue, sampled)
            if slow:
                fleet.connect(slow, dialogue, receive_buffer=SMALL_BUFFER)
            with contextlib.closing(peer.publisher(server)) as publisher:
                server.settle(2.0)
                receiver.drain(ALL, 0.1)
                yield Session(peer, server, fleet, publisher)
