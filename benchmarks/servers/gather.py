"""FastAPI with `asyncio.gather` over `send_json`: `python -m benchmarks.servers.gather PORT`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from benchmarks.load.publisher import Order
from benchmarks.servers.orders import follow


def now() -> str:
    return datetime.now(UTC).isoformat()


class ConnectionManager:
    """Sends to all clients concurrently: a task and a JSON encoding for each."""

    def __init__(self) -> None:
        self.active_connections: dict[WebSocket, dict[str, Any]] = {}

    async def connect(self, websocket: WebSocket, client_id: str | None) -> None:
        await websocket.accept()
        self.active_connections[websocket] = {"client_id": client_id, "connected_at": now(), "messages_sent": 0}
        greeting = {"type": "connection.established", "data": {"client_id": client_id}, "timestamp": now()}
        await websocket.send_json(greeting)

    def disconnect(self, websocket: WebSocket) -> None:
        self.active_connections.pop(websocket, None)

    async def broadcast(self, message: dict[str, Any]) -> int:
        tasks = [self._send(websocket, message) for websocket in list(self.active_connections)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return sum(1 for result in results if result is True)

    async def _send(self, websocket: WebSocket, message: dict[str, Any]) -> bool:
        try:
            await websocket.send_json(message)
            self.active_connections[websocket]["messages_sent"] += 1
            return True
        except Exception:
            return False


manager = ConnectionManager()


async def publish(order: Order) -> None:
    for _ in range(order.count):
        message = {**order.event(), "event_id": f"evt_{uuid4().hex[:28]}", "timestamp": now()}
        await manager.broadcast(message)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(follow(publish))
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.websocket("/ws/dashboard")
async def dashboard(websocket: WebSocket, client_id: str | None = None) -> None:
    await manager.connect(websocket, client_id)
    try:
        while True:
            await websocket.receive_json()
    except WebSocketDisconnect:
        pass
    finally:
        manager.disconnect(websocket)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
