"""`GET /admin/usage`: what each tenant has used, by the hour."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from gateway.engine import recent_tenants, usage
from tests.support.clients import assert_problem, http
from tests.support.clocks import AdjustableClock
from tests.support.inprocess import RunningGateway, running, service_with

HOUR = 3_600


class Clocks:
    """The wall clock and the timer of a gateway, moved together."""

    def __init__(self) -> None:
        self.wall, self.timer = AdjustableClock(), AdjustableClock()

    def move(self, seconds: float) -> None:
        self.wall.offset += seconds
        self.timer.offset += seconds

    def to_next_hour(self, seconds: float = 0.0) -> None:
        self.move(HOUR - self.wall() % HOUR + seconds)


@pytest.fixture
def clocks() -> Clocks:
    clocks = Clocks()
    clocks.to_next_hour(60)
    return clocks


@pytest.fixture
async def metered(clocks: Clocks) -> AsyncIterator[RunningGateway]:
    service = service_with(clocks.wall, clocks.timer, max_token_lifetime=10 * HOUR, max_admin_token_lifetime=24 * HOUR)
    async with running(service=service) as gate:
        yield gate


async def turn(gate: RunningGateway) -> None:
    await gate.service.gateway.metrics.usage.turn()


def token(gate: RunningGateway, clocks: Clocks, *args: Any, **more: Any) -> str:
    return gate.token(*args, now=clocks.wall(), expires_in=9 * HOUR, **more)


async def hours(gate: RunningGateway, clocks: Clocks, query: str = "", **more: Any) -> list[dict[str, Any]]:
    async with http(gate, token(gate, clocks, "root", **{"scope": "admin", **more})) as api:
        answer = await api.get(f"/admin/usage{query}")
    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert not page["durable"]  # with the log in memory
    found: list[dict[str, Any]] = page["hours"]
    return found


async def test_each_hour_has_what_was_used_in_it(metered: RunningGateway, clocks: Clocks) -> None:
    """Seconds of connections over the turn of the hour too; an hour without usage has no row."""
    async with metered.client(token(metered, clocks), "&rooms=circle:1") as client:
        await client.next("subscribed")
        await metered.publish(circle_id=1)
        size = len(str(await client.next("task.completed")))
        clocks.to_next_hour()
        await turn(metered)
        clocks.move(600)
        await metered.publish(circle_id=1)
        await metered.publish(circle_id=2)
        await client.next("task.completed")
        first, second = await hours(metered, clocks)
    assert (first["events"], first["deliveries"], second["events"], second["deliveries"]) == (1, 1, 2, 1)
    assert first["connection_seconds"] == pytest.approx(HOUR - 60, abs=20)
    assert second["connection_seconds"] == pytest.approx(600, abs=20)
    assert size / 2 < first["bytes"] < 2 * size
    assert first["hour"] < second["hour"]
    assert second["hour"].endswith(":00:00.000Z")
    await turn(metered)
    for _ in range(2):
        clocks.to_next_hour()
        await turn(metered)
    assert len(await hours(metered, clocks)) == 2


async def test_an_administrator_sees_its_tenant_and_the_platform_sees_all(
    metered: RunningGateway, clocks: Clocks
) -> None:
    """The platform gets all tenants in pages, or one."""
    for tenant in ("acme", "globex", "initech"):
        await metered.publish(tenant, circle_id=1)
    clocks.to_next_hour()
    await turn(metered)
    await metered.publish("globex", circle_id=1)
    assert [row["tenant"] for row in await hours(metered, clocks)] == ["acme"]
    everywhere = {"scope": "platform", "tenant": "ops"}
    rows = await hours(metered, clocks, **everywhere)
    assert [row["tenant"] for row in rows] == ["acme", "globex", "initech", "globex"]
    assert len(await hours(metered, clocks, "?tenant=globex", **everywhere)) == 2
    async with http(metered, token(metered, clocks, "root", **everywhere)) as api:
        paged: list[dict[str, Any]] = []
        after = None
        while after is not None or not paged:
            page = (await api.get("/admin/usage", params={"limit": 1, **({"after": after} if after else {})})).json()
            paged += page["hours"]
            after = page["next"]
        assert paged == rows
        assert_problem(await api.get("/admin/usage?after=x"), 422, "bad_message")
    async with http(metered, token(metered, clocks, "root", scope="admin")) as api:
        assert_problem(await api.get("/admin/usage?tenant=globex"), 403, "scope_missing")
    async with http(metered, token(metered, clocks)) as api:
        assert_problem(await api.get("/admin/usage"), 403, "scope_missing")


async def test_a_page_counts_what_it_shows(
    metered: RunningGateway, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tenants of the pages before and after it cost no count."""
    for number in range(60):
        await metered.publish(f"t{number:02}", circle_id=1)
    counted: list[str] = []
    log = metered.service.gateway.log
    appended = log.appended

    def recorded(tenant: str) -> int:
        counted.append(tenant)
        return appended(tenant)

    monkeypatch.setattr(log, "appended", recorded)
    everywhere = {"scope": "platform", "tenant": "ops"}
    (first, *_) = await hours(metered, clocks, "?limit=1", **everywhere)
    hour = int(datetime.fromisoformat(first["hour"]).timestamp())
    counted.clear()
    rows = await hours(metered, clocks, f"?limit=5&after={hour}:t49", **everywhere)
    assert [row["tenant"] for row in rows] == [f"t{number}" for number in range(50, 55)]
    assert len(counted) <= 6


async def test_the_tenants_of_a_node_are_those_with_most_work_in_the_hour(
    metered: RunningGateway, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much others have done before; the rest is counted together."""
    monkeypatch.setattr(recent_tenants, "SHOWN", 1)
    for _ in range(5):
        await metered.publish("acme", circle_id=1)
    clocks.to_next_hour()
    await turn(metered)
    for _ in range(2):
        await metered.publish("bolt", circle_id=1)
    await metered.publish("acme", circle_id=1)
    async with metered.client(token(metered, clocks)):
        async with http(metered, token(metered, clocks, "root", scope="platform", tenant="ops")) as api:
            (node,) = (await api.get("/admin/nodes")).json()["nodes"]
    assert node["tenants"] == {
        "bolt": {"events": 2, "deliveries": 0, "connections": 0, "waiting": 0.0},
        "other": {"events": 6, "deliveries": 0, "connections": 1, "waiting": 0.0},
    }


async def test_the_number_of_rows_is_bounded(
    metered: RunningGateway, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest hours are dropped first."""
    monkeypatch.setattr(usage, "MAX_ROWS", 6)
    for n in range(5):
        for tenant in ("acme", "globex"):
            for _ in range(n + 1):
                await metered.publish(tenant, circle_id=1)
        clocks.to_next_hour()
        await turn(metered)
    assert [row["events"] for row in await hours(metered, clocks)] == [3, 4, 5]
