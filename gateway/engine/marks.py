"""Marks: `stream.mark` gives a client the cursor up to which it has everything, and the time as of which that was the
log's head."""

import asyncio
import logging
from collections.abc import Iterator
from itertools import islice
from typing import Final

from gateway.core.connection import MARK_OWED, Connection
from gateway.core.frame import MarkFrame
from gateway.core.log import Log
from gateway.core.manager import batches
from gateway.core.mark_schedule import MarkSchedule
from gateway.engine.connections import Connections
from gateway.engine.delivery import Delivery
from schemas import messages
from schemas.events import rfc3339

_SLICE: Final = 200
"""Connections of one tenant that are checked, and written to, before the clock is asked: at most a millisecond."""

_BUDGET: Final = 0.002
"""Seconds of one iteration of the loop for marks: all connections of a node may be due at one tick."""

logger = logging.getLogger("gateway")


class Marks:
    """Writes `stream.mark` to connections that are live and owed nothing: at a tick one prepared frame for all of a
    tenant's that are due, and one at once for a connection whose replay or catch-up has ended. None while this node
    cannot know the head of the log.

    `interval` is the longest silence in seconds; with 0 there are no marks. One task serves all connections.
    """

    def __init__(self, connections: Connections, delivery: Delivery, log: Log, interval: float) -> None:
        self._connections = connections
        self._delivery = delivery
        self._log = log
        self._schedule = MarkSchedule(interval) if interval else None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None and self._schedule is not None:
            self._task = asyncio.create_task(self._run(self._schedule))

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # ---- one connection

    def cursor(self, connection: Connection) -> str | None:
        """The cursor up to which the connection has everything; None where it is owed something."""
        self._delivery.flush(connection.identity.tenant)
        return self._log.window(connection.identity.tenant).cursor if connection.owed_nothing else None

    def pong(self, connection: Connection) -> messages.Pong:
        """The reply to `ping`, with the fields of a mark. `as_of` also where the connection is owed something; neither
        where the head of the log is not known."""
        as_of = self.as_of(connection.identity.tenant)
        return messages.Pong(as_of=as_of, cursor=None if as_of is None else self.cursor(connection))

    def send_owed(self, connection: Connection) -> None:
        """Write the mark that ends a replay or a catch-up, if one is to come and nothing else is owed. Where the head
        of the log is not known, it comes at the first tick at which it is."""
        if connection.quiet_since == MARK_OWED and self._schedule is not None:
            now = self._connections.timer()
            self._send_due(connection.identity.tenant, [connection], self._schedule, now, now)

    # ---- all of them

    async def _run(self, schedule: MarkSchedule) -> None:
        while True:
            await asyncio.sleep(schedule.tick_seconds)
            try:
                await self.tick(schedule)
            except Exception:
                logger.exception("marks could not be sent; the next tick goes on")

    async def tick(self, schedule: MarkSchedule) -> None:
        """Write a mark to all connections that are due one."""
        timer = self._connections.timer
        now = began = timer()
        before = schedule.tick(now)
        for tenant, connections in self._slices():
            self._send_due(tenant, connections, schedule, now, before)
            if timer() - began > _BUDGET:
                await asyncio.sleep(0)
                began = timer()

    def _slices(self) -> Iterator[tuple[str, list[Connection]]]:
        """The connections of all tenants, in slices of one tenant each."""
        for tenant in list(self._connections.manager.tenants()):
            remaining = iter(list(self._connections.manager.of(tenant).connections.values()))
            while connections := list(islice(remaining, _SLICE)):
                yield tenant, connections

    def _send_due(
        self, tenant: str, connections: list[Connection], schedule: MarkSchedule, now: float, before: float
    ) -> None:
        """Write a mark to those of a tenant's connections that are due one."""
        as_of = self.as_of(tenant)
        if as_of is None:
            return
        # Of a slice that has waited some connections may have closed: their transports ignore what is written.
        if due := schedule.take_due(connections, now, before):
            # Only now: clients of a busy tenant are due none, and its fan-out goes on in slices.
            self._delivery.flush(tenant)
            due = [connection for connection in due if connection.owed_nothing]
            window, streams = self._log.window(tenant), self._connections.manager.of(tenant).streams
            mark = messages.Mark(cursor=window.cursor, as_of=as_of)
            frame = MarkFrame(mark.encode(rfc3339(self._connections.clock())), mark.cursor)
            for batch, recipients in batches((frame,), window.head, window.head, due, streams):
                self._delivery.write_at_head(batch, recipients)

    def as_of(self, tenant: str) -> str | None:
        """The time at which the head of this node's window was last known to be the head of the log; None while
        unknown."""
        staleness = self._log.staleness(tenant)
        return None if staleness is None else rfc3339(self._connections.clock() - staleness)
