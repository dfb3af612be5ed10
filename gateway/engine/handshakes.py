"""Handshakes in the turns of their tenants: a thousand clients that connect at once delay no other tenant's work."""

from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.core.connect_request import ConnectRequest
from gateway.core.credentials import Secrets
from gateway.engine.authentication import Authentication
from gateway.engine.fair_share import FairShare

HANDSHAKE_COST: Final = 200
"""Microseconds of a handshake with a token, at least; without what is owed to the client."""

ACCEPT_COST: Final = 100
"""Microseconds of a transport for an accepted connection."""


class Handshakes:
    """Resolves handshakes, at once or in a turn of the tenant of their token; of the address where it has none. So
    forged tokens lengthen the queues of their senders."""

    def __init__(self, authentication: Authentication, shares: FairShare) -> None:
        self._authentication = authentication
        self._shares = shares
        self._in_turn = False

    @property
    def busy(self) -> bool:
        """Whether a handshake has to wait."""
        return not self._shares.free

    def accept(self, queue: str, connect: Callable[[], object]) -> None:
        """Call `connect`, which makes a transport for a handshake of the queue."""
        if self._shares.take(queue, ACCEPT_COST):
            connect()
        else:
            self._shares.submit(queue, connect, ACCEPT_COST)

    def queue(self, queue: str, begin: Callable[[], bool], accepted: bool = False) -> None:
        """Call `begin`, which resolves a handshake of the queue without a further wait, or returns False where the
        client has gone: that costs nothing."""
        if self._shares.take(queue, HANDSHAKE_COST):
            self._begin(begin, 0)
        else:
            self._shares.submit(queue, partial(self._begin, begin, HANDSHAKE_COST), urgent=accepted)

    def _begin(self, begin: Callable[[], bool], cost: int) -> None:
        self._in_turn = True
        try:
            if begin():
                self._shares.charge(cost)
        finally:
            self._in_turn = False

    def resolve(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> bool:
        """Whether the handshake has to wait, for its turn or for its authentication: then `then` is called once, after
        this has returned, with the request to connect with."""
        if self._in_turn:
            return self._authentication.resolve(handshake, then)
        if self._shares.free:  # the usual case
            self._shares.charge(HANDSHAKE_COST)
            return self._authentication.resolve(handshake, then)
        tenant = self.queue_of(handshake.tokens, handshake.address)
        if self._shares.take(tenant, HANDSHAKE_COST):
            return self._authentication.resolve(handshake, then)
        self._shares.submit(tenant, partial(self._resolve, handshake, then), HANDSHAKE_COST)
        return True

    def _resolve(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> None:
        if not self._authentication.resolve(handshake, then):
            then(handshake)

    def queue_of(self, tokens: Secrets, address: str) -> str:
        """The tenant of the first token, or the address: forged tokens wait there."""
        return (self._authentication.tenant_of(tokens[0]) if tokens else "") or f"@{address}"
