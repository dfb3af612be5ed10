"""Authentication beyond a handshake's token: of HTTP requests, by the application, and by ticket."""

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
    """Finds out whose a request is; and whose a handshake is, where its token alone does not say."""

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

    async def identify(self, request: ClientRequest) -> Identity | None:
        """The identity that the application gives a request, None where it knows none. Raises `AuthError`,
        `ApplicationFailed`."""
        session = await self._access.authenticate(request)
        if session is None:
            return None
        connections = self._connections
        verifier, now = connections.verifier, connections.clock()
        try:
            identity = session.identity(connections.kinds, now, verifier.max_lifetime, verifier.max_admin_lifetime)
        except (ValueError, TypeError, AuthError) as error:
            raise self._access.failure("authenticate", error) from None
        if session.issued_at is None:
            # As of now: it ends with the next revocation, and not with an earlier one although that be placed later.
            cutoff = connections.revocations.newest_cutoff(identity.tenant, identity.user_id)
            identity = replace(identity, cutoff=cutoff)
        return connections.revalidate(identity)

    def resolve(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> bool:
        """Whether a handshake has to wait until its client is known: `then` is called once, after this has returned,
        with the one to connect with in its place."""
        if handshake.failure is not None or not (handshake.tickets or self.asks_application):
            return False
        self._tasks.spawn(self._resolve(handshake, then))
        return True

    async def _resolve(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> None:
        # Also where this is cancelled: the handshake waits for it.
        answer = replace(handshake, admitted=True, failure=LogUnavailable("this node stops: come back"))
        try:
            # Before anything is looked up: it costs the application or a round trip, and the ticket.
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
        # A token that came beside it has to be the same one.
        return replace(handshake, tokens=Secrets((*handshake.tokens, token)))
