"""WebSocket paths that the configuration names, on both transports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.api import create_router, create_service
from gateway.server.development import banner
from gateway.service.config import ConfigError, load_settings
from gateway.transports.asgi import AsgiTransport
from gateway.transports.uvicorn import HttpProtocol, SocketTransport
from gateway.transports.uvicorn.protocol import WebSocketTransport
from tests.support.clients import assert_problem, fence, http, http_client
from tests.support.commands import started
from tests.support.inprocess import RunningGateway, running, served
from tests.support.raw_client import handshake, raw
from tests.support.settings import settings_for

PATHS = ("/ws", "/realtime/v1.0/socket/", "/")
SOCKET: dict[str, Any] = {"ws": SocketTransport, "http": HttpProtocol, "ws_per_message_deflate": False}
TRANSPORTS = {
    "straight to the socket": (SOCKET, WebSocketTransport),
    "through uvicorn's HTTP protocol": ({**SOCKET, "http": "h11"}, WebSocketTransport),
    "through ASGI": ({}, AsgiTransport),
}


@asynccontextmanager
async def embedded(prefix: str = "", paths: tuple[str, ...] = PATHS, **options: Any) -> AsyncIterator[RunningGateway]:
    service = create_service(settings_for(websocket_paths=paths))
    app = FastAPI()
    outer = APIRouter()
    outer.include_router(create_router(service, prefix))
    app.include_router(outer)

    @app.get("/")
    async def home() -> dict[str, str]:
        return {"page": "theirs"}

    @app.websocket("/theirs")
    async def theirs(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("theirs")

    async with served(app, **options) as port:
        yield RunningGateway(service, port)


@pytest.mark.parametrize("prefix", ["", "/live"])
@pytest.mark.parametrize("name", TRANSPORTS)
async def test_each_path_is_served(name: str, prefix: str) -> None:
    """By the transport that is asked for, under a prefix too; the default path is not."""
    options, transport = TRANSPORTS[name]
    async with embedded(prefix, **options) as gate:
        for path in PATHS:
            gate.ws_url = f"ws://127.0.0.1:{gate.port}{prefix}{path}"
            async with gate.client(query="&rooms=circle:1") as client:
                await client.next("subscribed")
                await fence(client)
                (connection,) = gate.service.manager.connections()
                assert type(connection.transport) is transport
        for path in ("/ws/dashboard", "/ws/", "/w", "/wsx", "/realtime/v1.0/socket", "/realtime/v1.0"):
            gate.ws_url = f"ws://127.0.0.1:{gate.port}{prefix}{path}"
            with pytest.raises(InvalidStatus) as refused:
                async with gate.client():
                    pass
            assert refused.value.response.status_code in (403, 404)


async def test_a_path_percent_encoded_is_the_same_path() -> None:
    """No way around the transport."""
    async with embedded(**SOCKET) as gate:
        gate.ws_url = f"ws://127.0.0.1:{gate.port}/%77s"
        async with gate.client():
            (connection,) = gate.service.manager.connections()
            assert isinstance(connection.transport, WebSocketTransport)


async def test_a_handshake_may_come_in_pieces_whatever_the_path() -> None:
    """The request comes byte by byte; the paths differ only at the end."""
    async with embedded(**SOCKET) as gate:
        for path in PATHS:
            async with raw(gate.port) as client:
                for byte in handshake(f"{path}?token={gate.token()}"):
                    await client.send(bytes([byte]))
                assert "101" in await client.head()


async def test_the_applications_own_routes_stay(caplog: pytest.LogCaptureFixture) -> None:
    """Its page at the root, which has a WebSocket of the gateway's beside it; its own WebSocket."""
    async with embedded(**SOCKET) as gate, http_client(gate.url) as api:
        assert (await api.get("/")).json() == {"page": "theirs"}
        assert_problem(await api.get("/ws"), 426, "bad_message")
        assert (await api.get("/healthz")).status_code == 200
        async with connect(f"ws://127.0.0.1:{gate.port}/theirs") as websocket:
            assert await websocket.recv() == "theirs"
    assert [record for record in caplog.records if record.name == "gateway.transport"] == []


async def test_a_path_of_an_http_route_is_shared_with_it() -> None:
    """One is a WebSocket, the other is not."""
    async with running(settings_for(websocket_paths=("/healthz", "/events"))) as gate, http(gate) as api:
        assert (await api.get("/healthz")).json() == {"status": "ok"}
        assert_problem(await api.get("/events"), 426, "bad_message")
        assert_problem(await api.post("/events", json={}), 401, "token_missing")
        for path in ("/healthz", "/events"):
            gate.ws_url = f"ws://127.0.0.1:{gate.port}{path}"
            async with gate.client() as client:
                await fence(client)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("ws", "begins with /"),
        ("/a?b", "begins with /"),
        ("/{tenant}", "begins with /"),
        ("/a b", "begins with /"),
        ("/%41", "begins with /"),
        ("/ä", "begins with /"),
        ("/ws,/ws", "twice"),
        (",", "name one at least"),
    ],
)
def test_invalid_paths_are_refused_by_name(value: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_WEBSOCKET_PATHS", value)
    with pytest.raises(ConfigError, match=f"^GATEWAY_WEBSOCKET_PATHS: .*{reason}"):
        load_settings(_env_file=None)


# ---- our own clients


async def test_the_pages_and_the_banner_use_the_first_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".gateway-dev").mkdir()
    async with running(settings_for(websocket_paths=("/ws", "/other"))) as gate, http(gate) as api:
        printed = banner(gate.service, "127.0.0.1", gate.port, demo=False)
        assert f"ws://127.0.0.1:{gate.port}/ws?rooms=*" in printed
        assert "gateway subscribe circle:1 --path /ws" in printed
        assert 'content="/ws"' in (await api.get("/")).text
    async with running() as gate, http(gate) as api:
        assert "--path" not in banner(gate.service, "127.0.0.1", gate.port, demo=False)
        assert 'content="/ws/dashboard"' in (await api.get("/")).text


async def test_subscribe_takes_a_path(tmp_path: Path) -> None:
    async with running(settings_for(websocket_paths=("/ws",))) as gate:
        env = {"GATEWAY_URL": gate.url, "GATEWAY_TOKEN": gate.token()}
        with started("subscribe", "circle:1", "--path", "/ws", cwd=tmp_path, env=env) as process:
            await asyncio.to_thread(process.line, "connected to")
            await gate.service.gateway.publish("acme", "task.created", {}, circle_id=1)
            await asyncio.to_thread(process.line, "task.created")
            await asyncio.to_thread(process.stop)  # it waits for the gateway's goodbye, which is on this loop
