"""An application with sessions of its own, and the gateway within it on both transports."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from websockets.asyncio.client import connect

from gateway import ClientRequest, SessionIdentity
from gateway.api import create_router, create_service
from tests.support.clients import Client
from tests.support.inprocess import RunningGateway, running, served
from tests.support.settings import settings_for

TRANSPORTS = ("socket", "asgi")
ADA = SessionIdentity("ada", "acme", ["circle:*", "tenant"], "subscribe publish")


class Sessions:
    """Sessions by cookie. `asked` are the requests that came, `error` is raised in place of an answer."""

    def __init__(self, **known: SessionIdentity) -> None:
        self.known: dict[str, Any] = known or {"a": ADA}
        self.asked: list[ClientRequest] = []
        self.error: Exception | None = None

    def plain(self, request: ClientRequest) -> SessionIdentity | None:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        return self.known.get(request.cookies.get("session", ""))

    async def coroutine(self, request: ClientRequest) -> SessionIdentity | None:
        await asyncio.sleep(0)
        return self.plain(request)


@asynccontextmanager
async def application(
    transport: str = "socket",
    authenticate: Any = None,
    authorize: Any = None,
    clock: Callable[[], float] | None = None,
    **settings: Any,
) -> AsyncIterator[RunningGateway]:
    more: dict[str, Any] = {} if clock is None else {"clock": clock}
    service = create_service(settings_for(**settings), authenticate=authenticate, authorize=authorize, **more)
    if transport == "socket":
        async with running(service.settings, service) as gate:
            yield gate
    else:
        app = FastAPI()
        app.include_router(create_router(service))
        async with served(app) as port:
            yield RunningGateway(service, port)


@asynccontextmanager
async def client(
    gate: RunningGateway, session: str | None = "a", query: str = "", **headers: str
) -> AsyncIterator[Client]:
    """A client with this session's cookie, whose first frame is yet to be read."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if session is not None:
        given["Cookie"] = f"theme=dark; session={session}"
    async with connect(f"{gate.ws_url}{query}", additional_headers=given, compression=None) as websocket:
        yield Client(websocket)


@asynccontextmanager
async def established(gate: RunningGateway, session: str | None = "a", query: str = "") -> AsyncIterator[Client]:
    """A client whose `connection.established` has come."""
    async with client(gate, session, query) as connected:
        connected.established = await connected.next("connection.established")
        yield connected
