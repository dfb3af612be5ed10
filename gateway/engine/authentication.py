"""Asynchronous authentication: clients with a ticket, or known to the application."""

from collections.abc import Callable
from dataclasses import replace

from auth.errors import AuthError
from auth.identity import Identity
from auth.verified_tokens import VerifiedTokenCache
from gateway.core.client_request import ClientRequest, client_request
from gateway.core.connect_request import ConnectRequest
from gateway.core.credentials import Secrets, require_single_token
from gateway.core.errors import GatewayError, LogUnavailable
from gateway.engine.access import Access
from gateway.engine.connections import Connections
from gateway.engine.drain import Drain
from gateway.engine.tasks import TaskSet
from gateway.engine.tickets import Tickets


class Authentication:
    """Resolves the identity of handshakes and requests that a token alone does not identify."""

    def __init__(
        self, connections: Connections, drain: Drain, tickets: Tickets, access: Access, tasks: TaskSet
    ) -> None:
        self.asks_application = access.authenticates
        self._connections = connections
        self._tokens = VerifiedTokenCache(lambda token: connections.verifier.read(token))
        self._drain = drain
        self._tickets = tickets
        self._access = access
        self._tasks = tasks

    def verify(self, token: str) -> Identity:
        """The holder of the token of an HTTP request, as of now; a client shows the same one with each. Raises
        `AuthError`."""
        return self._connections.revalidate(self._tokens.verify(token, self._connections.clock()))

    def tenant_of(self, token: str) -> str:
        """The tenant of a token for its place in a queue; "" for none, as `TokenVerifier.tenant_of` has it."""
        return self._connections.verifier.tenant_of(token)

    async def identify(self, request: ClientRequest) -> Identity | None:
        """The identity that the application gives a request, None for an unknown client. Raises `AuthError`,
        `ApplicationFailed`."""
        connections = self._connections
        # Issued at the time of the call, since the application may look before a revocation and answer after it.
        now, asked_at = connections.clock(), connections.timer()
        session = await self._access.authenticate(request)
        if session is None:
            return None
        verifier = connections.verifier
        try:
            identity = session.identity(connections.kinds, now, verifier.max_lifetime, verifier.max_admin_lifetime)
        except Exception as error:
            raise self._access.failure("authenticate", error) from None
        if session.issued_at is None:
            # Only later revocations end it, although an earlier cutoff may lie ahead of the clock.
            cutoff = connections.revocations.newest_cutoff(identity.tenant, identity.user_id, asked_at)
            identity = replace(identity, cutoff=cutoff)
        return connections.revalidate(identity)

    def resolve(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> bool:
        """Whether the handshake needs asynchronous authentication: then `then` is called once, after this has returned,
        with the request to connect with."""
        if handshake.failure is not None or not (handshake.tickets or self.asks_application):
            return False
        self._tasks.spawn(self._resolve(handshake, then))
        return True

    async def _resolve(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> None:
        # The handshake waits for an answer, also where this task is cancelled.
        answer = replace(handshake, admitted=True, failure=LogUnavailable("this node is stopping; connect again"))
        try:
            # First, since a lookup costs a call of the application or a round trip, and uses up the ticket.
            self._drain.require_admitting()
            self._connections.check_address(handshake.address)
            answer = replace(await self._known(handshake), admitted=True)
        except (AuthError, GatewayError) as error:
            answer = replace(answer, failure=error)
        finally:
            then(answer)

    async def _known(self, handshake: ConnectRequest) -> ConnectRequest:
        if self.asks_application:
            request = client_request(handshake.headers, handshake.query, handshake.address)
            if (identity := await self.identify(request)) is not None:
                return replace(handshake, identity=identity)
        if not handshake.tickets:
            return handshake
        token = await self._tickets.redeem(require_single_token(handshake.tickets))
        # A token in the same request must be the same one.
        return replace(handshake, tokens=Secrets((*handshake.tokens, token)))
