"""A gateway embedded in a FastAPI application, under plain uvicorn: the transport for any ASGI server, without the
gateway's own exception handlers and middleware."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from gateway import Event, EventBus, setup_websocket_broadcasting
from gateway.api import create_router, create_service
from gateway.service.config import Settings
from gateway.transports.uvicorn import HttpProtocol, SocketTransport
from gateway.transports.uvicorn.protocol import WebSocketTransport
from tests.support.clients import Client, assert_problem, fence, http, http_client
from tests.support.commands import started
from tests.support.inprocess import RunningGateway
from tests.support.pauses import PATIENCE
from tests.support.process import GatewayProcess
from tests.support.settings import NO_LIMITS, SECRET, settings_for, variables


class Embedded(RunningGateway):
    """A gateway under a prefix of another application."""

    def __init__(self, application: FastAPI, gate: RunningGateway, prefix: str) -> None:
        super().__init__(gate.service, gate.port)
        self.application = application
        self.url += prefix
        self.ws_url = f"ws://127.0.0.1:{gate.port}{prefix}/ws/dashboard"


@asynccontextmanager
async def served(application: FastAPI, **options: Any) -> AsyncIterator[int]:
    """Serve under plain uvicorn; yields the port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, **options))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(PATIENCE):
            while not server.started:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.005)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listener.close()


@asynccontextmanager
async def embedded(settings: Settings | None = None, prefix: str = "/rt", **options: Any) -> AsyncIterator[Embedded]:
    """The example of the README, under plain uvicorn."""
    lives = []

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[dict[str, str]]:
        lives.append("up")
        yield {"theirs": "kept"}
        lives.append("down")

    application = FastAPI(lifespan=lifespan)
    service = create_service(settings or settings_for())
    application.include_router(create_router(service), prefix=prefix)

    @application.get("/own")
    async def own() -> dict[str, str]:
        return {"answer": "theirs"}

    async with served(application, **options) as port:
        assert lives == ["up"]
        yield Embedded(application, RunningGateway(service, port), prefix)
    assert lives == ["up", "down"]


async def test_a_gateway_lives_within_another_application() -> None:
    """Its lifespan beside theirs, its WebSocket and its routes under the prefix, and their own route untouched."""
    async with embedded() as gate, gate.client(query="&rooms=circle:1&client_id=desk") as client:
        assert (await client.next("subscribed"))["data"]["rooms"] == ["circle:1"]
        async with http(gate, gate.token()) as api:
            answer = await api.post("/events", json={"type": "task.completed", "data": {}, "circle_id": 1})
            assert answer.status_code == 202
            assert (await client.next("task.completed"))["event_id"] == answer.json()["event_id"]
            assert (await api.get("/readyz")).status_code == 200
        async with http_client() as own:
            answer = await own.get(f"http://127.0.0.1:{gate.port}/own")
            assert answer.json() == {"answer": "theirs"}


async def test_a_prefix_given_to_the_router_is_known_to_the_socket_transport_too() -> None:
    """`create_router(service, prefix=…)` with `ws=SocketTransport`: the fast way, under the prefix."""
    service = create_service(settings_for())
    application = FastAPI()
    application.include_router(create_router(service, prefix="/live"))
    options = {"ws": SocketTransport, "http": HttpProtocol, "ws_per_message_deflate": False}
    async with served(application, **options) as port:
        gate = RunningGateway(service, port)
        gate.ws_url = f"ws://127.0.0.1:{port}/live/ws/dashboard"
        async with gate.client() as client:
            await fence(client)
            (connection,) = service.manager.connections()
            assert isinstance(connection.transport, WebSocketTransport)


async def test_errors_are_problem_documents_without_handlers_of_ours() -> None:
    """Their application has its own ideas of 404 and 500; ours of what our routes refuse."""
    async with embedded() as gate:
        event = {"type": "task.completed", "data": {}, "circle_id": 1}
        async with http(gate) as api:
            assert_problem(await api.post("/events", json=event), 401, "token_missing")
        async with http(gate, gate.token(rooms=[])) as api:
            assert_problem(await api.post("/events", json=event), 403, "room_forbidden")
            assert_problem(await api.post("/events", json={}), 422, "bad_message")
            response = await api.post("/events", content=b"{", headers={"Content-Type": "application/json"})
            assert_problem(response, 400, "bad_message")
            assert_problem(await api.get("/admin/stats"), 403, "scope_missing")
        async with http(gate, gate.token(scope="admin")) as api:
            assert_problem(await api.delete("/admin/connections/x"), 404, "not_found")
            assert_problem(await api.get("/admin/stats?limit=0"), 422, "bad_message")


async def test_the_limit_on_issuing_holds_there_too() -> None:
    """The limit belongs to the route, not to the application."""
    async with embedded(settings_for(tokens_per_minute=1)) as gate:
        async with http(gate, gate.token(scope="admin subscribe")) as api:
            body = {"user_id": "bob", "rooms": []}
            assert (await api.post("/admin/tokens", json=body)).status_code == 201
            assert_problem(await api.post("/admin/tokens", json=body), 429, "rate_limited")


async def test_the_bus_of_the_application_is_forwarded_in_two_lines() -> None:
    """By `setup_websocket_broadcasting`."""
    bus = EventBus()
    async with embedded() as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        setup_websocket_broadcasting(bus=bus, tenant="acme", gateway=gate.service.gateway)
        await bus.publish(Event("task.completed", {"n": 1}, circle_id=1))
        assert (await client.next("task.completed"))["data"] == {"n": 1}


async def test_no_token_is_in_what_the_server_logs(caplog: pytest.LogCaptureFixture) -> None:
    """uvicorn writes whole URLs, of WebSockets whatever one switches off; the token is not in them, however spelled."""
    caplog.set_level(logging.DEBUG)
    async with embedded(access_log=True, log_config=None) as gate:
        token = gate.token()
        async with gate.client(token, "&client_id=desk") as client:
            await fence(client)
        for query in (f"token={token}", f"%74oken={token}", f"client_id=x&ticket={token}&x=y", f"token={token}x"):
            async with connect(f"{gate.ws_url}?{query}") as websocket:
                await Client(websocket).next(None) if query.endswith(token) else await Client(websocket).closed()
            async with http(gate) as api:
                await api.get(f"/readyz?{query}")
                await api.get(f"/admin/stats?{query}")
                await api.get(f"/nothing?{query}")
                await api.post(f"/events?{query}", content=b"{", headers={"Content-Type": "application/json"})
        with pytest.raises(InvalidStatus):
            await connect(f"{gate.ws_url}?token={token}", origin="http://evil.example")  # type: ignore[arg-type]
        uvicorns = [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")]
        assert any("/rt/ws/dashboard" in message and "client_id=desk" in message for message in uvicorns)
        assert any("/rt/admin/stats" in message for message in uvicorns)
        signature = token.rpartition(".")[2]
        for record in caplog.records:
            if not record.name.startswith(("httpx", "httpcore", "websockets.client")):
                assert signature not in record.getMessage() + str(record.__dict__), record.name


# ---- the wire by the transport for any server, of which the other tests of the wire see little


async def test_the_protocol_holds_on_any_asgi_server() -> None:
    """Subprotocol, resume, order, refusals and closes: the same as on the way straight to the socket."""
    async with embedded(settings_for(max_message_bytes=1_024, log_max_events=50), prefix="") as gate:
        offered = [Subprotocol("gateway.v1"), Subprotocol(f"gateway.bearer.{gate.token()}")]
        async with connect(gate.ws_url, subprotocols=offered) as websocket:
            await Client(websocket).next("connection.established")
            assert websocket.subprotocol == "gateway.v1"
        start = await gate.publish(circle_id=1)
        log = [await gate.publish(circle_id=1, data={"n": n}) for n in range(20)]
        async with gate.client(query=f"&rooms=circle:1&since={start}") as client:
            assert (await client.next("subscribed"))["data"]["replayed"] == 20
            log.append(await gate.publish(circle_id=1))
            assert [(await client.next("task.completed"))["event_id"] for _ in log] == log
            await client.websocket.send(b"binary")
            assert (await client.next("error"))["data"]["code"] == "bad_message"
            await client.websocket.send("x" * 1_025)
            assert (await client.closed())[0] == 1009
        for query, refusal in {"": "token_missing", "?token=x": "token_invalid"}.items():
            async with connect(f"{gate.ws_url}{query}") as websocket:
                assert await Client(websocket).closed() == (4401, refusal)
        for origin, status in (("http://evil.example", 403), ("null", 403)):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{gate.ws_url}?token={gate.token()}", origin=origin)  # type: ignore[arg-type]
            assert refused.value.response.status_code == status
        assert list(gate.service.manager.connections()) == []


async def test_commands_after_the_close_was_decided_change_nothing_there_either() -> None:
    """Commands that were already on their way do not join rooms, and do not publish."""
    async with embedded() as gate, gate.client() as client:
        for _ in range(gate.service.gateway.limits.malformed):
            await client.websocket.send("nonsense")
        await client.send(type="subscribe", rooms=["circle:1"])
        await client.send(type="publish", event={"type": "task.created", "data": {}, "circle_id": 1})
        assert (await client.closed())[0] == 4400
        assert gate.service.gateway.manager.of("acme").rooms == {}
        assert gate.service.gateway.log.window("acme").head == 0


async def test_a_slow_consumer_delays_no_other_client_there_either() -> None:
    """The slow consumer is aborted after its time; the others get everything meanwhile."""
    async with embedded(settings_for(stall_seconds=0.3)) as gate, gate.client(query="&rooms=circle:1") as reader:
        await reader.next("subscribed")
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        small.connect(("127.0.0.1", gate.port))
        url = f"{gate.ws_url}?token={gate.token('bob')}&rooms=circle:1"
        async with connect(url, sock=small, max_queue=1, compression=None, ping_interval=None) as stuck:
            await stuck.recv()
            stuck.transport.pause_reading()
            sent = [await gate.publish(circle_id=1, data={"x": "y" * 60_000}) for _ in range(100)]
            assert [(await reader.next("task.completed"))["event_id"] for _ in sent] == sent
            async with asyncio.timeout(PATIENCE):
                while gate.service.manager.get_client_count() > 1:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.02)
            stuck.transport.abort()
        await gate.publish(circle_id=1)
        await reader.next("task.completed")


# ---- as processes


async def follows(port: int, token: str) -> None:
    """A client of this server hears an event that is published over HTTP."""
    url = f"ws://127.0.0.1:{port}/ws/dashboard?token={token}&rooms=circle:1"
    async with connect(url) as websocket, http_client() as api:
        client = Client(websocket)
        await client.next("connection.established")
        await client.next("subscribed")
        answer = await api.post(
            f"http://127.0.0.1:{port}/events",
            headers={"Authorization": f"Bearer {token}"},
            json={"type": "task.completed", "data": {}, "circle_id": 1},
        )
        assert (await client.next("task.completed"))["event_id"] == answer.json()["event_id"]


def token_of_tests() -> str:
    return RunningGateway(create_service(settings_for()), 0).token()


async def test_uvicorn_serves_the_application_by_its_name(tmp_path: Path) -> None:
    """`uvicorn gateway.app:app`, with its access log and no token in it."""
    env = variables(jwt_secret=SECRET, **NO_LIMITS)
    token = token_of_tests()
    with started("gateway.app:app", "--port", "0", cwd=tmp_path, env=env, module="uvicorn") as process:
        port = await asyncio.to_thread(process.line, r"running on http://127\.0\.0\.1:(\d+)")
        await follows(int(port), token)
        await asyncio.to_thread(process.line, r"WebSocket /ws/dashboard.*rooms=circle")
        assert await asyncio.to_thread(process.stop) in (0, 130, -2)
        written = "\n".join(process.out + process.err)
    assert token.rpartition(".")[2] not in written
    assert "Traceback" not in written


async def test_python_m_gateway_is_the_command(tmp_path: Path) -> None:
    """`python -m gateway serve`; tokens of the same secret are good there."""
    token = token_of_tests()
    with GatewayProcess(tmp_path) as process:
        await follows(process.port, token)
        await asyncio.to_thread(process.stop)
        assert token not in "\n".join(process.out + process.err)
