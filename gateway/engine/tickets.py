"""One-time tickets: a credential for a browser's URL in place of a token."""

import secrets
from typing import Final

from auth.errors import TokenInvalid
from gateway.core.cluster import Cluster
from gateway.core.errors import LogUnavailable
from gateway.core.ticket_seal import BYTES, is_ticket, name_of, seal, unseal

TICKET_SECONDS: Final = 30

_KEPT: Final = "ticket:"


class Tickets:
    """A ticket stands for a token, once and on any node. The token is verified when the ticket is redeemed: it may have
    been revoked or expired since, or its key removed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def issue(self, token: str) -> str:
        """A ticket for a verified token. Raises `LogUnavailable`."""
        ticket = secrets.token_urlsafe(BYTES)
        try:
            await self._cluster.put_once(_KEPT + name_of(ticket), seal(ticket, token), TICKET_SECONDS)
        except LogUnavailable:
            raise LogUnavailable("tickets cannot be stored now: try again, or connect with the token") from None
        return ticket

    async def redeem(self, ticket: str) -> str:
        """The token of a ticket. Raises `TokenInvalid` for one that is unknown, used, expired or tampered with;
        `LogUnavailable`."""
        try:
            sealed = await self._cluster.pop(_KEPT + name_of(ticket)) if is_ticket(ticket) else None
        except LogUnavailable:
            raise LogUnavailable("tickets cannot be redeemed now: get another one and connect again") from None
        if sealed is None:
            raise TokenInvalid("ticket")
        try:
            return unseal(ticket, sealed)
        except ValueError:
            raise TokenInvalid("ticket") from None
