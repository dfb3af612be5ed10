"""The parameters of queries: a malformed value is refused by every route that has the parameter."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.api import create_app
from tests.support.clients import assert_problem, http
from tests.support.inprocess import RunningGateway, running
from tests.support.settings import settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER = ["x", "0", "-1", "1.5", "1e3", "100000", "9" * 5_000, "٣", ""]
ID = ["a b", "-a", "é", "a/b", "a\n", "\x00", "a" * 65, ""]
SUBJECT = ["a b", "-a", "é", "a/b", "a\n", "\x00", "a" * 129, ""]
ROOM = ["a b", "circle:", "circle:*", "x:1", "tenant\n", "circle:" + "a" * 65, "\x00"]
LONG = "a" * 300
"""Opaque names are any text of a bounded length."""

MALFORMED: dict[str, list[str]] = {
    "limit": NUMBER,
    "tenant": ID,
    "user_id": SUBJECT,
    "room": ROOM,
    "type": ["A", "a b", "a..b", ".a", "*a", "a.*b", "a**", "é", "\x00", "a" * 66],
    "payload": ["2", "true", ""],
    "view": ["x", ""],
    "since": ["nonsense", "evt_", "\x00", LONG],
    "before": ["x", "1:2", "\x00", LONG],
    "event_id": ["", LONG],
    "connection_id": ["", LONG],
    "q": ["", LONG],
}
AFTER: dict[str, list[str]] = {
    "/admin/stats": ["con", "con_", "con_a b", "ada", "\x00", LONG],
    "/admin/connections": ["con", "con_", "con_a b", "ada", "\x00", LONG],
    "/admin/tenants": ID,
    "/admin/rooms": ROOM,
    "/admin/usage": ["x", "0", ":acme", "-1:acme", "1:", "1:a b", "٣:acme", "9" * 13 + ":acme", "\x00", LONG],
    "/admin/tail": [LONG],
    "/rooms/{room}/state": ["nonsense", "evt_", "\x00", LONG],
}
OTHERS: dict[str, dict[str, str]] = {
    "/admin/explain": {"user_id": "ada", "room": "circle:1"},
    "/admin/find": {"q": "ada"},
}
"""The parameters that are required besides, or instead of the one in question."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate() -> AsyncIterator[RunningGateway]:
    async with running(settings_for(admin_requests_per_minute=0)) as gate:
        yield gate


def parameters(gate: RunningGateway) -> list[tuple[str, str, str]]:
    """Method, path and name of each parameter of a query; those of event streams have tests of their own."""
    described = create_app(gate.service).openapi()["paths"]
    return [
        (method.upper(), path, parameter["name"])
        for path, methods in described.items()
        for method, route in methods.items()
        for parameter in route.get("parameters", ())
        if parameter["in"] == "query" and path != "/events/stream"
    ]


async def test_a_malformed_value_is_refused_by_every_route_that_has_the_parameter(gate: RunningGateway) -> None:
    found = parameters(gate)
    assert len(found) > 30
    every = gate.token("root", rooms=["circle:*"], scope="subscribe publish admin platform")
    async with http(gate, every) as api:
        for method, path, name in found:
            query: dict[str, Any] = dict(OTHERS.get(path, {}))
            for other, instead in (("connection_id", "user_id"), ("event_id", "room")):
                if name == other:
                    del query[instead]
            url = path.replace("{room}", "circle:1").replace("{id}", "con_x").replace("{type}", "a.b")
            for value in AFTER[path] if name == "after" else MALFORMED[name]:
                response = await api.request(method, url, params={**query, name: value})
                assert response.status_code == 422, (method, path, name, value, response.text)
                code = response.json()["code"]
                cursor = name in ("since", "after") and path.startswith("/rooms") and value != LONG
                expected = "room_invalid" if name == "room" and value else "cursor_invalid" if cursor else "bad_message"
                assert_problem(response, 422, expected)
                assert code == expected, (method, path, name, value)


@pytest.mark.parametrize(
    "member",
    [
        *({"user_id": value} for value in SUBJECT),
        *({"tenant": value} for value in ID),
        *({"jti": value} for value in ("", "a b", "é", "\x00", "a" * 129)),
    ],
)
async def test_a_name_that_no_token_can_have_cannot_be_revoked(gate: RunningGateway, member: dict[str, str]) -> None:
    """A typing error would look like a revocation."""
    async with http(gate, gate.token("root", scope="admin platform")) as api:
        assert_problem(await api.post("/admin/tokens/revoke", json=member), 422, "bad_message")


async def test_the_types_of_a_tail_may_be_the_beginning_of_one(gate: RunningGateway) -> None:
    async with http(gate, gate.token("root", scope="admin")) as api:
        for type in ("task.created", "task.*", "task*", "task_*", "*", "a" * 64 + "*"):
            assert (await api.get("/admin/tail", params={"type": type})).status_code == 200, type
