"""The fast path of publishing answers as FastAPI does: status, headers and body to the byte, log lines, and the log."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse, Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from gateway import SessionIdentity
from gateway.api import create_app, create_router, create_service
from gateway.service.factory import Service
from gateway.telemetry import log_events
from gateway.telemetry.line_rate import LineLimiter
from gateway.transports.uvicorn import guard
from tests.protocol.publish_requests import EVENT, GOOD, PublishRequest, Revoke, Subject, encoded, request_of, steps
from tests.support.inprocess import RunningGateway, running
from tests.support.raw_client import raw
from tests.support.settings import settings_for
from tests.support.tokens import token

ONE = request_of(encoded(EVENT))
BATCH = request_of(encoded({"events": [EVENT] * 3}), path="/events/batch")


async def nothing() -> None:
    """A dependency of the application's own, for which FastAPI has to handle its routes."""


def embedded(service: Service, **options: Any) -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    app.include_router(create_router(service), **options)
    return app


def by_fastapi(service: Service) -> FastAPI:
    return embedded(service, dependencies=[Depends(nothing)])


class Lines(logging.Handler):
    """The lines of a logger."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def answered(subject: Subject, step: Any) -> tuple[Any, list[str]]:
    """The answer, and the lines that were logged; their rate is not limited here."""
    lines, logger = Lines(), logging.getLogger("gateway")
    logger.addHandler(lines)
    try:
        with patch.object(log_events, "limiter", LineLimiter()):
            return await subject.take(step), lines.lines
    finally:
        logger.removeHandler(lines)


@asynccontextmanager
async def serving(*makers: Callable[[Service], Any]) -> AsyncIterator[list[Subject]]:
    """A gateway for each kind of application, each with a clock of its own."""
    async with AsyncExitStack() as stack:
        subjects = [Subject(maker) for maker in makers]
        for subject in subjects:
            await stack.enter_async_context(subject.service.running())
        yield subjects


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
@given(st.lists(steps, min_size=30, max_size=60))
def test_it_answers_as_fastapi_does(steps: Sequence[Any]) -> None:
    """For any request the same answers and log lines, and in the end the same events in the log."""

    async def compare() -> None:
        async with serving(by_fastapi, create_app, embedded) as subjects:
            for step in steps:
                expected, *others = [await answered(subject, step) for subject in subjects]
                assert others == [expected] * 2, step
            assert len({subject.kept() for subject in subjects}) == 1

    asyncio.run(compare())


@pytest.mark.parametrize("request_", [ONE, BATCH])
@pytest.mark.parametrize("sender", sorted(GOOD))
async def test_valid_requests_take_the_fast_path(request_: PublishRequest, sender: str) -> None:
    """In the gateway's own application and in another one; by FastAPI where that has a dependency before the routes."""
    headers = [(name, value.replace(GOOD["publisher"], GOOD[sender])) for name, value in request_.headers]
    async with serving(create_app, embedded, by_fastapi) as subjects:
        for subject in subjects:
            assert "'status': 202" in await subject.take(replace(request_, headers=tuple(headers)))
        assert [subject.by_fastapi for subject in subjects] == [False, False, True]


async def test_a_token_that_is_known_ends_with_its_revocation() -> None:
    """With the next request, and not with the next look at its signature; so do its `exp` and its rooms."""
    async with serving(create_app) as (subject,):
        room_one = request_of(encoded(EVENT), token("bob", rooms=["circle:1"], now=subject.clock()).encode())
        assert "'status': 202" in await subject.take(room_one)
        await subject.take(Revoke("bob", removed=True))
        assert "room_forbidden" in await subject.take(room_one)
        assert "'status': 202" in await subject.take(ONE)
        await subject.take(Revoke("ada", removed=False))
        assert "token_revoked" in await subject.take(ONE)
        assert "'status': 202" in await subject.take(request_of(encoded(EVENT), GOOD["administrator"]))
        await subject.clock.advance(601.0)
        assert "token_expired" in await subject.take(request_of(encoded(EVENT), GOOD["administrator"]))


# ---- what an application has before the routes


async def office(request: Request) -> None:
    if request.headers.get("x-office") != "yes":
        raise HTTPException(403, "not from here")


def on_the_router(service: Service) -> FastAPI:
    return embedded(service, dependencies=[Depends(office)])


def on_the_application(service: Service) -> FastAPI:
    app = FastAPI(dependencies=[Depends(office)])
    app.include_router(create_router(service))
    return app


def on_a_router_around_it(service: Service) -> FastAPI:
    app, around = FastAPI(), APIRouter(dependencies=[Depends(office)])
    around.include_router(create_router(service))
    app.include_router(around)
    return app


def as_middleware(service: Service) -> FastAPI:
    app = create_app(service)

    @app.middleware("http")
    async def check(request: Request, call_next: Callable[[Request], Any]) -> Response:
        if request.headers.get("x-office") != "yes":
            return PlainTextResponse("not from here", 403)
        answer: Response = await call_next(request)
        return answer

    return app


@pytest.mark.parametrize("make", [on_the_router, on_the_application, on_a_router_around_it, as_middleware])
@pytest.mark.parametrize("request_", [ONE, BATCH])
async def test_middleware_and_dependencies_of_the_application_hold(
    make: Callable[[Service], FastAPI], request_: PublishRequest
) -> None:
    """A dependency or a middleware that refuses: nothing is published; what it lets in is."""
    async with serving(make) as (subject,):
        assert "not from here" in await subject.take(request_)
        assert "evt" not in subject.kept()
        let_in = replace(request_, headers=(*request_.headers, (b"x-office", b"yes")))
        assert "'status': 202" in await subject.take(let_in)


async def test_each_place_of_a_router_has_its_own_dependencies() -> None:
    """Included twice, under two prefixes: open under one, and not under the other."""

    def twice(service: Service) -> FastAPI:
        app, router = FastAPI(), create_router(service)
        app.include_router(router, prefix="/open")
        app.include_router(router, prefix="/closed", dependencies=[Depends(office)])
        return app

    async with serving(twice) as (subject,):
        for _ in range(2):
            assert "'status': 202" in await subject.take(replace(ONE, path="/open/events"))
            assert not subject.by_fastapi
            assert "not from here" in await subject.take(replace(ONE, path="/closed/events"))


async def test_an_answer_of_the_applications_own_class_stays_one() -> None:
    """`default_response_class`, for all that FastAPI answers."""

    class Spaced(Response):
        media_type = "application/spaced+json"

        def render(self, content: Any) -> bytes:
            return repr(content).encode()

    def spaced(service: Service) -> FastAPI:
        return embedded(service, default_response_class=Spaced)

    async with serving(spaced) as (subject,):
        assert "application/spaced+json" in await subject.take(ONE)


async def test_a_limit_of_bodies_of_the_applications_own_holds() -> None:
    """`max_body_size` of newer releases of FastAPI."""

    def limited(service: Service) -> FastAPI:
        app = FastAPI(max_body_size=10)
        app.include_router(create_router(service))
        return app

    async with serving(limited) as (subject,):
        assert "'status': 413" in await subject.take(ONE)


async def test_a_request_that_fastapi_traces_is_handled_by_it() -> None:
    """Its spans are of its own steps."""

    def traced(service: Service) -> Any:
        app = create_app(service)

        async def with_telemetry(scope: Scope, receive: Receive, send: Send) -> None:
            scope["fastapi.telemetry"] = object()
            await app(scope, receive, send)

        return with_telemetry

    async with serving(traced) as (subject,):
        assert "'status': 202" in await subject.take(ONE)
        assert subject.by_fastapi


@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_fastapi_handles_the_requests_whose_trace_is_sampled(
    ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others take the fast path, and are in FastAPI's own metrics as before, by their route."""
    tracing, measured = TracerProvider(sampler=ParentBasedTraceIdRatio(ratio)), InMemoryMetricReader()
    metering = MeterProvider([measured])
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracing)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: metering)

    def mounted(service: Service) -> FastAPI:
        app = FastAPI()
        app.mount("/realtime", create_app(service))
        return app

    async with serving(create_app, embedded, mounted) as subjects:
        for subject, prefix in zip(subjects, ("", "", "/realtime"), strict=True):
            for request in (ONE, BATCH):
                assert "'status': 202" in await subject.take(replace(request, path=prefix + request.path))
                assert subject.by_fastapi == (ratio == 1.0)
    data = measured.get_metrics_data()
    assert data is not None
    found = json.loads(data.to_json())["resource_metrics"][0]["scope_metrics"]
    durations = [
        point["attributes"]
        for scope in found
        for metric in scope["metrics"]
        if metric["name"] == "http.server.request.duration"
        for point in metric["data"]["data_points"]
    ]
    routes = [f"{prefix}{path}" for prefix in ("", "/realtime") for path in ("/events", "/events/batch")]
    assert sorted(point["http.route"] for point in durations) == routes
    metering.shutdown()
    tracing.shutdown()


async def test_an_application_that_authenticates_is_asked() -> None:
    """About each request, also one with a token that was good a moment ago."""
    asked = []

    def authenticate(request: Any) -> SessionIdentity | None:
        asked.append(request)
        return None

    service = create_service(settings_for(), authenticate=authenticate)
    app = create_app(service)
    with TestClient(app) as client:
        for _ in range(2):
            headers = {"Authorization": f"Bearer {token()}"}
            assert client.post("/events", json=EVENT, headers=headers).status_code == 202
    assert len(asked) == 2


async def test_a_mounted_application_answers_under_its_path() -> None:
    """The same path elsewhere is not its."""

    def mounted(service: Service) -> FastAPI:
        app = FastAPI()
        app.mount("/realtime", create_app(service))
        return app

    async with serving(mounted) as (subject,):
        assert "'status': 202" in await subject.take(replace(ONE, path="/realtime/events"))
        assert not subject.by_fastapi
        assert "'status': 404" in await subject.take(ONE)


# ---- how long a body may take


async def slow_body(gate: RunningGateway) -> bytes:
    """The answer to a client that announces a body and sends none of it."""
    async with raw(gate.port) as client:
        head = f"POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gate.token()}\r\n"
        await client.send(f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n".encode())
        return await client.rest()


async def test_the_server_ends_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `gateway serve` by the deadline of the connection: no timer for each request."""
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.3)
    async with running() as gate:
        answer = await slow_body(gate)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer


async def test_under_another_server_the_route_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which has no such deadline."""
    monkeypatch.setattr("gateway.api.routes.BODY_SECONDS", 0.3)
    async with running(stock=True, timeout_keep_alive=1) as gate:
        answer = await slow_body(gate)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
