"""Delivery on the event loop: events of one iteration leave together, slow consumers are caught up in turns."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from gateway.core.catch_up import BATCH_BYTES, Progress, send_next_batch, skip_gap
from gateway.core.connection import Connection
from gateway.core.frame import Batch
from gateway.core.log import Log
from gateway.core.manager import BatchWriter
from gateway.core.window import Entry, Window
from gateway.engine.connections import Connections
from gateway.telemetry import log_events
from schemas import messages
from schemas.codes import CloseCode, ErrorCode

logger = logging.getLogger("gateway")

THROTTLE_INTERVAL: Final = 0.05
"""Seconds between two batches to a connection that is over its rate of events."""

SLOW_FANOUT: Final = 0.000_25
"""Seconds: fan-outs that take longer are coalesced. One more iteration of the loop costs about 10 us."""

MAX_COALESCE: Final = 0.005
"""Seconds after which events wait for no more; and never longer than the fan-out before took."""

CATCH_UP_BUDGET: Final = 0.005
"""Seconds of one iteration of the loop for catch-up: after a restart all connections are behind, and together they
would hold up the live ones for a second."""


def write_each(batch: Batch, by_fd: Mapping[int, Connection]) -> None:
    """The portable `BatchWriter`: to one connection after the other, each by its transport."""
    for connection in by_fd.values():
        connection.write(batch)


class Delivery:
    """Delivers what the log brings to this node's connections, and catches up those that are behind.

    `pending_bytes` have not been delivered yet; `last_fanout_seconds` is what a delivery took lately, at most.
    `batch_writer` is how a batch leaves for many. `on_caught_up` is called with each connection that no replay is owed
    to (any more); the engine's upper parts set it.
    """

    def __init__(self, connections: Connections, log: Log, batch_writer: BatchWriter = write_each) -> None:
        self.on_caught_up: Callable[[Connection], object] = lambda connection: None
        self._connections = connections
        self._manager = connections.manager
        self._log = log
        self._timer = connections.timer
        self._batch_writer = batch_writer
        self._pending: dict[str, list[Entry]] = {}
        self.pending_bytes = 0
        self._oldest_pending = 0.0
        self._flush_scheduled = False
        self._has_new_entries = False
        self.last_fanout_seconds = 0.0
        self._catch_ups: deque[Connection] = deque()
        self._catching_up = False

    def on_entry(self, tenant: str, entry: Entry) -> None:
        """Deliver a new entry at the end of this iteration of the loop, with what else comes in it."""
        if self._manager.of(tenant).connections:
            self._has_new_entries = True
            if not self._pending:
                self._oldest_pending = self._timer()
            if not self._flush_scheduled:
                self._flush_scheduled = True
                asyncio.get_running_loop().call_soon(self._flush_or_coalesce)
            self._pending.setdefault(tenant, []).append(entry)
            self.pending_bytes += len(entry.frame)
            if self.pending_bytes >= BATCH_BYTES:
                self.flush()

    def _flush_or_coalesce(self) -> None:
        """Deliver what is pending; or, where a fan-out is slow and this iteration brought something, wait for what the
        next one brings: under load the events of several iterations leave in one write."""
        last = self.last_fanout_seconds
        waited = self._timer() - self._oldest_pending
        if self._has_new_entries and last > SLOW_FANOUT and waited < min(last, MAX_COALESCE):
            self._has_new_entries = False
            asyncio.get_running_loop().call_soon(self._flush_or_coalesce)
        else:
            self._flush_scheduled = False
            self.flush()

    def flush(self) -> None:
        """Deliver what is pending. Before every change of the index, so that an event reaches those that were in its
        rooms when it was published."""
        if not self._pending:
            return
        pending, self._pending, self.pending_bytes = self._pending, {}, 0
        now = self._timer()
        for tenant, entries in pending.items():
            try:
                throttled = self._manager.deliver(tenant, entries, now, self._batch_writer, self._connections.fail)
            except Exception:
                self._close_recipients(tenant, entries)
            else:
                for connection in throttled:
                    self._catch_up_later(connection, THROTTLE_INTERVAL)
        # The cost of a large room is not forgotten over a small one.
        self.last_fanout_seconds = max(self._timer() - now, self.last_fanout_seconds / 2)

    def _close_recipients(self, tenant: str, entries: list[Entry]) -> None:
        """Close the connections in the rooms of `entries` (1011): it is unknown which of them have got what, and each
        resumes without a gap from the last event that its client has."""
        logger.exception("a fan-out failed; its recipients are closed")
        rooms = self._manager.of(tenant).rooms
        recipients = [connection for entry in entries for room in entry.rooms for connection in rooms.get(room, ())]
        for connection in dict.fromkeys(recipients):
            self._connections.close(connection, CloseCode.INTERNAL_ERROR, ErrorCode.INTERNAL_ERROR)

    def write_unlogged(self, connection: Connection, batch: Batch) -> bool:
        """Write frames that have no place in the log, unless the connection is behind; whether they were written. Where
        they fill its transport it falls behind as with an event, so that no more of them pile up."""
        self.flush()  # what is pending has its place before the head, where the connection may have to go on
        if not connection.live or not self._connections.is_open(connection):
            return False
        for _ in batch.frames:
            connection.count_reply()
        if not connection.transport.write(batch):
            connection.fall_behind(self._log.window(connection.identity.tenant).head)
        return True

    def catch_up(self, connection: Connection) -> None:
        """Write to a connection that is behind what its transport and its rate allow now, and see to the rest."""
        self.flush()
        if not self._connections.is_open(connection):
            return
        window = self._log.window(connection.identity.tenant)
        progress = send_next_batch(connection, window, self._timer())
        if progress is Progress.GAP:
            skip_gap(connection, window)
            self._report_gap(connection, window)
            if not connection.live:  # what was lost is a replay's: the rest is still to come
                self._catch_up_later(connection, 0)
        elif progress is Progress.MORE:
            self.catch_up_soon(connection)
        elif progress is Progress.THROTTLED:
            self._catch_up_later(connection, THROTTLE_INTERVAL)
        if connection.replay is None:
            self.on_caught_up(connection)

    def _report_gap(self, connection: Connection, window: Window) -> None:
        """Say where the connection goes on, before anything later is written."""
        cursor = window.cursor if connection.offset is None else window.cursors.encode(window.epoch, connection.offset)
        log_events.stream_gap(connection, "history_trimmed")
        self._connections.reply(connection, messages.StreamGap(reason="history_trimmed", cursor=cursor))

    def on_writable(self, connection: Connection) -> None:
        """The connection's transport was full and is not any more."""
        if not connection.catch_up_scheduled:
            self.catch_up_now(connection)

    def catch_up_soon(self, connection: Connection) -> None:
        """Catch up a connection in its turn among those that wait for it."""
        if not connection.catch_up_scheduled:
            connection.catch_up_scheduled = True
            self._catch_ups.append(connection)
            if not self._catching_up:
                self._catching_up = True
                asyncio.get_running_loop().call_soon(self._run_catch_ups)

    def _run_catch_ups(self) -> None:
        """Catch up those that wait for it, one batch each, within the budget of one iteration of the loop."""
        ends = self._timer() + CATCH_UP_BUDGET
        try:
            for _ in range(len(self._catch_ups)):
                self.catch_up_now(self._catch_ups.popleft())
                if self._timer() >= ends:
                    break
        finally:  # the failure of one connection must not stop the others
            self._catching_up = bool(self._catch_ups)
            if self._catching_up:
                asyncio.get_running_loop().call_soon(self._run_catch_ups)

    def _catch_up_later(self, connection: Connection, delay: float) -> None:
        # One at a time for each connection, or every time its transport drains would add another.
        if not connection.catch_up_scheduled:
            connection.catch_up_scheduled = True
            asyncio.get_running_loop().call_later(delay, self.catch_up_now, connection)

    def catch_up_now(self, connection: Connection) -> None:
        """`catch_up` for one of many: where it fails, it is this connection that ends."""
        connection.catch_up_scheduled = False
        try:
            self.catch_up(connection)
        except Exception as error:
            # Else it would stay behind without a notification that events are missing.
            self._connections.fail(connection, error)
