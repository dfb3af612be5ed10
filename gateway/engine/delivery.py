"""Delivery on the event loop: what was appended in a turn leaves together, and who is behind is caught up in turns."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from gateway.core.catch_up import BATCH_BYTES, Progress, advance, skip
from gateway.core.connection import Connection
from gateway.core.frame import Batch
from gateway.core.log import Log, Removal
from gateway.core.manager import ConnectionManager, OnFailure, WriteAll
from gateway.core.removal import removal_in
from gateway.core.window import Entry

PACE: Final = 0.05
"""Seconds between two batches to a connection that is over its rate of events."""

DEAR: Final = 0.000_25
"""Seconds of a fan-out that is worth a look at whether more comes: one more turn of the loop, some 10 us."""

GATHER: Final = 0.005
"""Seconds after which events wait for no more; and never longer than the fan-out before took."""

TURN: Final = 0.005
"""Seconds of one turn of the loop for those who are behind: after a restart all of them are, and together they would
hold up the others for a second."""


def write_each(batch: Batch, direct: Mapping[int, Connection]) -> None:
    """Write a batch to one connection after the other, each by its transport."""
    for connection in direct.values():
        connection.write(batch)


class Delivery:
    """Follows the logs. `timer` is seconds of a clock that never goes back; `on_gap` tells a connection that the log no
    longer reached back to its place, before anything later is written; `on_replayed` is told at the end of a replay;
    `on_removal` of a user who was removed from a room at a time, before anything later is delivered; `on_failure` of a
    connection that could not be given what is its own.

    `write_all` is how a batch leaves for many; it may be replaced.
    """

    def __init__(
        self,
        manager: ConnectionManager,
        log: Log,
        timer: Callable[[], float],
        on_gap: Callable[[Connection], None],
        on_replayed: Callable[[Connection], None],
        on_removal: Callable[[str, Removal, float], object],
        on_failure: OnFailure,
    ) -> None:
        self._manager = manager
        self._log = log
        self._timer = timer
        self._on_gap = on_gap
        self._on_replayed = on_replayed
        self._on_removal = on_removal
        self._on_failure = on_failure
        self.write_all: WriteAll = write_each
        self._pending: dict[str, list[Entry]] = {}
        self._pending_bytes = 0
        self._pending_since = 0.0
        self._awaits_end_of_turn = False
        self._grew = False
        self._took = 0.0
        self._turns: deque[Connection] = deque()
        self._taking_turns = False
        log.attach(self._on_appended)

    def _on_appended(self, tenant: str, entry: Entry) -> None:
        """A new entry: it is delivered at the end of this turn of the loop, with what else comes in it."""
        if self._manager.of(tenant).connections:
            self._grew = True
            if not self._pending:
                self._pending_since = self._timer()
            if not self._awaits_end_of_turn:
                self._awaits_end_of_turn = True
                asyncio.get_running_loop().call_soon(self._end_of_turn)
            self._pending.setdefault(tenant, []).append(entry)
            self._pending_bytes += len(entry.frame)
            if self._pending_bytes >= BATCH_BYTES:
                self.flush()
        removal = removal_in(entry)
        if removal is not None:
            self._on_removal(tenant, removal, entry.at)

    def _end_of_turn(self) -> None:
        """Deliver what is pending; or, where that is dear and this turn brought something, wait for what the next one
        brings: under load the events of several turns leave in one write."""
        if self._grew and self._took > DEAR and self._timer() - self._pending_since < min(self._took, GATHER):
            self._grew = False
            asyncio.get_running_loop().call_soon(self._end_of_turn)
        else:
            self._awaits_end_of_turn = False
            self.flush()

    def flush(self) -> None:
        """Deliver what is pending. Before every change of the index, so that an event reaches who was there for it."""
        if not self._pending:
            return
        pending, self._pending, self._pending_bytes = self._pending, {}, 0
        now = self._timer()
        for tenant, entries in pending.items():
            for connection in self._manager.deliver(tenant, entries, now, self.write_all, self._on_failure):
                self._later(connection, PACE)
        # What a large room took is not forgotten over a small one.
        self._took = max(self._timer() - now, self._took / 2)

    def catch_up(self, connection: Connection) -> None:
        """Write to a connection that is behind what its transport and its rate allow now, and see to the rest."""
        self.flush()
        if connection.id not in self._manager.of(connection.identity.tenant).connections:
            return
        window = self._log.window(connection.identity.tenant)
        progress = advance(connection, window, self._timer())
        if progress is Progress.GAP:
            skip(connection, window)
            self._on_gap(connection)
            if not connection.live:  # what was lost is a replay's: the rest is still to come
                self._later(connection, 0)
        elif progress is Progress.MORE:
            self._soon(connection)
        elif progress is Progress.THROTTLED:
            self._later(connection, PACE)
        if connection.replay is None:
            self._on_replayed(connection)

    def drained(self, connection: Connection) -> None:
        """The connection's transport was full and is not any more."""
        if not connection.awaits_turn:
            self._take_turn(connection)

    def _soon(self, connection: Connection) -> None:
        if not connection.awaits_turn:
            connection.awaits_turn = True
            self._turns.append(connection)
            if not self._taking_turns:
                self._taking_turns = True
                asyncio.get_running_loop().call_soon(self._take_turns)

    def _take_turns(self) -> None:
        """Catch up those who wait for it, one batch each, for as long as a turn of the loop may take."""
        ends = self._timer() + TURN
        try:
            for _ in range(len(self._turns)):
                self._take_turn(self._turns.popleft())
                if self._timer() >= ends:
                    break
        finally:  # a fault of one must not hold up the others for ever
            self._taking_turns = bool(self._turns)
            if self._taking_turns:
                asyncio.get_running_loop().call_soon(self._take_turns)

    def _later(self, connection: Connection, delay: float) -> None:
        # One at a time for each connection, or every time its transport drains would add another.
        if not connection.awaits_turn:
            connection.awaits_turn = True
            asyncio.get_running_loop().call_later(delay, self._take_turn, connection)

    def _take_turn(self, connection: Connection) -> None:
        connection.awaits_turn = False
        try:
            self.catch_up(connection)
        except Exception as error:
            # It would wait for ever, and never be told that something is missing.
            self._on_failure(connection, error)
