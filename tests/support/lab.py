"""A gateway without sockets: clients are transports that keep what is written, and time passes when the test says."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from auth.tokens import IssuedToken
from gateway.core.connect_request import read_connect_request
from gateway.core.connection import Connection
from gateway.core.credentials import Secrets
from gateway.service.factory import Service, create_service
from tests.support import tokens
from tests.support.settings import settings_for
from tests.support.transports import FakeTransport


class GatewayLab:
    """A gateway whose clock stands until it is moved."""

    def __init__(self, timer: Callable[[], float] = time.monotonic, **settings: Any) -> None:
        self.now = float(int(time.time()))
        chosen = settings_for(**{"commands_per_second": 0, **settings})
        self.service: Service = create_service(chosen, clock=lambda: self.now, timer=timer)
        self.gateway = self.service.gateway

    def issue(self, user_id: str = "ada", tenant: str = "acme", *args: Any, **more: Any) -> IssuedToken:
        """A token as `tokens.issue` makes it, issued now."""
        cutoff = self.gateway.administration.newest_cutoff(tenant, user_id)
        given = {"now": self.now, "issuer": self.service.issuer, "cutoff": cutoff, **more}
        return tokens.issue(user_id, tenant, *args, **given)

    def token(self, *args: Any, **more: Any) -> str:
        return self.issue(*args, **more).access_token

    def connect(self, token: str, capacity: int | None = None, **query: str) -> tuple[Connection | None, FakeTransport]:
        """A client with this token, whose transport is full after `capacity` frames; None where it is refused."""
        transport = FakeTransport(capacity)
        request = read_connect_request(list(query.items()), {}, Secrets([token]), "192.0.2.1")
        return self.gateway.connect(request, transport), transport

    def join(
        self, token: str | None = None, capacity: int | None = None, **query: str
    ) -> tuple[Connection, FakeTransport]:
        connection, transport = self.connect(self.token() if token is None else token, capacity, **query)
        assert connection is not None, transport.ended
        return connection, transport

    def say(self, connection: Connection, **command: Any) -> None:
        self.gateway.receive(connection, json.dumps(command))

    async def happen(self, count: int = 1, tenant: str = "acme", circle: int | str = 7, **data: Any) -> None:
        for n in range(count):
            await self.gateway.publish(tenant, "task.created", {"n": n, **data}, circle_id=circle)

    def revoke(self, jti: str | None = None, user: str | None = None, tenant: str = "acme") -> int:
        """Revoke as `POST /admin/tokens/revoke` does."""
        revocation = self.gateway.revocation
        if jti is not None:
            return revocation.apply(revocation.cutoff("token_revoked", tenant, jti))
        if user is not None:
            return revocation.apply(revocation.cutoff("user_revoked", tenant, user))
        return revocation.apply(revocation.cutoff("tenant_revoked", tenant, ""))

    def expire(self, seconds: float) -> None:
        self.now += seconds
        self.gateway.housekeeping.sweep()

    async def settle(self) -> None:
        """Run what is due on the loop, until nothing more comes of it."""
        for _ in range(50):
            await asyncio.sleep(0)

    def nothing_left(self) -> None:
        """Every index, appointment, count and task is gone with the clients."""
        gateway = self.gateway
        for connection in list(gateway.manager.connections()):
            gateway.on_transport_closed(connection)
        for index in gateway.manager.indexes():
            assert not index.connections
            assert not index.rooms
            assert not index.users
        assert len(gateway.connections.expirations) == 0
        assert len(gateway.connections.admission.addresses) == 0
        assert not gateway.tasks
