"""One-time tickets: for a browser that should not put its token into a URL."""

import secrets
from typing import Final

from auth.errors import TokenInvalid
from gateway.core.cluster import Cluster
from gateway.core.errors import LogUnavailable
from gateway.core.ticket_seal import BYTES, is_ticket, name_of, seal, unseal

TICKET_SECONDS: Final = 30

_KEPT: Final = "ticket:"


class Tickets:
    """A ticket stands for the token that it was asked for with, once and on any node. The token is judged when the
    ticket is used, as it would be by itself: it may have been revoked, have expired, or its key be gone.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def issue(self, token: str) -> str:
        """A ticket for a token that has been verified. Raises `LogUnavailable`."""
        ticket = secrets.token_urlsafe(BYTES)
        try:
            await self._cluster.put_once(_KEPT + name_of(ticket), seal(ticket, token), TICKET_SECONDS)
        except LogUnavailable:
            raise LogUnavailable("tickets cannot be kept now: ask again, or connect with the token") from None
        return ticket

    async def redeem(self, ticket: str) -> str:
        """The token that a ticket stands for. Raises `TokenInvalid` for one that is unknown, used or too old, or whose
        stored token was changed; `LogUnavailable`."""
        try:
            sealed = await self._cluster.pop(_KEPT + name_of(ticket)) if is_ticket(ticket) else None
        except LogUnavailable:
            raise LogUnavailable("tickets cannot be looked up now: come back with another") from None
        if sealed is None:
            raise TokenInvalid("ticket")
        try:
            return unseal(ticket, sealed)
        except ValueError:
            raise TokenInvalid("ticket") from None
