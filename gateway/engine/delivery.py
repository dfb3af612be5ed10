"""Delivery: coalesced fan-out on the event loop, and catch-up of slow consumers within a budget."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from gateway.core import subscription
from gateway.core.catch_up import BATCH_BYTES, Progress, send_next_batch, skip_gap
from gateway.core.connection import Connection
from gateway.core.frame import Batch
from gateway.core.log import Log
from gateway.core.manager import BatchWriter
from gateway.core.metric import Histogram
from gateway.core.room_history import ChangeKind
from gateway.core.window import Entry, Window
from gateway.engine.connections import Connections
from gateway.telemetry import log_events
from schemas import messages
from schemas.codes import CloseCode, ErrorCode

logger = logging.getLogger("gateway")

THROTTLE_INTERVAL: Final = 0.05
"""Seconds between two batches to a connection that is over its event rate."""

SLOW_FANOUT: Final = 0.000_25
"""Fan-outs slower than this many seconds are coalesced. One more loop iteration costs about 10 us."""

MAX_COALESCE: Final = 0.005
"""The longest coalescing delay in seconds; never more than the last fan-out took."""

CATCH_UP_BUDGET: Final = 0.005
"""Seconds of catch-up in one iteration of the loop: after a restart all connections are behind, and would hold up the
live ones for a second (head-of-line blocking)."""


def write_each(batch: Batch, by_fd: Mapping[int, Connection]) -> None:
    """The portable `BatchWriter`: writes to one connection after the other, through its transport."""
    for connection in by_fd.values():
        connection.write(batch)


class Delivery:
    """Delivers the log's entries to this node's connections, and catches up those that are behind.

    `pending_bytes` are not delivered yet; `last_fanout_seconds` is the recent maximum of a fan-out. `latencies` has for
    each fan-out the seconds from its oldest entry's arrival here until everything was written. `batch_writer` writes a
    batch to many connections. `on_caught_up` is called with each connection without a pending replay; the engine's
    upper parts set it.
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
        self.latencies = Histogram()
        self._catch_ups: deque[Connection] = deque()
        self._catching_up = False

    def on_entry(self, tenant: str, entry: Entry) -> None:
        """Deliver a new entry at the end of this loop iteration, together with other entries of it."""
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
        """Deliver the pending entries; or, after a slow fan-out, wait for those of the next iteration: under load the
        events of several iterations leave in one write."""
        last = self.last_fanout_seconds
        waited = self._timer() - self._oldest_pending
        if self._has_new_entries and last > SLOW_FANOUT and waited < min(last, MAX_COALESCE):
            self._has_new_entries = False
            asyncio.get_running_loop().call_soon(self._flush_or_coalesce)
        else:
            self._flush_scheduled = False
            self.flush()

    def flush(self) -> None:
        """Deliver the pending entries. Called before every change of the index, so that an event reaches the
        connections that were in its rooms when it was appended."""
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
        # A maximum that decays: one small fan-out does not hide the cost of a large one.
        ended = self._timer()
        self.last_fanout_seconds = max(ended - now, self.last_fanout_seconds / 2)
        self.latencies.observe(ended - self._oldest_pending)

    def _close_recipients(self, tenant: str, entries: list[Entry]) -> None:
        """Close the connections in the rooms of `entries` (1011): it is unknown which entries they got, and each
        resumes without a gap from its client's last event."""
        logger.exception("a fan-out failed; its recipients are closed")
        rooms = self._manager.of(tenant).rooms
        recipients = [connection for entry in entries for room in entry.rooms for connection in rooms.get(room, ())]
        for connection in dict.fromkeys(recipients):
            self._connections.close(connection, CloseCode.INTERNAL_ERROR, ErrorCode.INTERNAL_ERROR)

    def delivered(self, tenant: str) -> int:
        """The offset up to which the tenant's log was delivered to the connections that were live."""
        pending = self._pending.get(tenant)
        return pending[0].offset - 1 if pending else self._log.window(tenant).head

    def leave(self, connection: Connection, rooms: Sequence[str], kind: ChangeKind) -> None:
        """Leave rooms, for the reason `kind`, after the delivery of what is pending: a client still gets the events
        before."""
        self.flush()
        head = self._log.window(connection.identity.tenant).head
        subscription.leave(self._manager, connection, rooms, kind, head, self._connections.clock())

    def write_unlogged(self, connection: Connection, batch: Batch) -> bool:
        """Write frames without a position in the log, unless the connection is behind; returns whether they were
        written. If they fill the transport the connection falls behind, as with an event (backpressure)."""
        self.flush()  # pending entries come before the head, where the connection may fall behind
        if not connection.live or not self._connections.is_open(connection):
            return False
        for _ in batch.frames:
            connection.count_reply()
        if not connection.transport.write(batch):
            connection.fall_behind(self._log.window(connection.identity.tenant).head)
        return True

    def write_at_head(self, batch: Batch, connections: Iterable[Connection]) -> None:
        """Write frames that `batch` places at the head of the log, to connections that are live. Nothing may be
        pending. A connection whose transport they fill falls behind there, as with an event."""
        by_fd: dict[int, Connection] = {}
        for connection in connections:
            connection.count_reply()
            fd = connection.transport.fd
            if fd is not None:
                by_fd[fd] = connection
                continue
            try:
                connection.write(batch)
            except Exception as error:
                self._connections.fail(connection, error)
        try:
            self._batch_writer(batch, by_fd)
        except Exception as error:
            for connection in by_fd.values():
                self._connections.fail(connection, error)

    def catch_up(self, connection: Connection) -> None:
        """Write the next batch to a connection that is behind, as its transport and rate allow, and schedule the
        rest."""
        self.flush()
        if not self._connections.is_open(connection):
            return
        tenant = connection.identity.tenant
        window = self._log.window(tenant)
        progress = send_next_batch(connection, window, self._timer(), self._manager.of(tenant).delivered)
        if progress is Progress.GAP:
            skip_gap(connection, window, self._connections.clock())
            self._report_gap(connection, window)
            if not connection.live:  # only a replay had the gap: the entries after it are still owed
                self._catch_up_later(connection, 0)
        elif progress is Progress.MORE:
            self.catch_up_soon(connection)
        elif progress is Progress.THROTTLED:
            self._catch_up_later(connection, THROTTLE_INTERVAL)
        if connection.replay is None:
            self.on_caught_up(connection)

    def _report_gap(self, connection: Connection, window: Window) -> None:
        """Write `stream.gap` with the cursor to continue from, before any later event."""
        cursor = window.cursor if connection.offset is None else window.cursors.encode(window.epoch, connection.offset)
        log_events.stream_gap(connection, "history_trimmed")
        self._connections.reply(connection, messages.StreamGap(reason="history_trimmed", cursor=cursor))

    def on_writable(self, connection: Connection) -> None:
        """Catch up a connection whose transport has room again."""
        if not connection.catch_up_scheduled:
            self.catch_up_now(connection)

    def catch_up_soon(self, connection: Connection) -> None:
        """Queue a connection for catch-up, round robin."""
        if not connection.catch_up_scheduled:
            connection.catch_up_scheduled = True
            self._catch_ups.append(connection)
            if not self._catching_up:
                self._catching_up = True
                asyncio.get_running_loop().call_soon(self._run_catch_ups)

    def _run_catch_ups(self) -> None:
        """Catch up the queued connections, one batch each, within the budget of one loop iteration."""
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
        # One per connection, or each `on_writable` would add another.
        if not connection.catch_up_scheduled:
            connection.catch_up_scheduled = True
            asyncio.get_running_loop().call_later(delay, self.catch_up_now, connection)

    def catch_up_now(self, connection: Connection) -> None:
        """Run `catch_up`; a failure closes this connection only."""
        connection.catch_up_scheduled = False
        try:
            self.catch_up(connection)
        except Exception as error:
            # Else it would stay behind without a notification that events are missing.
            self._connections.fail(connection, error)
