"""The drain: an orderly shutdown of a node, in which each client gets a reconnect slot (against a thundering herd)."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from random import SystemRandom
from typing import Final

from gateway.core.connection import Connection
from gateway.core.drain_schedule import MIN_RECONNECT_SECONDS, milliseconds, reconnect_delay, slots
from gateway.core.errors import NodeDraining
from gateway.engine.connections import Connections
from gateway.engine.delivery import Delivery
from gateway.engine.marks import Marks
from gateway.engine.replies import DRAINING
from gateway.engine.tasks import TaskSet
from schemas import messages
from schemas.codes import CloseCode

POLL_INTERVAL: Final = 0.05
"""Seconds between two checks of the connections that are left."""

_NOTIFY_BATCH: Final = 200

_system = SystemRandom()


class Drain:
    """The paced drain of a node. `rng` returns 0 to 1."""

    def __init__(
        self,
        connections: Connections,
        delivery: Delivery,
        marks: Marks,
        tasks: TaskSet,
        rng: Callable[[], float] = _system.random,
    ) -> None:
        self.announced = False
        self.started = False
        self._ended = asyncio.Event()
        self._tasks = tasks
        self._connections = connections
        self._delivery = delivery
        self._marks = marks
        self._timer = connections.timer
        self._rng = rng
        self._announced_at = 0.0
        self._ends = 0.0
        self._unnotified: set[Connection] = set()

    def reset(self) -> None:
        """Admit clients again, after a restart of the gateway in this process."""
        self.announced = self.started = False
        self._ended = asyncio.Event()
        self._delivery.reset()

    def require_admitting(self) -> None:
        """Raise `NodeDraining` for a new client once the drain has started."""
        if self.started:
            raise NodeDraining(milliseconds(reconnect_delay(self._ends - self._timer(), self._rng)))

    def announce(self) -> None:
        """Report not ready from now on, for load balancers; clients are served as before, and new ones admitted."""
        if not self.announced:
            self.announced, self._announced_at = True, self._timer()

    def begin(self, delay: float, seconds: float) -> float:
        """Announce a drain, and run it after `delay` seconds, unless one is announced. Returns the seconds until its
        end."""
        if not self.announced:
            self.announce()
            self._tasks.spawn(self._run_later(delay, seconds))
            return delay + seconds
        ends = self._ends if self.started else self._announced_at + delay + seconds
        return max(0.0, ends - self._timer())

    async def _run_later(self, delay: float, seconds: float) -> None:
        await asyncio.sleep(delay)
        await self.run(seconds)

    async def run(self, seconds: float) -> None:
        """Admit no more clients, and close the connected ones over `seconds`; returns when all are closed. Where a
        drain runs, wait for its end.

        Each client is notified of its slot at once, served until then, and closed in it; one that is behind has until
        the end to catch up. With 0 seconds there are no slots: `stop` closes all connections.

        Event streams are served until the last slot, and the time to their own slot counts from there: an `EventSource`
        that reconnects to a node that still drains gets 503, and never tries again.
        """
        if self.started:
            await self._ended.wait()
            return
        self.announce()
        started = self._timer()
        self._ends = started + seconds
        self.started = True
        try:
            if seconds > 0:
                leaving = await self._assign_slots(started, seconds)
                await self._close_in_slots(leaving)
            self._delivery.flush()
        finally:
            self._ended.set()

    def clients(self) -> Iterator[Connection]:
        """The connections that are closed in slots."""
        return self._connections.manager.clients()

    async def _assign_slots(self, started: float, seconds: float) -> deque[tuple[float, Connection]]:
        connections = list(self.clients())
        # Shuffled, or each tenant's clients would leave all at once.
        _system.shuffle(connections)
        self._unnotified = set(connections)
        times = slots(len(connections), seconds, self._rng)
        leaving: deque[tuple[float, Connection]] = deque()
        streams: list[tuple[float, Connection]] = []
        for number, (slot, connection) in enumerate(zip(times, connections, strict=True), 1):
            if connection.transport.kind == "sse":
                streams.append((started + times[-1], connection))
                seconds = MIN_RECONNECT_SECONDS + slot
            else:
                leaving.append((started + slot, connection))
                seconds = started + slot - self._timer()
            # One without its first frame is notified when it is closed.
            if connection.established and self._connections.is_open(connection):
                self._notify(connection, seconds)
            if number % _NOTIFY_BATCH == 0:
                await asyncio.sleep(0)
        leaving.extend(streams)
        return leaving

    def _notify(self, connection: Connection, seconds: float) -> None:
        self._unnotified.discard(connection)
        cursor = self._marks.cursor(connection)
        self._connections.reply(connection, messages.Draining(reconnect_after_ms=milliseconds(seconds), cursor=cursor))

    async def _close_in_slots(self, leaving: deque[tuple[float, Connection]]) -> None:
        due: list[Connection] = []
        while (leaving or due) and any(True for _ in self.clients()):
            now = self._timer()
            while leaving and leaving[0][0] <= now:
                due.append(leaving.popleft()[1])
            self._delivery.flush()
            due = [connection for connection in due if not self._try_close(connection, now)]
            next_slot = leaving[0][0] - now if leaving else POLL_INTERVAL
            await asyncio.sleep(min(max(next_slot, 0.0), POLL_INTERVAL))

    def _try_close(self, connection: Connection, now: float) -> bool:
        """Close the connection, unless events are still owed and there is time; returns whether it is closed."""
        if not self._connections.is_open(connection):
            return True
        if not connection.owed_nothing and now < self._ends:
            return False
        if connection in self._unnotified and connection.established:
            self._notify(connection, MIN_RECONNECT_SECONDS if connection.transport.kind == "sse" else 0.0)
        self._connections.close(connection, CloseCode.SERVICE_RESTART, DRAINING)
        return True
