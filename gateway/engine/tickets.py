"""One-time tickets: for a browser that should not put its token into a URL."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from auth.errors import AuthError, TokenInvalid
from gateway.core.cluster import Cluster
from gateway.core.connect_request import ConnectRequest
from gateway.core.credentials import Secrets, require_single_token
from gateway.core.errors import GatewayError, LogUnavailable
from gateway.core.ticket_seal import BYTES, is_ticket, name_of, seal, unseal
from gateway.engine.connections import Connections
from gateway.engine.drain import Drain
from gateway.engine.tasks import TaskSet

TICKET_SECONDS: Final = 30

_KEPT: Final = "ticket:"


class Tickets:
    """A ticket stands for the token that it was asked for with, once and on any node. The token is judged when the
    ticket is used, as it would be by itself: it may have been revoked, have expired, or its key be gone.
    """

    def __init__(self, connections: Connections, drain: Drain, nodes: Cluster, tasks: TaskSet) -> None:
        self._connections = connections
        self._drain = drain
        self._nodes = nodes
        self._tasks = tasks

    async def issue(self, token: str) -> str:
        """A ticket for a token that has been verified. Raises `LogUnavailable`."""
        ticket = secrets.token_urlsafe(BYTES)
        try:
            await self._nodes.keep(_KEPT + name_of(ticket), seal(ticket, token), TICKET_SECONDS)
        except LogUnavailable:
            raise LogUnavailable("tickets cannot be kept now: ask again, or connect with the token") from None
        return ticket

    def redeem(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> None:
        """Call `then` once, now or later, with a handshake that has a token in its ticket's place, or why not."""
        try:
            # Before anything is looked up: it costs a round trip, and the ticket.
            self._drain.refuse()
            self._connections.check_address(handshake.address)
            ticket = require_single_token(handshake.tickets)
        except (AuthError, GatewayError) as error:
            then(replace(handshake, admitted=True, failure=error))
        else:
            self._tasks.spawn(self._redeem(handshake, ticket, then))

    async def _redeem(self, handshake: ConnectRequest, ticket: str, then: Callable[[ConnectRequest], object]) -> None:
        # Also where this is cancelled: the handshake waits for it.
        answer = replace(
            handshake, admitted=True, failure=LogUnavailable("tickets cannot be looked up now: come back with another")
        )
        try:
            token = await self._take(ticket)
            # A token that came beside it has to be the same one.
            answer = replace(answer, tokens=Secrets((*handshake.tokens, token)), failure=None)
        except TokenInvalid as error:
            answer = replace(answer, failure=error)
        except LogUnavailable:
            pass
        finally:
            then(answer)

    async def _take(self, ticket: str) -> str:
        """The token that a ticket stands for. Raises `TokenInvalid` for one that is unknown, used or too old, or whose
        stored token was changed."""
        sealed = await self._nodes.take(_KEPT + name_of(ticket)) if is_ticket(ticket) else None
        if sealed is None:
            raise TokenInvalid("ticket")
        try:
            return unseal(ticket, sealed)
        except ValueError:
            raise TokenInvalid("ticket") from None
