"""Token expiry: a client is warned before its token ends, and closed when it has ended."""

from gateway.engine.connections import Connections
from schemas import messages
from schemas.codes import CloseCode, ErrorCode
from schemas.events import rfc3339


class TokenExpiry:
    """Acts on the expirations that `connections` schedules."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def sweep(self, now: float) -> None:
        """Warn the clients whose token ends soon and close those whose token has ended; `now` in seconds since the
        epoch."""
        connections, expirations = self._connections, self._connections.expirations
        for connection in expirations.due(now):
            expires_at = connection.identity.expires_at
            if expires_at <= now:
                connections.close(connection, CloseCode.UNAUTHENTICATED, ErrorCode.TOKEN_EXPIRED)
            elif not connection.established:  # nothing comes before its first frame
                expirations.set(connection, min(now + 1, expires_at))
            else:
                expirations.set(connection, expires_at)
                connections.reply(connection, messages.TokenExpiring(expires_at=rfc3339(expires_at)))
