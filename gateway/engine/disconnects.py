"""Disconnects in the turns of their tenants: a thousand clients that are reset at once delay no other tenant's work."""

import asyncio
from collections import deque
from functools import partial
from typing import Final

from gateway.core.connection import Connection
from gateway.engine.connections import Connections
from gateway.engine.delivery import Delivery

DISCONNECT_COST: Final = 25
"""Microseconds that it takes to forget a connection."""

AT_ONCE: Final = 20
"""Connections that are forgotten in one turn."""


class Disconnects:
    """Ends connections whose clients have gone. Each counts as closed at once, and gets nothing more; where other work
    waits it is forgotten later, in a turn of its tenant: until then it is in its rooms, and of its user.

    Memory is O(connections that are to be forgotten).
    """

    def __init__(self, connections: Connections, delivery: Delivery) -> None:
        self._connections = connections
        self._delivery = delivery
        self._shares = connections.shares
        self._waiting: dict[str, deque[Connection]] = {}

    def end(self, connection: Connection) -> None:
        """End a connection; idempotent."""
        if self._connections.detach(connection):
            try:
                self._connections.admission.release(connection)
            finally:
                self._forget_in_turn(connection)

    def _forget_in_turn(self, connection: Connection) -> None:
        tenant = connection.identity.tenant
        waiting = self._waiting.get(tenant)
        if waiting is None:
            if self._shares.take(tenant, DISCONNECT_COST):
                self._connections.forget(connection)
                return
            waiting = self._waiting[tenant] = deque()
            self._submit(tenant)
        connection.note_close(None, "")  # what it has not acknowledged, while its transport can be asked
        self._delivery.abandon(connection, connection.rooms)
        waiting.append(connection)

    async def settle(self, tenant: str, until: float) -> None:
        """Return once all of the tenant's connections that have ended are forgotten, or at the time `until`."""
        while tenant in self._waiting and self._connections.timer() < until:  # noqa: ASYNC110 - a few iterations
            await asyncio.sleep(0)

    def finish(self) -> None:
        """Forget all of them now."""
        while self._waiting:
            _, waiting = self._waiting.popitem()
            for connection in waiting:
                self._connections.forget(connection)

    def _submit(self, tenant: str) -> None:
        # Before the tenant's other work: handshakes of the same users come after it.
        self._shares.submit(tenant, partial(self._forget_some, tenant), DISCONNECT_COST * AT_ONCE, urgent=True)

    def _forget_some(self, tenant: str) -> None:
        waiting = self._waiting.get(tenant)
        if waiting is None:  # finished meanwhile
            return
        try:
            for _ in range(min(len(waiting), AT_ONCE)):
                self._connections.forget(waiting.popleft())
        finally:
            if waiting:
                self._submit(tenant)
            else:
                del self._waiting[tenant]
