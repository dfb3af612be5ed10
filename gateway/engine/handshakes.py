"""Handshakes in the turns of their tenants: a thousand clients that connect at once delay no other tenant's work."""

from collections.abc import Callable
from functools import partial
from typing import Final

from auth.claims import claimed_tenant
from gateway.core.connect_request import ConnectRequest
from gateway.engine.authentication import Authentication
from gateway.engine.fair_share import FairShare

HANDSHAKE_COST: Final = 100
"""Microseconds of a handshake with a token, without what is owed to the client."""


class Handshakes:
    """Resolves handshakes, at once or in a turn of the tenant that the token names; of the address where it names none.
    A token with the name of another tenant gets that one's place in the queue, and is refused there."""

    def __init__(self, authentication: Authentication, shares: FairShare) -> None:
        self._authentication = authentication
        self._shares = shares

    def resolve(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> bool:
        """Whether the handshake has to wait, for its turn or for its authentication: then `then` is called once, after
        this has returned, with the request to connect with."""
        if self._shares.free:  # the usual case
            self._shares.charge(HANDSHAKE_COST)
            return self._authentication.resolve(handshake, then)
        tenant = (claimed_tenant(handshake.tokens[0]) if handshake.tokens else "") or f"@{handshake.address}"
        if self._shares.take(tenant, HANDSHAKE_COST):
            return self._authentication.resolve(handshake, then)
        self._shares.submit(tenant, partial(self._resolve, handshake, then), HANDSHAKE_COST)
        return True

    def _resolve(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> None:
        if not self._authentication.resolve(handshake, then):
            then(handshake)
