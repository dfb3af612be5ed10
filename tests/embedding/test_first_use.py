"""A gateway whose lifespan does not run is whole from its first use on, or refuses: never half of one."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from websockets.asyncio.client import connect

from gateway.api import create_app, create_router, create_service
from gateway.service.config import Settings
from gateway.service.factory import Service
from gateway.transports.uvicorn import SocketTransport
from tests.support.clients import Client, assert_problem, http_client
from tests.support.clocks import AdjustableClock
from tests.support.inprocess import RunningGateway, served
from tests.support.settings import settings_for
from tests.support.tokens import issue


def mounted(service: Service) -> FastAPI:
    """An application in another one, whose server never tells it to start."""
    outer, inner = FastAPI(), FastAPI()
    inner.include_router(create_router(service))
    outer.mount("/rt", inner)
    return outer


WAYS: dict[str, tuple[Callable[[Service], FastAPI], str, dict[str, Any]]] = {
    "mounted": (mounted, "/rt", {}),
    "mounted, SocketTransport": (mounted, "/rt", {"ws": SocketTransport}),
    "lifespan off": (create_app, "", {"lifespan": "off"}),
}


@asynccontextmanager
async def without_lifespan(way: str, settings: Settings | None = None) -> AsyncIterator[RunningGateway]:
    make, prefix, options = WAYS[way]
    service = create_service(settings or settings_for(), clock=AdjustableClock())
    async with served(make(service), **options) as port:
        gate = RunningGateway(service, port)
        gate.url += prefix
        gate.ws_url = f"ws://127.0.0.1:{port}{prefix}/ws/dashboard"
        yield gate
    await service.gateway.stop()


@pytest.mark.parametrize("way", WAYS)
async def test_an_expired_token_gets_nothing_more(way: str) -> None:
    """Deadlines are checked as in a service started by a lifespan."""
    async with without_lifespan(way) as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        await gate.service.gateway.publish("acme", "order.done", {"n": 1}, circle_id=1)
        assert (await client.next("order.done"))["data"] == {"n": 1}
        gate.later(570)
        await client.next("token.expiring")
        gate.later(30)
        assert await client.closed() == (4401, "token_expired")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", ["/readyz", "/healthz", "/.well-known/jwks.json", "/rooms/tenant/presence"])
async def test_any_route_starts_it(way: str, first: str, caplog: pytest.LogCaptureFixture) -> None:
    """The gateway is then ready, and one log line recommends the lifespan."""
    async with without_lifespan(way) as gate, http_client() as api:
        headers = {"Authorization": f"Bearer {gate.token()}"}
        answers = await asyncio.gather(*(api.get(gate.url + first, headers=headers) for _ in range(5)))
        assert {answer.status_code for answer in answers} == {200}
        assert gate.service.gateway.ready
    lines = [r.getMessage() for r in caplog.records if r.name == "gateway" and r.levelno == logging.WARNING]
    assert len(lines) == 1
    assert "started at its first use" in lines[0]


async def test_code_of_the_process_starts_it() -> None:
    """The first use may also be an event that is published."""
    service = create_service(settings_for())
    receipt = await service.gateway.publish("acme", "order.done", {}, circle_id=1)
    assert service.gateway.ready
    assert service.gateway.log.window("acme").cursor == receipt.event_id
    await service.gateway.stop()


async def test_a_lifespan_of_ones_own_is_as_good() -> None:
    """`service.running()`, for applications that mount the gateway: it is started before the first use."""
    service = create_service(settings_for())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    outer = mounted(service)
    outer.router.lifespan_context = lifespan
    async with served(outer) as port:
        assert service.gateway.ready
        gate = RunningGateway(service, port)
        gate.ws_url = f"ws://127.0.0.1:{port}/rt/ws/dashboard"
        websocket = await connect(f"{gate.ws_url}?token={gate.token()}")
        await Client(websocket).next("connection.established")
    assert websocket.close_code == 1012
    assert not service.gateway.ready


async def test_the_routers_lifespan_within_ones_own_stops_nothing_early() -> None:
    """The outermost lifespan ends the service."""
    service = create_service(settings_for())
    async with service.running():
        async with served(create_app(service)):
            assert service.gateway.ready
        assert service.gateway.ready
    assert not service.gateway.ready


async def test_after_its_lifespan_it_refuses() -> None:
    """HTTP with 503, WebSockets with 1013, code with the same error: it is not started again by what came late."""
    service = create_service(settings_for())
    app = create_app(service)
    async with service.running():
        pass
    token = RunningGateway(service, 0).token()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as api:
        assert_problem(await api.get("/readyz"), 503, "broker_unavailable")
        event = {"type": "a.b", "data": {}, "circle_id": 1}
        answer = await api.post("/events", json=event, headers={"Authorization": f"Bearer {token}"})
        assert_problem(answer, 503, "broker_unavailable")
    async with served(app, lifespan="off") as port:
        async with connect(f"ws://127.0.0.1:{port}/ws/dashboard?token={token}") as websocket:
            client = Client(websocket)
            assert "not running" in (await client.next("error"))["data"]["message"]
            assert (await client.closed())[0] == 1013
    assert not service.gateway.ready


def test_a_test_client_without_a_lifespan_has_a_gateway_each_time() -> None:
    """Without `with`, Starlette's TestClient has an event loop for each request, and none of a lifespan: the gateway
    begins and ends with each, and the log in memory stays."""
    service = create_service(settings_for())
    client = TestClient(create_app(service))
    headers = {"Authorization": f"Bearer {issue(issuer=service.issuer).access_token}"}
    for n in range(3):
        answer = client.post("/events", json={"type": "a.b", "data": {"n": n}, "circle_id": 1}, headers=headers)
        assert answer.status_code == 202
    with client.websocket_connect(
        f"/ws/dashboard?token={issue(issuer=service.issuer).access_token}&rooms=circle:1"
    ) as session:
        assert session.receive_json()["type"] == "connection.established"
        assert session.receive_json()["data"]["cursor"] == answer.json()["event_id"]
