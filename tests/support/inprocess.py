"""Gateways in this process, each under a real uvicorn on a free port."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import connect

from gateway.api import create_app, create_router
from gateway.core.log import Log
from gateway.engine.delivery import write_each
from gateway.server.run import Server, listen, server_config
from gateway.service.config import Settings
from gateway.service.factory import Service, create_service
from gateway.transports.uvicorn.sockets import write_batch_to_fds
from schemas.codes import ErrorCode
from tests.support import tokens
from tests.support.clients import Client
from tests.support.clocks import AdjustableClock
from tests.support.pauses import PATIENCE
from tests.support.settings import settings_for

ATTEMPTS: Final = 10
"""To connect a client: one takes as long as the gateway waits for its log, 1.6 s."""


class RunningGateway:
    """A running gateway as its clients see it, and its insides for asserting that nothing stayed behind."""

    def __init__(self, service: Service, port: int, prefix: str = "") -> None:
        self.service = service
        self.port = port
        self.url = f"http://127.0.0.1:{port}{prefix}"
        self.ws_url = f"ws://127.0.0.1:{port}{prefix}/ws/dashboard"

    def token(self, *args: Any, **more: Any) -> str:
        """One of its own, as `tokens.token` makes it."""
        return tokens.token(*args, **{"issuer": self.service.issuer, "now": self.service.gateway.clock(), **more})

    def later(self, seconds: float) -> None:
        """Put its wall clock forward: what a token has left goes by at once, and not while the machine works."""
        clock = self.service.gateway.clock
        assert isinstance(clock, AdjustableClock)
        clock.offset += seconds

    async def publish(self, tenant: str = "acme", type: str = "task.completed", **fields: Any) -> str:
        """Publish as code of the same process does; returns the event's id."""
        receipt = await self.service.gateway.publish(tenant, type, fields.pop("data", {}), **fields)
        return receipt.event_id

    @asynccontextmanager
    async def client(self, token: str | None = None, query: str = "", **options: Any) -> AsyncIterator[Client]:
        """A client whose `connection.established` has come (`client.established`). It connects again, as any client
        does, where Redis took longer than the gateway waits, as on a busy machine."""
        url = f"{self.ws_url}?token={self.token() if token is None else token}{query}"
        async with AsyncExitStack() as stack:
            for _ in range(ATTEMPTS):
                connecting = connect(url, **{"max_size": None, "compression": None, **options})
                client = Client(await stack.enter_async_context(connecting))
                client.established = await client.next()
                if client.established["data"].get("code") != ErrorCode.BROKER_UNAVAILABLE:
                    break
            assert client.established["type"] == "connection.established", client.established
            yield client


def service_with(
    clock: Callable[[], float] = time.time,
    timer: Callable[[], float] = time.monotonic,
    log: Log | None = None,
    **values: Any,
) -> Service:
    """A service as `settings_for(**values)` makes it, but for its clocks and its log."""
    return create_service(settings_for(**values), log=log, clock=clock, timer=timer, batch_writer=write_batch_to_fds)


@asynccontextmanager
async def running(
    settings: Settings | None = None,
    service: Service | None = None,
    *,
    app: FastAPI | None = None,
    stock: bool = False,
    listener: socket.socket | None = None,
    **options: Any,
) -> AsyncIterator[RunningGateway]:
    """Serve as `gateway serve` does, or as uvicorn comes where `stock`; `options` are those of uvicorn."""
    settings = settings or settings_for()
    service = service or create_service(
        settings, clock=AdjustableClock(), batch_writer=write_each if stock else write_batch_to_fds
    )
    app = app or create_app(service)
    if stock:
        config = uvicorn.Config(app, ws="websockets-sansio", log_level="warning", proxy_headers=False)
    else:
        config = server_config(app, settings)
    for name, value in options.items():
        setattr(config, name, value)
    config.configure_logging()
    async with serving(Server(config, lambda port: None), listener or listen(settings)) as port:
        yield RunningGateway(service, port)


@asynccontextmanager
async def serving(server: uvicorn.Server, listener: socket.socket) -> AsyncIterator[int]:
    """Run the server on this event loop; the port."""
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(PATIENCE):
            while not server.started:
                assert not task.done(), "the server did not start"
                await asyncio.sleep(0.005)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listener.close()


@asynccontextmanager
async def served(application: Any, **options: Any) -> AsyncIterator[int]:
    """Serve an application under plain uvicorn; yields the port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    async with serving(uvicorn.Server(uvicorn.Config(application, **options)), listener) as port:
        yield port


class EmbeddedGateway(RunningGateway):
    """A gateway under a prefix of another application."""

    def __init__(self, application: FastAPI, service: Service, port: int, prefix: str) -> None:
        super().__init__(service, port, prefix)
        self.application = application


@asynccontextmanager
async def embedded(
    settings: Settings | None = None, prefix: str = "/rt", **options: Any
) -> AsyncIterator[EmbeddedGateway]:
    """A gateway in another application, under plain uvicorn."""
    lives = []

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[dict[str, str]]:
        lives.append("up")
        yield {"theirs": "kept"}
        lives.append("down")

    application = FastAPI(lifespan=lifespan)
    service = create_service(settings or settings_for(), clock=AdjustableClock())
    application.include_router(create_router(service), prefix=prefix)

    @application.get("/own")
    async def own() -> dict[str, str]:
        return {"answer": "theirs"}

    async with served(application, **options) as port:
        assert lives == ["up"]
        yield EmbeddedGateway(application, service, port, prefix)
    assert lives == ["up", "down"]
