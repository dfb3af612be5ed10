"""Tokens that end while their clients are connected: a client is told a while before, and closed then."""

from math import ceil
from typing import Final

from gateway.core.connection import Connection
from gateway.core.timer_wheel import TimerWheel
from gateway.engine.house import House
from schemas import messages
from schemas.codes import CloseCode, ErrorCode
from schemas.events import rfc3339

LEAD: Final = 60.0
"""Seconds before the end at which a client is told, or a quarter of its token's life where that is less."""


class TokenExpiry:
    """Looks after the tokens of the connections of `house`."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._agenda: TimerWheel[Connection] = TimerWheel()

    def watch(self, connection: Connection) -> None:
        """Keep an eye on a connection that has come, or that has shown another token."""
        identity = connection.identity
        # A second at least, which is what the agenda tells apart.
        lead = ceil(min(LEAD, (identity.expires_at - identity.issued_at) / 4))
        self._agenda.set(connection, identity.expires_at - lead)

    def forget(self, connection: Connection) -> None:
        self._agenda.forget(connection)

    def look(self, now: float) -> None:
        """Tell those whose token ends soon, and close those whose token has; `now` in seconds since the epoch."""
        for connection in self._agenda.due(now):
            expires_at = connection.identity.expires_at
            if expires_at <= now:
                self._house.close(connection, CloseCode.UNAUTHENTICATED, ErrorCode.TOKEN_EXPIRED)
            elif not connection.begun:  # nothing comes before its first frame
                self._agenda.set(connection, min(now + 1, expires_at))
            else:
                self._agenda.set(connection, expires_at)
                self._house.reply(connection, messages.TokenExpiring(expires_at=rfc3339(expires_at)))
