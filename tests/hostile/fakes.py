"""A gateway without sockets: clients are transports that keep what is written, and time passes when the test says."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from gateway.core.connect_request import read_connect_request
from gateway.core.connection import Connection
from gateway.core.credentials import Secrets
from gateway.core.frame import Batch
from gateway.service.factory import Service, create_service
from tests.support import settings_for


class Tape:
    """A `Transport` that writes down what it is given. It is full after `room` frames, until it is told to drain."""

    fd = None
    pings = True

    def __init__(self, room: int | None = None) -> None:
        self.frames: list[dict[str, Any]] = []
        self.room = room
        self.ended: tuple[int, str] | None = None
        self.late = 0

    def write(self, batch: Batch) -> bool:
        if self.ended is not None:
            self.late += len(batch.frames)
            return True
        self.frames += [json.loads(frame.payload) for frame in batch.frames]
        return self.room is None or len(self.frames) < self.room

    def close(self, code: int, reason: str) -> None:
        self.ended = self.ended or (int(code), str(reason))

    def abort(self) -> None:
        self.ended = self.ended or (1006, "")

    @property
    def kinds(self) -> list[str]:
        return [frame["type"] for frame in self.frames]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if "event_id" in frame]

    def last(self, kind: str) -> dict[str, Any]:
        return next(frame for frame in reversed(self.frames) if frame["type"] == kind)


class Lab:
    """A gateway whose clock stands until it is moved."""

    def __init__(self, timer: Callable[[], float] = time.monotonic, **settings: Any) -> None:
        self.now = float(int(time.time()))
        chosen = settings_for(**{"commands_per_second": 0, **settings})
        self.service: Service = create_service(chosen, clock=lambda: self.now, timer=timer)
        self.gateway = self.service.gateway

    def token(
        self,
        user: str = "ada",
        tenant: str = "acme",
        rooms: Iterable[str] = ("circle:*", "project:*", "tenant"),
        scope: str = "subscribe publish",
        expires_in: int = 600,
    ) -> str:
        return self.issue(user, tenant, rooms, scope, expires_in)[0]

    def issue(
        self, user: str, tenant: str, rooms: Iterable[str], scope: str = "subscribe publish", expires_in: int = 600
    ) -> tuple[str, str]:
        """A token and its `jti`."""
        issued = self.service.issuer.issue(
            user_id=user,
            tenant=tenant,
            rooms=rooms,
            scope=scope.split(),
            expires_in=expires_in,
            now=self.now,
            cutoff=self.gateway.administration.newest_cutoff(tenant, user),
        )
        return issued.access_token, issued.token_id

    def connect(self, token: str, room: int | None = None, **query: str) -> tuple[Connection | None, Tape]:
        tape = Tape(room)
        handshake = read_connect_request(list(query.items()), {}, Secrets([token]), "192.0.2.1")
        return self.gateway.connect(handshake, tape), tape

    def join(self, token: str | None = None, room: int | None = None, **query: str) -> tuple[Connection, Tape]:
        connection, tape = self.connect(self.token() if token is None else token, room, **query)
        assert connection is not None, tape.ended
        return connection, tape

    def say(self, connection: Connection, **command: Any) -> None:
        self.gateway.receive(connection, json.dumps(command))

    async def happen(self, count: int = 1, tenant: str = "acme", circle: int | str = 7, **data: Any) -> None:
        for n in range(count):
            await self.gateway.publish(tenant, "task.created", {"n": n, **data}, circle_id=circle)

    def revoke(self, jti: str | None = None, user: str | None = None, tenant: str = "acme") -> int:
        """As `POST /admin/tokens/revoke` does."""
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
            gateway.disconnect(connection)
        for index in gateway.manager.indexes():
            assert not index.connections
            assert not index.rooms
            assert not index.users
        assert len(gateway.connections.expirations) == 0
        assert len(gateway.connections.admission.addresses) == 0
        assert not gateway.tasks
