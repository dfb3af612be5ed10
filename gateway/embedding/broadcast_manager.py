"""The in-process broadcast manager: broadcasts to any object with `accept`, `send_json` and `close`.

For code in the same process. Its clients have no identity and get broadcasts and personal messages only, never a
tenant's events; clients of the gateway, of every tenant, get the broadcasts too.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic_core import to_json

from gateway.core.connection import Connection
from gateway.core.frame import Batch, Frame
from gateway.core.manager import TenantIndex
from gateway.engine.gateway import Gateway
from schemas.codes import CloseCode
from schemas.events import rfc3339

logger = logging.getLogger("gateway.broadcast")


class WebSocketLike(Protocol):
    """The interface of Starlette's `WebSocket` that the manager uses."""

    async def accept(self) -> Any: ...

    async def send_json(self, data: Any) -> Any: ...

    async def close(self) -> Any: ...


class BroadcastManager:
    """Clients of in-process code, and those of the attached gateway."""

    def __init__(self) -> None:
        self._gateway: Gateway | None = None
        self._local: dict[Any, dict[str, Any]] = {}
        self._dropping: set[asyncio.Task[None]] = set()
        self._local_connections = 0
        self._local_sent = 0
        self.total_broadcasts = 0

    def attach(self, gateway: Gateway) -> None:
        """Add the connections of a gateway."""
        self._gateway = gateway

    def connections(self) -> Iterator[Connection]:
        """All clients of the gateway, of every tenant."""
        return iter(()) if self._gateway is None else self._gateway.manager.clients()

    def _indexes(self) -> Iterable[TenantIndex]:
        return () if self._gateway is None else self._gateway.manager.indexes()

    # ---- one websocket

    async def connect(self, websocket: WebSocketLike, client_id: str | None = None) -> None:
        """Accept and add `websocket`."""
        await websocket.accept()
        self._local[websocket] = {
            "client_id": client_id or f"client_{id(websocket)}",
            "connected_at": datetime.now(UTC),
            "messages_sent": 0,
            "messages_received": 0,
        }
        self._local_connections += 1

    async def disconnect(self, websocket: WebSocketLike | Connection) -> None:
        """Remove `websocket`; a client of the gateway is also closed. No-op for an unknown one."""
        if isinstance(websocket, Connection):
            self._require_here()
            if self._gateway is not None and self._gateway.connections.is_open(websocket):
                self._gateway.connections.close(websocket, CloseCode.FORBIDDEN, "disconnected")
        else:
            self._local.pop(websocket, None)

    async def send_personal(self, message: Mapping[str, Any], websocket: WebSocketLike | Connection) -> bool:
        """Send to one client; after a failure the client is dropped, and the result is False."""
        if isinstance(websocket, Connection):
            self._require_here()
            return self._write(websocket, Frame(to_json(message)))
        if await self._send(websocket, message):
            return True
        await self._drop(websocket)
        return False

    # ---- all clients

    async def broadcast(self, message: Mapping[str, Any]) -> int:
        """Send to every client of this process, of every tenant; returns the number of clients that got it. Adds a
        `timestamp`.

        Publish an event of one tenant instead. A client that fails is dropped without effect on others; it is still
        listed when this returns, and gone an iteration of the loop later. Raises `WrongEventLoop` on another event loop
        than the gateway's.
        """
        self._require_here()
        message = {**message, "timestamp": message.get("timestamp") or rfc3339(time.time())}
        connections = list(self.connections())
        # Encoded for the gateway's clients only: in-process websockets encode by themselves.
        frame = Frame(to_json(message)) if connections else None
        count = sum(self._write(connection, frame) for connection in connections if frame is not None)
        websockets = list(self._local)
        results = await asyncio.gather(*(self._send(websocket, message) for websocket in websockets))
        for websocket, sent in zip(websockets, results, strict=True):
            if not sent:
                task = asyncio.create_task(self._drop(websocket))
                self._dropping.add(task)
                task.add_done_callback(self._dropping.discard)
        if websockets or count:
            self.total_broadcasts += 1
        return count + sum(results)

    async def broadcast_event(self, event_type: str, data: Mapping[str, Any]) -> int:
        """Broadcast a frame of this type; returns the number of clients that got it."""
        return await self.broadcast({"type": event_type, "data": data})

    async def ping_all(self) -> int:
        """Broadcast a `ping`; returns the number of clients that got it."""
        return await self.broadcast({"type": "ping", "data": {}})

    # ---- statistics

    @property
    def active_connections(self) -> dict[Any, dict[str, Any]]:
        """Metadata of each client, by websocket, or by `Connection` for a client of the gateway."""
        return {**self._local, **{connection: _info(connection) for connection in self.connections()}}

    @property
    def total_connections(self) -> int:
        """The number of clients since the start."""
        return self._local_connections + sum(index.connections_seen for index in self._indexes())

    @property
    def total_messages_sent(self) -> int:
        """The number of messages sent since the start."""
        return self._local_sent + sum(index.total_sent() for index in self._indexes())

    def get_client_count(self) -> int:
        return len(self._local) + sum(len(index.connections) for index in self._indexes())

    def get_stats(self) -> dict[str, Any]:
        """Counts, and `clients` with the metadata of each."""
        clients = self.active_connections.values()
        return {
            "active_connections": len(clients),
            "total_connections": self.total_connections,
            "total_messages_sent": self.total_messages_sent,
            "total_broadcasts": self.total_broadcasts,
            "clients": [{**info, "connected_at": info["connected_at"].isoformat()} for info in clients],
        }

    # ---- internals

    def _require_here(self) -> None:
        if self._gateway is not None:
            self._gateway.lifecycle.require_here()

    def _write(self, connection: Connection, frame: Frame) -> bool:
        # Not in the log: a client that is behind misses it.
        return self._gateway is not None and self._gateway.delivery.write_unlogged(connection, Batch((frame,)))

    async def _send(self, websocket: WebSocketLike, message: Mapping[str, Any]) -> bool:
        try:
            await websocket.send_json(message)
        except Exception as error:
            logger.info("a websocket failed and is dropped: %s", type(error).__name__)
            return False
        if (info := self._local.get(websocket)) is not None:
            info["messages_sent"] += 1
            self._local_sent += 1
        return True

    async def _drop(self, websocket: WebSocketLike) -> None:
        if self._local.pop(websocket, None) is not None:
            try:
                await websocket.close()
            except Exception as error:
                logger.debug("closing a failed websocket failed as well: %s", type(error).__name__)


def _info(connection: Connection) -> dict[str, Any]:
    return {
        "client_id": connection.client_id or connection.id,
        "connected_at": datetime.fromtimestamp(connection.connected_at, UTC),
        "messages_sent": connection.sent,
        "messages_received": connection.received,
        "user_id": connection.identity.user_id,
        "tenant": connection.identity.tenant,
    }


_process_manager: BroadcastManager | None = None
_claimed = False


def get_connection_manager() -> BroadcastManager:
    """The manager of this process, which its first gateway uses."""
    global _process_manager
    if _process_manager is None:
        _process_manager = BroadcastManager()
    return _process_manager


def claim_connection_manager() -> BroadcastManager:
    """The manager of this process for its first gateway, a new one for each further gateway."""
    global _claimed
    if _claimed:
        return BroadcastManager()
    _claimed = True
    return get_connection_manager()
