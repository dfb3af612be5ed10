"""Web pages use the HTTP API from the origins that may open a WebSocket, and from no other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from gateway.api import create_router
from gateway.service.factory import create_service
from tests.support.clients import http_client
from tests.support.inprocess import RunningGateway, running, served
from tests.support.settings import settings_for

GOOD = "https://app.example.com"
EVIL = "https://evil.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


@asynccontextmanager
async def app(**settings: Any) -> AsyncIterator[RunningGateway]:
    """`create_app`."""
    async with running(settings_for(**settings)) as gate:
        yield gate


@asynccontextmanager
async def router(**settings: Any) -> AsyncIterator[RunningGateway]:
    """`create_router` in another application, which has a route of its own."""
    async with embedded(**settings) as gate:
        yield gate


@asynccontextmanager
async def embedded(middleware: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[RunningGateway]:
    service = create_service(settings_for(**settings))
    application = FastAPI()
    application.include_router(create_router(service, prefix="/rt"))
    if middleware is not None:
        application.add_middleware(CORSMiddleware, **middleware)

    @application.post("/own")
    async def own() -> None:
        """A route of the application's."""

    async with served(application, log_level="error") as port:
        gate = RunningGateway(service, port)
        gate.url += "/rt"
        yield gate


def api(gate: RunningGateway, origin: str | None, **headers: str) -> httpx.AsyncClient:
    given = {"Authorization": f"Bearer {gate.token()}", **headers, **({} if origin is None else {"Origin": origin})}
    return http_client(gate.url, headers=given)


async def preflight(gate: RunningGateway, origin: str, path: str) -> httpx.Response:
    async with http_client(gate.url) as client:
        return await client.options(path, headers={"Origin": origin, **PREFLIGHT})


def allowed(answer: httpx.Response) -> str | None:
    assert len(answer.headers.get_list("access-control-allow-origin")) <= 1
    assert "access-control-allow-credentials" not in answer.headers
    origin: str | None = answer.headers.get("access-control-allow-origin")
    return origin


WAYS = [app, router]
PATHS = ["/tickets", "/events", "/events/batch", "/admin/tokens", "/rooms/circle:7/presence", "/admin/connections/x"]


@pytest.mark.parametrize("way", WAYS)
async def test_pages_of_allowed_origins_use_the_api(way: Any) -> None:
    """Preflight and answer both; what a page has to read of a refusal is exposed."""
    async with way(allowed_origins=(GOOD, "https://b.example"), tickets_per_minute=1) as gate:
        for path in PATHS:
            answer = await preflight(gate, GOOD, path)
            assert (answer.status_code, allowed(answer), answer.content) == (204, GOOD, b""), path
            words = {word.strip() for word in answer.headers["access-control-allow-headers"].split(",")}
            assert {"authorization", "content-type"} <= words
            assert {"GET", "POST", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
            assert int(answer.headers["access-control-max-age"]) > 0
        async with api(gate, GOOD) as client:
            answer = await client.post("/tickets")
            assert (answer.status_code, allowed(answer), answer.headers["vary"]) == (201, GOOD, "Origin")
            answer = await client.post("/tickets")
            assert (answer.status_code, allowed(answer)) == (429, GOOD)
            assert "Retry-After" in answer.headers["access-control-expose-headers"]
            for path, json in (("/events", {"type": "Bad Type"}), ("/events", None), ("/admin/tokens", {})):
                answer = await client.post(path, json=json)
                assert (answer.status_code in (403, 422), allowed(answer)) == (True, GOOD), path
        async with api(gate, GOOD, Authorization="Bearer no") as client:
            answer = await client.post("/events", json={})
            assert (answer.status_code, allowed(answer)) == (401, GOOD)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("origin", [EVIL, "null", f"{GOOD}.evil.example", "http://app.example.com", f"{GOOD}:444"])
async def test_pages_of_other_origins_do_not(way: Any, origin: str) -> None:
    """Neither gets an answer that it may read."""
    async with way(allowed_origins=(GOOD,)) as gate:
        assert allowed(await preflight(gate, origin, "/tickets")) is None
        async with api(gate, origin) as client:
            answer = await client.post("/tickets")
            assert allowed(answer) is None
            assert "access-control-expose-headers" not in answer.headers


@pytest.mark.parametrize("way", WAYS)
async def test_without_a_list_only_the_own_origin_may(way: Any) -> None:
    """The rule of WebSockets; and a request with no origin, or two, is not a page's."""
    async with way() as gate:
        own = f"http://127.0.0.1:{gate.port}"
        assert allowed(await preflight(gate, own, "/tickets")) == own
        assert allowed(await preflight(gate, GOOD, "/tickets")) is None
        async with api(gate, None) as client:
            answer = await client.post("/tickets")
            assert (answer.status_code, allowed(answer)) == (201, None)
            answer = await client.post("/tickets", headers=[("Origin", own), ("Origin", GOOD)])
            assert allowed(answer) is None


async def test_any_origin_means_any() -> None:
    """The origin is named back, never `*` beside credentials."""
    async with app(allowed_origins=("*",)) as gate, api(gate, EVIL) as client:
        assert allowed(await client.post("/tickets")) == EVIL
        assert allowed(await preflight(gate, EVIL, "/tickets")) == EVIL


async def test_a_cache_keeps_answers_of_origins_apart() -> None:
    """`Vary` is also on answers that any origin may have."""
    async with app(allowed_origins=(GOOD,)) as gate:
        for origin in (GOOD, EVIL, None):
            async with api(gate, origin) as client:
                answer = await client.get("/.well-known/jwks.json")
                assert answer.headers["vary"] == "Origin"
                assert "public" in answer.headers["cache-control"]


async def test_options_that_are_no_preflight_are_no_method() -> None:
    """They are refused as before."""
    async with app(allowed_origins=(GOOD,)) as gate, api(gate, GOOD) as client:
        answer = await client.options("/tickets")
        assert answer.status_code == 405


async def test_the_other_routes_of_an_application_are_its_own() -> None:
    """The gateway's origins open none of them."""
    async with router(allowed_origins=(GOOD,)) as gate:
        gate.url = gate.url.removesuffix("/rt")
        assert allowed(await preflight(gate, GOOD, "/own")) is None
        async with api(gate, GOOD) as client:
            assert allowed(await client.post("/own")) is None


async def test_an_applications_own_middleware_goes_with_it() -> None:
    """One header, not two; it answers preflights first, for its origins."""
    middleware = {"allow_origins": [GOOD], "allow_methods": ["*"], "allow_headers": ["authorization"]}
    async with embedded(middleware, allowed_origins=(GOOD,)) as gate:
        assert allowed(await preflight(gate, GOOD, "/tickets")) == GOOD
        async with api(gate, GOOD) as client:
            assert allowed(await client.post("/tickets")) == GOOD
