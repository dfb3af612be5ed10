"""What befalls a log, told to the clients that follow it."""

from collections.abc import Callable

from gateway.core.catch_up import go_to_head
from gateway.core.connection import Connection
from gateway.core.window import Gap
from gateway.engine.house import House
from schemas import messages
from schemas.events import rfc3339


class LogStatusNotifier:
    """A `Watcher`. `on_replayed` is told of connections whose replay was lost."""

    def __init__(self, house: House, on_replayed: Callable[[Connection], None]) -> None:
        self._house = house
        self._on_replayed = on_replayed
        self._degraded_since: float | None = None

    def on_reset(self, tenant: str, reason: Gap) -> None:
        """The tenant's log began anew: places in the old one mean nothing, and everybody is told."""
        house = self._house
        house.delivery.flush()
        window = house.log.window(tenant)
        for connection in list(house.manager.of(tenant).connections.values()):
            if connection.begun:
                go_to_head(connection, window)
                house.reply(connection, messages.StreamGap(reason=reason, cursor=window.cursor))
                self._on_replayed(connection)

    def on_degraded(self, degraded: bool) -> None:
        """The log does not answer: sockets stay, and their clients are told that what they see may be old."""
        began = self._house.clock() if self._degraded_since is None else self._degraded_since
        self._degraded_since = began if degraded else None
        kind = messages.StreamDegraded if degraded else messages.StreamRestored
        for connection in list(self._house.manager.connections()):
            if connection.begun:
                self._house.reply(connection, kind(since=rfc3339(began)))

    def greet(self, connection: Connection) -> None:
        """A client that has come meanwhile is told what the others were."""
        if self._degraded_since is not None:
            self._house.reply(connection, messages.StreamDegraded(since=rfc3339(self._degraded_since)))
