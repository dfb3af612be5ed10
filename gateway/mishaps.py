"""What befalls a log, told to the clients that follow it."""

from collections.abc import Callable
from typing import Protocol

from gateway.core.connection import Connection
from gateway.core.delivery import go_to_head
from gateway.core.log import Log
from gateway.core.manager import ConnectionManager
from gateway.core.window import Gap
from gateway.delivery import Delivery
from schemas import messages
from schemas.events import rfc3339


class Clients(Protocol):
    """What is needed of the gateway that they belong to."""

    log: Log
    manager: ConnectionManager
    delivery: Delivery

    def reply(self, connection: Connection, message: messages.Message, id: str | int | None = None) -> None: ...


class Mishaps:
    """A `Watcher`. `clock` is seconds since the epoch; `on_replayed` is told of connections whose replay was lost."""

    def __init__(self, clients: Clients, clock: Callable[[], float], on_replayed: Callable[[Connection], None]) -> None:
        self._clients = clients
        self._clock = clock
        self._on_replayed = on_replayed
        self._degraded_since: float | None = None

    def on_reset(self, tenant: str, reason: Gap) -> None:
        """The tenant's log began anew: places in the old one mean nothing, and everybody is told."""
        clients = self._clients
        clients.delivery.flush()
        window = clients.log.window(tenant)
        for connection in list(clients.manager.of(tenant).connections.values()):
            if connection.begun:
                go_to_head(connection, window)
                clients.reply(connection, messages.StreamGap(reason=reason, cursor=window.cursor))
                self._on_replayed(connection)

    def on_degraded(self, degraded: bool) -> None:
        """The log does not answer: sockets stay, and their clients are told that what they see may be old."""
        began = self._clock() if self._degraded_since is None else self._degraded_since
        self._degraded_since = began if degraded else None
        kind = messages.StreamDegraded if degraded else messages.StreamRestored
        for connection in list(self._clients.manager.connections()):
            if connection.begun:
                self._clients.reply(connection, kind(since=rfc3339(began)))

    def greet(self, connection: Connection) -> None:
        """A client that has come meanwhile is told what the others were."""
        if self._degraded_since is not None:
            self._clients.reply(connection, messages.StreamDegraded(since=rfc3339(self._degraded_since)))
