"""The client of the isolation canary in one of its tenants: a connection without a socket."""

import asyncio
import json
from typing import Final

from auth.grants import Grants
from auth.identity import Identity
from gateway.core.canary import CanaryJudge
from gateway.core.connect_request import ConnectRequest
from gateway.core.connection import Connection
from gateway.core.credentials import NO_SECRETS
from gateway.core.errors import GatewayError
from gateway.core.frame import Batch
from gateway.core.transport import Kind
from gateway.engine.gateway import Gateway
from schemas.codes import CloseCode
from schemas.commands import Subscribe
from schemas.rooms import TENANT_ROOM

_EVENT: Final = "gateway.canary"
_NAME: Final = "canary"
"""The user, and the id of the room. They are the same in both tenants: a leak by the name of a room shows."""

_LIFETIME: Final = 10 * 366 * 86_400


class CanaryClient:
    """The client of one canary tenant: a transport in this process, whose frames are judged as they are written."""

    fd: int | None = None
    kind: Kind = "websocket"
    pings = False
    unacknowledged: int | None = None

    def __init__(self, tenant: str, source: str, gateway: Gateway) -> None:
        self.judge = CanaryJudge(tenant, source)
        self.tenant = tenant
        self._source = source
        self._connections = connections = gateway.connections
        self._subscriptions = gateway.subscriptions
        self._publishing = gateway.publishing
        self._marks = gateway.marks
        kinds = connections.kinds
        self._route = kinds.route_of(_NAME, {kinds.fields[0]: _NAME})
        rooms = (TENANT_ROOM, f"{kinds.names[0]}:{_NAME}")
        self._rooms = rooms[: connections.limits.rooms]
        self._connection: Connection | None = None
        self._joined = False
        self._established = asyncio.Event()
        self._arrived = asyncio.Event()

    async def publish(self) -> None:
        """Publish the event of a check, and wait until it has arrived."""
        self._arrived.clear()
        data = self.judge.begin(self._connections.timer())
        try:
            if not self._joined:
                await self._connect()
            await self._publishing.append_probe(self.tenant, _EVENT, data, self._route, self._source)
        except GatewayError as error:
            self.judge.note("unavailable", str(error))
        else:
            self.judge.accept()
            await self._arrived.wait()

    def is_complete(self) -> bool:
        """Whether everything in the log was written to the connection, as its mark would say."""
        return self._connection is not None and self._marks.pong(self._connection).cursor is not None

    def leave(self) -> None:
        """Disconnect."""
        connection, self._connection, self._joined = self._connection, None, False
        if connection is not None:
            self._connections.remove(connection)

    async def _connect(self) -> None:
        self.leave()
        now = int(self._connections.clock())
        grants = Grants.parse(self._rooms, self._connections.kinds)
        scopes = frozenset({"subscribe"})
        identity = Identity(_NAME, self.tenant, grants, scopes, token_id="", issued_at=now, expires_at=now + _LIFETIME)
        request = ConnectRequest(NO_SECRETS, _NAME, (), None, None, _NAME, identity=identity, admitted=True)
        self._established.clear()
        self.judge.forget()
        self._connection = connection = self._connections.open(request, self)
        self._subscriptions.begin(connection, request)
        await self._established.wait()
        if self._connection is connection:  # not closed meanwhile
            self._subscriptions.change_rooms(connection, Subscribe(type="subscribe", rooms=list(self._rooms)))
            self._joined = True

    # ---- the transport

    def write(self, batch: Batch) -> bool:
        connection = self._connection
        for frame in batch.frames if connection is not None else ():
            message = json.loads(frame.payload)
            if "event_id" in message:
                self.judge.receive(message, self._connections.timer(), connection is not None and connection.live)
                if self.judge.seconds is not None:
                    self._arrived.set()
            elif message.get("type") == "connection.established":
                self._established.set()
            elif message.get("type") == "stream.gap":
                self.judge.forget()
                self.judge.note("unavailable", f"the log has reported a gap, {message['data']['reason']}")
        return True

    def close(self, code: int, reason: str) -> None:
        if self._connection is not None:
            self._connection, self._joined = None, False
            self._established.set()
            self._arrived.set()  # nothing more will
            self.judge.note("unavailable" if code == CloseCode.TRY_AGAIN_LATER else "closed", f"{code} {reason}")

    def abort(self) -> None:
        self.close(CloseCode.INTERNAL_ERROR, "aborted")
