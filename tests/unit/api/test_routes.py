"""The deadline of a body where the server has none, which is the client's; and the cost of routes."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI

from gateway.api import create_app, create_router, routes
from gateway.api.body import Body
from gateway.api.problems import RequestMistake
from gateway.engine.fair_share import FairShare
from gateway.engine.ingest import IngestScheduler
from gateway.service.factory import Service
from tests.support.inprocess import service_with


class BusyScheduler(IngestScheduler):
    """A scheduler in which each piece waits for longer than the deadline."""

    async def piece(self, tenant: str, size: int) -> None:
        await asyncio.sleep(2 * routes.BODY_SECONDS)


async def read(receive: Callable[[], Any]) -> bytes | Body:
    return await routes.read_body({"headers": []}, receive, 100, BusyScheduler(FairShare(lambda: 0.0)), "acme")


async def test_the_time_in_which_a_request_waits_for_its_turn_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "BODY_SECONDS", 0.1)
    chunks = [b"one", b"two", b"three"]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    assert bytes(await read(receive)) == b"onetwothree"


async def test_a_client_that_does_not_end_its_body_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "BODY_SECONDS", 0.1)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    with pytest.raises(RequestMistake) as refused:
        await read(receive)
    assert refused.value.status_code == 408


def application(service: Service) -> FastAPI:
    """One of an embedder's."""
    app = FastAPI()
    app.include_router(create_router(service))
    return app


@pytest.mark.parametrize(("made", "times"), [(create_app, 1), (application, 2)])
async def test_routes_are_built_once_and_again_where_they_are_included(
    monkeypatch: pytest.MonkeyPatch, made: Callable[[Service], FastAPI], times: int
) -> None:
    """Each takes about a millisecond, before the first client can connect."""
    built = Counter[tuple[str, str]]()
    build = routes.ProblemRoute.get_route_handler

    def counted(route: routes.ProblemRoute) -> Any:
        built[route.path, str(route.methods)] += 1
        return build(route)

    monkeypatch.setattr(routes.ProblemRoute, "get_route_handler", counted)
    app = made(service_with())
    async with app.router.lifespan_context(app):
        pass
    assert len(built) > 30
    assert set(built.values()) == {times}
