"""Log status: notifies clients when their log is reset, degraded or restored."""

from gateway.core.connection import Connection
from gateway.core.connection_record import record_reset
from gateway.core.log import Log
from gateway.engine.connections import Connections
from gateway.engine.delivery import Delivery
from gateway.telemetry import log_events
from schemas import messages
from schemas.events import rfc3339


class LogStatusNotifier:
    """Notifies the established connections of a tenant, or of all tenants."""

    def __init__(self, connections: Connections, delivery: Delivery, log: Log) -> None:
        self._connections = connections
        self._delivery = delivery
        self._log = log
        self._degraded_since: float | None = None

    def on_reset(self, tenant: str) -> None:
        """Notify a tenant's clients that its log was reset: cursors of the old epoch are void."""
        self._delivery.flush(tenant)
        window = self._log.window(tenant)
        for connection in self._established(tenant):
            log_events.stream_gap(connection, "log_reset")
            record_reset(connection, window.head, self._connections.clock())
            connection.jump_to_head(window.head)
            self._connections.reply(connection, messages.StreamGap(reason="log_reset", cursor=window.cursor))
            self._delivery.on_caught_up(connection)

    def on_skip(self, tenant: str, after: int) -> None:
        """Handle the loss of undelivered entries after the offset `after`: live connections fall behind there, and get
        `stream.gap` if one of the entries was of their rooms."""
        self._delivery.flush(tenant)
        window = self._log.window(tenant)
        for connection in self._established(tenant):
            if connection.live:
                connection.fall_behind(after)
                if window.has_lost(connection.rooms, after):
                    self._delivery.catch_up_now(connection)  # what comes next is not lost
                else:
                    # When all of it is here: of superseded entries only the newest versions are there.
                    self._delivery.catch_up_soon(connection)

    def _established(self, tenant: str) -> list[Connection]:
        connections = self._connections.manager.of(tenant).connections.values()
        return [connection for connection in connections if connection.established]

    def on_degraded(self, degraded: bool) -> None:
        """Notify all clients that the log is unavailable (`stream.degraded`) or restored; their sockets stay open."""
        began = self._connections.clock() if self._degraded_since is None else self._degraded_since
        self._degraded_since = began if degraded else None
        kind = messages.StreamDegraded if degraded else messages.StreamRestored
        for connection in list(self._connections.manager.connections()):
            if connection.established:
                self._connections.reply(connection, kind(since=rfc3339(began)))

    def send_current(self, connection: Connection) -> None:
        """Write the current status to a new client."""
        if self._degraded_since is not None:
            self._connections.reply(connection, messages.StreamDegraded(since=rfc3339(self._degraded_since)))
