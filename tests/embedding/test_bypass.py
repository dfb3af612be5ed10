"""Middleware of the embedding application applies to its WebSocket, with `--ws SocketTransport` as without."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response, WebSocket, WebSocketException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.exceptions import InvalidStatus

from gateway.api import create_router, create_service
from gateway.transports.asgi import AsgiTransport
from gateway.transports.uvicorn import HttpProtocol, SocketTransport
from gateway.transports.uvicorn.protocol import WebSocketTransport
from tests.support.inprocess import RunningGateway, served
from tests.support.raw_client import PING, PONG, TEXT, frame, handshake, raw
from tests.support.settings import settings_for

OFFICE: dict[str, Any] = {"additional_headers": {"x-office": "yes"}}


async def office(connection: HTTPConnection) -> None:
    """A dependency that lets in who says the word."""
    if connection.headers.get("x-office") != "yes":
        raise WebSocketException(1008) if connection.scope["type"] == "websocket" else HTTPException(403)


class Office:
    """The same as middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and (b"x-office", b"yes") not in scope["headers"]:
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self.app(scope, receive, send)


class OfficeOfRequests(BaseHTTPMiddleware):
    """The same in one that was made for requests, and sees more than they."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Office(super().__call__)(scope, receive, send)


async def timed(request: Request, call_next: Callable[[Request], Any]) -> Response:
    """A typical use of `@app.middleware("http")`: timing."""
    response: Response = await call_next(request)
    response.headers["x-timed"] = "yes"
    return response


def plain(router: APIRouter) -> Any:
    app = FastAPI()
    app.include_router(router)
    return app


def prefixed(router: APIRouter) -> Any:
    app = FastAPI()
    app.include_router(router, prefix="/rt")
    return app


def nested(router: APIRouter) -> Any:
    app, middle = FastAPI(), APIRouter(prefix="/middle")
    middle.include_router(router, prefix="/rt")
    app.include_router(middle)
    return app


def with_middleware_of_requests(router: APIRouter) -> Any:
    app = plain(router)
    app.add_middleware(CORSMiddleware, allow_origins=["https://example.com"])
    app.add_middleware(GZipMiddleware)
    app.middleware("http")(timed)
    return app


def with_dependency(router: APIRouter) -> Any:
    app = FastAPI()
    app.include_router(router, dependencies=[Depends(office)])
    return app


def with_dependency_of_all(router: APIRouter) -> Any:
    app = FastAPI(dependencies=[Depends(office)])
    app.include_router(router)
    return app


def with_dependency_above(router: APIRouter) -> Any:
    app, middle = FastAPI(), APIRouter(dependencies=[Depends(office)])
    middle.include_router(router)
    app.include_router(middle)
    return app


def with_middleware(router: APIRouter) -> Any:
    app = plain(router)
    app.add_middleware(Office)
    return app


def with_middleware_of_more_than_requests(router: APIRouter) -> Any:
    app = plain(router)
    app.add_middleware(OfficeOfRequests)
    return app


def wrapped(router: APIRouter) -> Any:
    return Office(plain(router))


def with_another_route_before(router: APIRouter) -> Any:
    app = FastAPI()

    @app.websocket("/{any:path}")
    async def theirs(websocket: WebSocket) -> None:
        if websocket.headers.get("x-office") != "yes":
            return await websocket.close()
        websocket.scope["path"] = "/" + websocket.path_params["any"]
        return await router(websocket.scope, websocket.receive, websocket.send)

    app.include_router(router)
    return app


ALONE = {"plain": (plain, ""), "prefix": (prefixed, "/rt"), "nested": (nested, "/middle/rt")}
ALONE["middleware of requests"] = (with_middleware_of_requests, "")

OBSTACLES: dict[str, tuple[Callable[[APIRouter], Any], str]] = {
    "dependency": (with_dependency, "the dependency office"),
    "dependency of all": (with_dependency_of_all, "the dependency office"),
    "dependency above": (with_dependency_above, "the dependency office"),
    "middleware": (with_middleware, "Office"),
    "middleware of more": (with_middleware_of_more_than_requests, "OfficeOfRequests"),
    "wrapped": (wrapped, "Office"),
    "another route": (with_another_route_before, "another route"),
}


@asynccontextmanager
async def socket_served(
    make: Callable[[APIRouter], Any], prefix: str = "", **options: Any
) -> AsyncIterator[RunningGateway]:
    """The application under uvicorn with the README's `--ws` and `--http`."""
    service = create_service(settings_for())
    options = {"ws": SocketTransport, "http": HttpProtocol, "ws_per_message_deflate": False, **options}
    async with served(make(create_router(service)), **options) as port:
        gate = RunningGateway(service, port)
        gate.ws_url = f"ws://127.0.0.1:{port}{prefix}/ws/dashboard"
        yield gate


def transport_of(gate: RunningGateway) -> type:
    (connection,) = gate.service.manager.connections()
    return type(connection.transport)


@pytest.mark.parametrize("name", ALONE)
async def test_with_nothing_before_it_the_gateway_has_the_socket(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever the router is included, and whatever is for requests only; no word is lost about it."""
    make, prefix = ALONE[name]
    async with socket_served(make, prefix) as gate, gate.client():
        assert transport_of(gate) is WebSocketTransport
    assert [record for record in caplog.records if record.name == "gateway.transport"] == []


@pytest.mark.parametrize("name", OBSTACLES)
async def test_bypassed_middleware_still_holds(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The middleware admits and refuses with either transport; one warning says what the direct transport would have
    bypassed."""
    make, bypassed = OBSTACLES[name]
    async with socket_served(make) as gate:
        for _ in range(2):
            async with gate.client(**OFFICE):
                assert transport_of(gate) is AsgiTransport
            with pytest.raises(InvalidStatus) as refused:
                async with gate.client():
                    pass
            assert refused.value.response.status_code == 403
    (warning,) = [record for record in caplog.records if record.name == "gateway.transport"]
    assert warning.levelno == logging.WARNING
    assert f"ASGI, not straight to the socket: {bypassed} must see them" in warning.getMessage()


async def test_a_trusted_host_is_asked_for() -> None:
    """Starlette's own middleware, which answers with 400."""

    def make(router: APIRouter) -> Any:
        app = plain(router)
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1"])
        return app

    async with socket_served(make) as gate:
        async with gate.client():
            pass
        gate.ws_url = gate.ws_url.replace("127.0.0.1", "localhost")
        with pytest.raises(InvalidStatus) as refused:
            async with gate.client():
                pass
        assert refused.value.response.status_code == 400


async def test_wrappers_of_uvicorn_are_no_obstacle() -> None:
    """Its proxy headers, on by default, and its log of messages."""
    async with socket_served(plain, proxy_headers=True, log_level="trace", log_config=None) as gate, gate.client():
        assert transport_of(gate) is WebSocketTransport


async def test_early_frames_for_a_route_of_ones_own_wait_until_it_accepts() -> None:
    """uvicorn's implementation gets them then, and not before: it would answer a ping ahead of the handshake."""

    def make(router: APIRouter) -> Any:
        app = plain(router)

        async def echo(websocket: WebSocket) -> None:
            await asyncio.sleep(0.1)
            await websocket.accept()
            for _ in range(2):
                await websocket.send_text(await websocket.receive_text())

        async def closed(websocket: WebSocket) -> None:
            await asyncio.sleep(0.1)
            await websocket.close()

        app.add_api_websocket_route("/echo", echo)
        app.add_api_websocket_route("/closed", closed)
        return app

    async with socket_served(make) as gate:
        frames = frame(PING, b"p") + frame(TEXT, b"one")
        async with raw(gate.port) as client:
            await client.send(handshake("/echo") + frames)
            assert (await client.head()).startswith("HTTP/1.1 101 ")
            assert [await client.frame() for _ in range(2)] == [(PONG, b"p"), (TEXT, b"one")]
            await client.send(frame(TEXT, b"two"))
            assert await client.frame() == (TEXT, b"two")
        for path, status in (("/closed", 403), ("/nowhere", 403)):
            async with raw(gate.port) as client:
                await client.send(handshake(path) + frames)
                assert (await client.head()).startswith(f"HTTP/1.1 {status} ")
                assert b"p" not in (await client.rest()).partition(b"\r\n\r\n")[2]
