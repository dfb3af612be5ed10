"""Delivery: coalesced fan-out on the event loop, and catch-up of slow consumers, in the turns of their tenants."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from gateway.core import subscription
from gateway.core.catch_up import BATCH_BYTES, Progress, send_next_batch, skip_gap
from gateway.core.connection import Connection
from gateway.core.connection_record import record_unknown
from gateway.core.frame import Batch
from gateway.core.log import Log
from gateway.core.manager import BatchWriter
from gateway.core.metric import Histogram
from gateway.core.room_history import ChangeKind
from gateway.core.slices import RECIPIENT_COST, Slices
from gateway.core.window import Entry, Window
from gateway.engine.connections import Connections
from gateway.engine.pending_entries import PendingEntries
from gateway.telemetry import log_events
from schemas import messages
from schemas.codes import CloseCode, ErrorCode

logger = logging.getLogger("gateway")

THROTTLE_INTERVAL: Final = 0.05
"""Seconds between two batches to a connection that is over its event rate."""


def write_each(batch: Batch, by_fd: Mapping[int, Connection]) -> None:
    """The portable `BatchWriter`: writes to one connection after the other, through its transport."""
    for connection in by_fd.values():
        connection.write(batch)


class Delivery:
    """Delivers the log's entries to this node's connections, and catches up those that are behind.

    `pending` entries are not being delivered yet. `latencies` has for each fan-out the seconds from its oldest entry's
    arrival here until everything was written. `batch_writer` writes a batch to many connections. `on_caught_up` is
    called with each connection without a pending replay; the engine's upper parts set it.
    """

    def __init__(self, connections: Connections, log: Log, batch_writer: BatchWriter = write_each) -> None:
        self.on_caught_up: Callable[[Connection], object] = lambda connection: None
        self._connections = connections
        self._manager = connections.manager
        self._log = log
        self._shares = connections.shares
        self._timer = connections.timer
        self._batch_writer = batch_writer
        self.pending = PendingEntries(self._timer)
        self._slices: dict[str, Slices] = {}
        self._begun: dict[str, float] = {}  # the arrival of the oldest entry of those in slices
        self._flush_scheduled = False
        self.latencies = Histogram()

    def reset(self) -> None:
        """Drop what an earlier event loop did not deliver: its connections are closed."""
        self.flush()
        self._flush_scheduled = False

    def on_entry(self, tenant: str, entry: Entry) -> None:
        """Deliver a new entry at the end of this loop iteration, together with other entries of it; at once where other
        tenants have work that this one need not wait for."""
        if self._manager.of(tenant).connections:
            pending = self.pending
            first = pending.add(tenant, entry)
            if (first and self._shares and self._goes_ahead(tenant, entry)) or pending.bytes >= BATCH_BYTES:
                self.flush(tenant)
            else:
                self._schedule_flush()

    def _goes_ahead(self, tenant: str, entry: Entry) -> bool:
        """Whether a single entry may leave now, in less than an iteration of the others' work."""
        rooms = self._manager.of(tenant).rooms
        recipients = sum(len(rooms[room]) for room in entry.rooms if room in rooms)
        cost = recipients * (RECIPIENT_COST + len(entry.frame) // 1_000)
        return tenant not in self._slices and self._shares.take(tenant, cost)

    def _schedule_flush(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush_or_gather)

    def _flush_or_gather(self) -> None:
        """Begin to deliver the pending entries. Those of a tenant whose fan-outs are slow gather for as long as each
        iteration brings more: under load the events of several iterations leave in one write."""
        self._flush_scheduled = False
        for tenant in self.pending.tenants():
            if tenant in self._slices:
                continue  # they gather, and leave after those before them
            if self.pending.gather(tenant, self._manager.of(tenant).fan_out_seconds):
                self._schedule_flush()
                continue
            self._begin(tenant)
            # Not from this iteration's budget: what is published would leave in more and smaller fan-outs.
            self._shares.debit(tenant, self._deliver_slice(tenant))
            if tenant in self._slices:
                self._submit_slice(tenant)

    def flush(self, tenant: str | None = None) -> None:
        """Deliver the pending entries of a tenant, by default of all. Called before every change of its index, so that
        an event reaches the connections that were in its rooms when it was appended."""
        if not (self.pending or self._slices):
            return
        for each in (*self._slices, *self.pending.tenants()) if tenant is None else (tenant,):
            while each in self._slices or each in self.pending:
                if each not in self._slices:
                    self._begin(each)
                self._shares.debit(each, self._deliver_slice(each))

    def _begin(self, tenant: str) -> None:
        """Turn the pending entries of a tenant into slices of its recipients."""
        entries, self._begun[tenant] = self.pending.take(tenant)
        try:
            fan_out = self._manager.fan_out(tenant, entries)
        except Exception:
            rooms = self._manager.of(tenant).rooms
            self._close_recipients([one for entry in entries for room in entry.rooms for one in rooms.get(room, ())])
            fan_out = []
        self._slices[tenant] = Slices(fan_out)

    def _deliver_slice(self, tenant: str) -> int:
        """Deliver the first slice that is left of a tenant's; returns what it took in microseconds."""
        slices = self._slices[tenant]
        part = slices.take(self._shares.alone(tenant))
        began = self._timer()
        try:
            throttled = self._manager.deliver(tenant, part, began, self._batch_writer, self._connections.fail)
        except Exception:
            self._close_recipients([connection for _, connections in part for connection in connections])
        else:
            for connection in throttled:
                self._catch_up_later(connection, THROTTLE_INTERVAL)
        ended = self._timer()
        took = ended - began
        index = self._manager.of(tenant)
        index.fan_out_seconds = max(took, index.fan_out_seconds / 2)
        if not slices:
            del self._slices[tenant]
            self.latencies.observe(ended - self._begun.pop(tenant))
        return int(took * 1e6)

    def _submit_slice(self, tenant: str) -> None:
        # Before the tenant's other work: what it publishes waits for what it has published (backpressure).
        self._shares.submit(tenant, partial(self._next_slice, tenant), urgent=True)

    def _next_slice(self, tenant: str) -> None:
        if tenant in self._slices:  # not flushed meanwhile
            self._shares.charge(self._deliver_slice(tenant))
        if tenant in self._slices:
            self._submit_slice(tenant)
        elif tenant in self.pending:
            self._schedule_flush()

    def _close_recipients(self, recipients: Iterable[Connection]) -> None:
        """Close connections (1011): it is unknown which entries they got, and each resumes without a gap from its
        client's last event."""
        logger.exception("a fan-out failed; its recipients are closed")
        for connection in dict.fromkeys(recipients):
            self._connections.close(connection, CloseCode.INTERNAL_ERROR, ErrorCode.INTERNAL_ERROR)

    def delivered(self, tenant: str) -> int:
        """The offset up to which the tenant's log was delivered to the connections that were live."""
        if slices := self._slices.get(tenant):
            return slices.first - 1
        return self.pending.first(tenant) - 1 if tenant in self.pending else self._log.window(tenant).head

    def abandon(self, connection: Connection, rooms: Iterable[str]) -> None:
        """Deliver nothing more to a connection in `rooms`, whose client has gone: it stays where it is in the log."""
        if connection.live:
            tenant = connection.identity.tenant
            head = self.delivered(tenant)
            if tenant in self._slices:  # some of the live connections may have got what is delivered now
                record_unknown(connection, rooms, head, self._log.window(tenant).head)
            connection.fall_behind(head)

    def leave(self, connection: Connection, rooms: Sequence[str], kind: ChangeKind) -> None:
        """Leave rooms, for the reason `kind`, after the delivery of what is pending: a client still gets the events
        before."""
        self.flush(connection.identity.tenant)
        head = self._log.window(connection.identity.tenant).head
        subscription.leave(self._manager, connection, rooms, kind, head, self._connections.clock())

    def write_unlogged(self, connection: Connection, batch: Batch) -> bool:
        """Write frames without a position in the log, unless the connection is behind; returns whether they were
        written. If they fill the transport the connection falls behind, as with an event (backpressure)."""
        self.flush(
            connection.identity.tenant
        )  # pending entries come before the head, where the connection may fall behind
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
        self.flush(connection.identity.tenant)
        if not self._connections.is_open(connection):
            return
        tenant = connection.identity.tenant
        window = self._log.window(tenant)
        now = self._timer()
        progress = send_next_batch(connection, window, now, self._manager.of(tenant).delivered)
        self._shares.charge(int((self._timer() - now) * 1e6))
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
        """Catch up a connection whose transport has room again, at once or in a turn of its tenant."""
        if connection.catch_up_scheduled:
            return
        if self._shares.free:
            self.catch_up_now(connection)
        else:
            self.catch_up_soon(connection)

    def catch_up_soon(self, connection: Connection) -> None:
        """Queue a connection for catch-up in a turn of its tenant, one batch for each of its connections."""
        if not connection.catch_up_scheduled:
            connection.catch_up_scheduled = True
            self._shares.submit(connection.identity.tenant, partial(self.catch_up_now, connection))

    def _catch_up_later(self, connection: Connection, delay: float) -> None:
        # One per connection, or each `on_writable` would add another.
        if not connection.catch_up_scheduled:
            connection.catch_up_scheduled = True
            asyncio.get_running_loop().call_later(delay, self._on_due, connection)

    def _on_due(self, connection: Connection) -> None:
        connection.catch_up_scheduled = False
        self.on_writable(connection)

    def catch_up_now(self, connection: Connection) -> None:
        """Run `catch_up`; a failure closes this connection only."""
        connection.catch_up_scheduled = False
        try:
            self.catch_up(connection)
        except Exception as error:
            # Else it would stay behind without a notification that events are missing.
            self._connections.fail(connection, error)
