"""Token expiry: warns clients before their token expires, and closes them when it has."""

from gateway.engine.connections import Connections
from schemas import messages
from schemas.codes import CloseCode, ErrorCode
from schemas.events import rfc3339


class TokenExpiry:
    """Handles the expirations that `connections` schedules."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def sweep(self, now: float) -> None:
        """Warn the clients whose token expires soon and close those whose token has expired; `now` in seconds since the
        epoch."""
        connections, expirations = self._connections, self._connections.expirations
        for connection in expirations.due(now):
            expires_at = connection.identity.expires_at
            if expires_at <= now:
                connections.close(connection, CloseCode.UNAUTHENTICATED, ErrorCode.TOKEN_EXPIRED)
            elif not connection.established:  # its first frame must come first
                expirations.set(connection, min(now + 1, expires_at))
            else:
                expirations.set(connection, expires_at)
                connections.reply(connection, messages.TokenExpiring(expires_at=rfc3339(expires_at)))
