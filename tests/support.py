"""A real gateway under a real uvicorn on a free port, in this process, and tokens for it."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect

from gateway.api import create_app
from gateway.server.run import Server, server_config
from gateway.service.config import Settings
from gateway.service.factory import Service, create_service
from gateway.transports.uvicorn.sockets import write_batch_to_fds

SECRET = "a-secret-of-tests-0123456789-abcdefghijklmnopqrstuvwxyz"

ROOMY = {
    "handshakes_per_minute": 0,
    "max_connections_per_address": 0,
    "max_connections_per_user": 0,
    "tokens_per_minute": 0,
    "admin_requests_per_minute": 0,
    "shutdown_delay_seconds": 0,
}
"""Limits and delays out of the way, for tests that are about something else."""


def settings_for(**values: Any) -> Settings:
    """Settings from `values` alone: no environment, no `.env`."""
    return Settings(_env_file=None, jwt_secret=SecretStr(SECRET), port=0, **{**ROOMY, **values})


class Gate:
    """A running gateway as its clients see it, and its insides for asserting that nothing stayed behind."""

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.ws_url = f"ws://127.0.0.1:{port}/ws/dashboard"

    def token(
        self,
        user_id: str = "ada",
        tenant: str = "acme",
        rooms: Iterable[str] = ("circle:*", "project:*", "tenant"),
        scope: str = "subscribe publish",
        expires_in: int = 600,
        now: float | None = None,
        **more: Any,
    ) -> str:
        issued = self.service.issuer.issue(
            user_id=user_id,
            tenant=tenant,
            rooms=rooms,
            scope=scope.split(),
            expires_in=expires_in,
            now=time.time() if now is None else now,
            **more,
        )
        return issued.access_token

    @asynccontextmanager
    async def client(self, token: str | None = None, query: str = "", **options: Any) -> AsyncIterator["Client"]:
        """A client whose `connection.established` has come (`client.established`)."""
        url = f"{self.ws_url}?token={self.token() if token is None else token}{query}"
        async with connect(url, **{"max_size": None, "compression": None, **options}) as websocket:
            client = Client(websocket)
            client.established = await client.next("connection.established")
            yield client


class Client:
    """A WebSocket client that reads frames as dictionaries."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.established: dict[str, Any] = {}

    async def send(self, **command: Any) -> None:
        await self.websocket.send(json.dumps(command))

    async def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command with an id and return the frame that echoes it; what comes before it must be events."""
        command.setdefault("id", f"c{time.monotonic_ns()}")
        await self.send(**command)
        while True:
            frame = await self.next()
            if frame.get("id") == command["id"]:
                return frame

    async def next(self, kind: str | None = None, timeout: float = 5.0) -> dict[str, Any]:
        """The next frame, which must be of type `kind` where that is given."""
        async with asyncio.timeout(timeout):
            frame: dict[str, Any] = json.loads(await self.websocket.recv())
        assert kind is None or frame["type"] == kind, frame
        return frame

    async def quiet(self, seconds: float = 0.15) -> None:
        """Fail if a frame comes within `seconds`."""
        try:
            frame = await self.next(timeout=seconds)
        except TimeoutError:
            return
        raise AssertionError(f"unexpected: {frame}")

    async def closed(self, timeout: float = 5.0) -> tuple[int, str]:
        """The code and reason with which the server closes; frames before it are read away."""
        async with asyncio.timeout(timeout):
            await self.websocket.wait_closed()
        assert self.websocket.close_code is not None
        return self.websocket.close_code, self.websocket.close_reason or ""


@asynccontextmanager
async def running(settings: Settings | None = None, service: Service | None = None) -> AsyncIterator[Gate]:
    """Serve with the configuration of `gateway serve`, on this event loop."""
    settings = settings or settings_for()
    service = service or create_service(settings, batch_writer=write_batch_to_fds)
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    server = Server(server_config(create_app(service), settings), listening.set_result)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    listener = socket.socket(proto=socket.IPPROTO_TCP)  # or asyncio leaves Nagle's algorithm on
    listener.bind(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        done, _ = await asyncio.wait((task, listening), return_when=asyncio.FIRST_COMPLETED)
        assert listening in done, "the server did not start"
        yield Gate(service, listening.result())
    finally:
        server.should_exit = True
        await task
        listener.close()
