"""HTTP as RFC 9110 has it: HEAD, 405, 415, 426, and no redirect; in an application of one's own as well."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.api import create_app, create_router
from gateway.core.event_stream import PATH
from gateway.service.factory import Service, create_service
from tests.support.clients import http, http_client
from tests.support.inprocess import RunningGateway, embedded, running
from tests.support.pauses import until
from tests.support.raw_client import raw, request
from tests.support.settings import settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate() -> AsyncIterator[RunningGateway]:
    async with running() as gate:
        yield gate


@pytest_asyncio.fixture(loop_scope="module")
async def api(gate: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with http(gate, gate.token("root", scope="subscribe publish admin")) as client:
        yield client


def routes(service: Service) -> list[tuple[str, set[str]]]:
    """Every path over HTTP and the methods that the description of the interface names there, and the pages."""
    described = create_app(service).openapi()["paths"]
    found = [(path, {method.upper() for method in methods}) for path, methods in described.items()]
    return [*found, ("/", {"GET"}), ("/docs", {"GET"}), ("/web/style.css", {"GET"}), ("/openapi.json", {"GET"})]


def filled(path: str) -> str:
    return path.replace("{room}", "circle:7").replace("{id}", "con_x")


async def test_head_is_taken_wherever_get_is(gate: RunningGateway, api: httpx.AsyncClient) -> None:
    """The same status and headers, no body, and the connection goes on."""
    # The stream has no end; its HEAD is with the tests of event streams.
    described = [path for path, methods in routes(gate.service) if "GET" in methods and path != PATH]
    gets = [filled(path) for path in described]
    assert len(gets) > 8

    async def same_length(path: str) -> bool:
        head, get = await api.head(path), await api.get(path)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.headers["content-type"] == get.headers["content-type"], path
        return head.headers["content-length"] == get.headers["content-length"]

    for path in gets:
        # Where the answer has numbers of the moment, two of them may differ in length.
        await until(partial(same_length, path))
    anonymous = http_client(gate.url)
    async with anonymous:
        assert (await anonymous.head("/admin/stats")).status_code == 401


async def test_the_description_of_the_interface_has_no_head(gate: RunningGateway) -> None:
    """HEAD would be in it for every GET."""
    assert not any("HEAD" in methods for _, methods in routes(gate.service))


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_a_method_that_a_path_does_not_take_is_405(
    gate: RunningGateway, api: httpx.AsyncClient, method: str
) -> None:
    """With `Allow`, which names all those that it does take (RFC 9110 section 15.5.6)."""
    for path, methods in routes(gate.service):
        allowed = methods | ({"HEAD"} if "GET" in methods else set())
        if method not in allowed:
            answer = await api.request(method, filled(path))
            assert answer.status_code == 405, (path, answer.text)
            assert set(answer.headers["allow"].split(", ")) == allowed, path
            if method != "HEAD":
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize("path", ["/events/", "/healthz/", "/admin/stats/", "/docs/", "/ws/dashboard/"])
async def test_nothing_is_redirected(api: httpx.AsyncClient, path: str) -> None:
    """A `Location` would name the scheme that the proxy in front spoke, and not the client."""
    for method in ("GET", "POST"):
        answer = await api.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 202), ("application/json; charset=utf-8", 202), ("APPLICATION/JSON", 202),
        ("application/vnd.events+json", 202), (None, 415), ("", 415), ("text/plain", 415), ("text/json", 415),
        ("application/x-www-form-urlencoded", 415), ("application/octet-stream", 415), ("json", 415),
    ],
)  # fmt: skip
async def test_a_body_of_another_type_is_415(api: httpx.AsyncClient, kind: str | None, status: int) -> None:
    """The status is not 422: the client's body is valid, its media type is not."""
    headers = {} if kind is None else {"Content-Type": kind}
    answer = await api.post("/events", content=b'{"type": "a.b", "data": {}, "circle_id": 7}', headers=headers)
    assert answer.status_code == status, answer.text
    if status == 415:
        assert answer.headers["content-type"] == "application/problem+json"
        assert "application/json" in answer.json()["detail"]


async def test_a_body_that_is_announced_as_too_long_is_refused_by_every_route(gate: RunningGateway) -> None:
    """413 while nothing of it was sent, under `gateway serve` and in an application of one's own."""
    async with embedded() as own:
        for server in (gate, own):
            described = routes(server.service)
            of_api = [(path, methods) for path, methods in described if path.startswith(("/events", "/admin", "/tick"))]
            assert len(of_api) > 20
            credentials = server.token("root", scope="subscribe publish admin platform")
            prefix = server.url.partition(str(server.port))[2]
            for path, methods in of_api:
                for method in methods:
                    async with raw(server.port) as client:
                        headers = {"Authorization": f"Bearer {credentials}", "Content-Length": str(2**24 + 1)}
                        headers |= {"Content-Type": "application/json"}
                        await client.send(request(method, prefix + filled(path), headers))
                        refused = await client.answer()
                        assert (refused.status, refused.json["code"]) == (413, "message_too_large"), (method, path)


async def test_a_request_without_a_body_lacks_its_members(api: httpx.AsyncClient) -> None:
    """Which is what to say, whatever its type."""
    assert (await api.post("/events")).status_code == 422


async def test_missing_credentials_are_reported_first(gate: RunningGateway) -> None:
    """401, whatever the body is said to be."""
    async with http_client(gate.url) as client:
        for path in ("/events", "/events/batch"):
            answer = await client.post(path, content=b"x", headers={"Content-Type": "text/plain"})
            assert answer.status_code == 401, path


@pytest.mark.parametrize("headers", [{}, {"Upgrade": "websocket"}, {"Connection": "Upgrade"}, {"Upgrade": "h2c"}])
async def test_a_lost_upgrade_is_426(api: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """RFC 9110 section 15.5.22: the answer names the protocol that is wanted."""
    for method in ("GET", "HEAD"):
        answer = await api.request(method, "/ws/dashboard", headers=headers)
        assert answer.status_code == 426
        assert answer.headers["upgrade"] == "websocket"
        assert answer.headers["connection"].lower() == "upgrade"
        if method == "GET":
            assert answer.json()["code"] == "bad_message"
            assert "proxy" in answer.json()["detail"]
    assert (await api.post("/ws/dashboard")).headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/ws", "/ws/dashboards", "/ws/dashboard/", "/events", "/healthz"])
async def test_a_handshake_elsewhere_is_404(gate: RunningGateway, path: str) -> None:
    """A wrong path is no matter of who one is."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{gate.port}{path}?token={gate.token()}")
    assert refused.value.response.status_code == 404


async def test_in_an_application_of_ones_own_it_is_the_same() -> None:
    """Without exception handlers and middleware of the gateway's; the application's own routes at its paths stay."""
    service = create_service(settings_for())
    app = FastAPI()
    app.include_router(create_router(service, prefix="/live"))

    @app.get("/live/events")
    async def own() -> dict[str, Any]:
        return {"own": True}

    transport = httpx.ASGITransport(app)
    async with service.running(), httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        assert (await client.head("/live/healthz")).status_code == 200
        assert (await client.get("/live/events")).json() == {"own": True}
        answer = await client.put("/live/healthz")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await client.get("/live/ws/dashboard")).status_code == 426
