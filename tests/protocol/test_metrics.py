"""`GET /metrics` and `GET /metrics/tenants`: access, formats, and that the numbers are those of what happened."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from pydantic import SecretStr
from websockets.exceptions import ConnectionClosed

from gateway.core.metric import Metric
from tests.support.clients import HasUrl, assert_problem, http
from tests.support.event_streams import streaming
from tests.support.inprocess import RunningGateway, embedded, running
from tests.support.pauses import until
from tests.support.prometheus import Scraped
from tests.support.settings import settings_for

STATIC = "a-token-of-the-scraper"

NAMES = {
    *("connections", "connects", "closes", "events", "deliveries", "delivery_bytes", "delivery_seconds"),
    *("behind_connections", "recoveries", "gaps", "publish_seconds", "refusals", "log_events", "log_bytes"),
    *("contract_violations", "state_items", "log_ready", "log_lag_seconds", "event_loop_lag_seconds", "build_info"),
}
"""The documented names, without the prefix, and as the parser gives them without `_total`."""


async def scraped(gate: HasUrl, path: str = "/metrics") -> Scraped:
    async with http(gate) as api:
        answer = await api.get(path)
    assert answer.status_code == 200, answer.text
    return Scraped(answer.text)


# ---- access


async def asked(gate: RunningGateway, path: str, token: str | None = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http(gate, token) as api:
        return await api.get(path, headers=named)


@pytest.fixture
async def guarded() -> AsyncIterator[RunningGateway]:
    async with running(settings_for(metrics_token=SecretStr(STATIC))) as gate:
        yield gate


@pytest.mark.parametrize("path", ["/metrics", "/metrics/tenants"])
@pytest.mark.parametrize("header", ["forwarded", "x_forwarded_for", "x_real_ip", "via"])
async def test_a_forwarded_request_needs_a_token(guarded: RunningGateway, path: str, header: str) -> None:
    """A proxy on this machine has a loopback address too; a token of the scope `platform` or the static one is taken,
    an administrator's of one tenant is refused."""
    forwarded = {header: "for=192.0.2.1" if header == "forwarded" else "192.0.2.1"}
    assert (await asked(guarded, path)).status_code == 200
    assert_problem(await asked(guarded, path, **forwarded), 401, "token_missing")
    assert_problem(await asked(guarded, path, "wrong", **forwarded), 401, "token_invalid")
    admin, platform = (guarded.token("root", scope=scope) for scope in ("admin", "platform"))
    assert_problem(await asked(guarded, path, admin, **forwarded), 403, "scope_missing")
    for token in (platform, STATIC):
        assert (await asked(guarded, path, token, **forwarded)).status_code == 200


async def test_without_a_static_token_none_is_accepted(gate: RunningGateway) -> None:
    """Also not an empty one."""
    for credentials in ("Bearer", f"Bearer {STATIC}"):
        answer = await asked(gate, "/metrics", x_forwarded_for="192.0.2.1", authorization=credentials)
        assert answer.status_code == 401


async def test_the_static_token_opens_nothing_else(guarded: RunningGateway) -> None:
    """For other routes it is an invalid token."""
    assert_problem(await asked(guarded, "/admin/stats", STATIC), 401, "token_invalid")


# ---- formats


async def test_the_format_is_as_accepted(gate: RunningGateway) -> None:
    """Prometheus' text format by default, OpenMetrics where `Accept` names it, as Prometheus sends it; both parse."""
    prometheus = (
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    )
    for path in ("/metrics", "/metrics/tenants"):
        plain, open_metrics = await asked(gate, path), await asked(gate, path, accept=prometheus)
        assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert open_metrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert open_metrics.text.endswith("# EOF\n")
        one, other = Scraped(plain.text), Scraped(open_metrics.text, parse_openmetrics)
        assert one.families.keys() == other.families.keys()
        async with http(gate) as api:
            head = await api.head(path)
        assert (head.status_code, head.content) == (200, b"")


async def test_names_and_labels_are_those_that_are_documented(gate: RunningGateway) -> None:
    """Names begin with `gateway_`; counters end in `_total`; no label has a tenant, user, room or type of event."""
    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        await gate.publish(circle_id=1)
        await client.next("task.completed")
        answer = await asked(gate, "/metrics")
    found = Scraped(answer.text)
    assert found.families.keys() >= NAMES
    assert all(line.startswith(("#", "gateway_")) for line in answer.text.splitlines())
    labels = {label for family in found.families.values() for sample in family.samples for label in sample.labels}
    assert labels == {"transport", "result", "code", "reason", "source", "le", "version", "python"}
    assert not {"acme", "ada", "circle:1", "task.completed"} & {
        value for family in found.families.values() for sample in family.samples for value in sample.labels.values()
    }
    assert all(family.documentation for family in found.families.values())


# ---- the numbers


async def test_connections_are_counted(gate: RunningGateway) -> None:
    """Open, accepted, refused and ended ones, by transport, result and code."""
    async with gate.client(), streaming(gate, "?rooms=circle:1"):
        during = await scraped(gate)
        assert during['connections{transport="websocket"}'] == during['connections{transport="sse"}'] == 1
        with pytest.raises(ConnectionClosed):
            async with gate.client("not-a-token"):
                pass
        async with gate.client(gate.token("bob")) as bob:
            for connection in gate.service.gateway.manager.of("acme").users["bob"]:
                await gate.service.gateway.administration.close_connection("acme", connection.id)
                break
            await bob.closed()
    after = await until(lambda: ended(gate, 3))
    assert after['connects_total{result="accepted"}'] == 3
    assert after['connects_total{result="token_invalid"}'] == after['refusals_total{code="token_invalid"}'] == 1
    assert after['closes_total{code="4403"}'] == 1
    assert after['closes_total{code="client"}'] == 2
    assert after['connections{transport="websocket"}'] == after['connections{transport="sse"}'] == 0


async def ended(gate: RunningGateway, count: int) -> Scraped | None:
    found = await scraped(gate)
    closes = sum(found[name] for name in found if name.startswith("closes_total"))
    return found if closes == count else None


async def test_events_and_deliveries_are_counted(gate: RunningGateway) -> None:
    """By source and result; each delivery once, with the bytes of its frame, live or caught up, by each transport."""
    publisher = gate.token("pub", rooms=["circle:*"], scope="publish subscribe")
    event = {"type": "task.completed", "data": {}, "circle_id": 1}
    keyed = {**event, "idempotency_key": "k"}
    async with (
        gate.client(query="&rooms=circle:1") as client,
        streaming(gate, "?rooms=circle:1") as stream,
        gate.client(publisher) as other,
        http(gate, publisher) as api,
    ):
        cursor = client.established["data"]["cursor"]
        await client.next("subscribed")
        await stream.next("subscribed")
        for body in (event, keyed, keyed):
            assert (await api.post("/events", json=body)).status_code == 202
        assert (await api.post("/events", json={**event, "circle_id": None, "project_id": 1})).status_code == 403
        batch = await api.post("/events/batch", json={"events": [event, {"type": "NO"}]})
        assert batch.status_code == 202
        await other.ask(type="publish", event=event)
        await gate.publish(circle_id=1)
        frames = [await client.next("task.completed") for _ in range(5)]
        for _ in range(5):
            await stream.next("task.completed")
        before = await scraped(gate)
        assert before["deliveries_total"] == 10
        size = 5 * len(httpx.Response(200, json=frames[0]).content)
        assert 2 * size * 0.9 < before["delivery_bytes_total"] < 2 * size * 1.5
        async with gate.client(gate.token("late"), f"&rooms=circle:1&since={cursor}") as late:
            await late.next("subscribed")
            for _ in range(5):
                await late.next("task.completed")
            after = await scraped(gate)
    assert after["deliveries_total"] == 15
    assert after['recoveries_total{result="recovered"}'] == 1
    assert {name: after[name] for name in after if name.startswith("events_total") and after[name]} == {
        'events_total{result="accepted",source="http"}': 3,
        'events_total{result="duplicate",source="http"}': 1,
        'events_total{result="refused",source="http"}': 2,
        'events_total{result="accepted",source="websocket"}': 1,
        'events_total{result="accepted",source="process"}': 1,
    }
    assert after["log_events"] == 5
    assert after["log_bytes"] > 500
    assert (after["log_ready"], after["log_lag_seconds"]) == (1, 0)
    assert after["delivery_seconds_count"] >= 3


async def test_items_are_counted(gate: RunningGateway) -> None:
    """The items of state, and the bytes of their values."""
    for n in range(6):
        await gate.publish(circle_id=1, item_key=f"gauge-{n % 3}", data={"n": n})
    found = await scraped(gate)
    assert found["state_items"] == found["log_events"] == 3
    assert found["state_bytes"] > 100


async def test_gaps_and_recoveries_are_counted() -> None:
    """A client that comes back after its events were trimmed."""
    async with running(settings_for(log_max_events=3)) as gate:
        async with gate.client() as client:
            cursor = client.established["data"]["cursor"]
        for _ in range(5):
            await gate.publish(circle_id=1)
        async with gate.client(query=f"&rooms=circle:1&since={cursor}") as client:
            assert (await client.next("subscribed"))["data"]["recovered"] is False
            found = await scraped(gate)
    assert found['recoveries_total{result="not_recovered"}'] == 1
    assert found['gaps_total{reason="not_recovered"}'] == 1


async def test_refusals_are_counted_by_code(gate: RunningGateway) -> None:
    """Commands and requests, malformed ones too."""
    async with gate.client() as client, http(gate, gate.token(scope="subscribe")) as api:
        await client.ask(type="subscribe", rooms=["circle:not_granted!"])
        await client.ask(type="no_such_command")
        await api.post("/events", json={"type": "task.completed", "data": {}})
        await api.post("/tickets", content=b"{}", headers={"content-type": "application/json"})
        async with http(gate, gate.token(scope="publish")) as publisher:
            await publisher.post("/events", json={"type": "task.completed"})
        found = await scraped(gate)
    assert {name: found[name] for name in found if name.startswith("refusals_total") and found[name]} == {
        'refusals_total{code="room_invalid"}': 1,
        'refusals_total{code="unknown_type"}': 1,
        'refusals_total{code="scope_missing"}': 1,
        'refusals_total{code="bad_message"}': 1,
    }


async def test_a_slow_consumer_is_counted_as_behind() -> None:
    """While it is over its rate."""
    async with running(settings_for(events_per_second=5)) as gate, gate.client() as client:
        await client.ask(type="subscribe", rooms=["circle:1"])
        for n in range(300):
            await gate.publish(circle_id=1, data={"n": n})
        await client.next("task.completed")
        assert (await scraped(gate))["behind_connections"] == 1


async def test_a_blocked_event_loop_is_measured(gate: RunningGateway) -> None:
    """By its lag, in the histogram."""
    await asyncio.sleep(0.15)
    time.sleep(0.7)  # noqa: ASYNC251 - the fault itself
    await asyncio.sleep(0.15)
    found = await scraped(gate)
    assert found["event_loop_lag_seconds_count"] > found['event_loop_lag_seconds_bucket{le="0.5"}']


async def test_publishing_is_measured_by_samples(gate: RunningGateway) -> None:
    """One of 16 events."""
    for _ in range(33):
        await gate.publish(circle_id=1)
    assert (await scraped(gate))["publish_seconds_count"] == 2


async def test_a_part_of_the_application_adds_a_metric(gate: RunningGateway) -> None:
    """A description and a function that reads it; a name stands for one metric."""
    checks: dict[tuple[str, ...], float] = {("ok",): 3, ("failed",): 0}
    metric = Metric("checks_total", "counter", "Checks.", lambda: checks, ("result",))
    gate.service.gateway.metrics.add(metric)
    assert (await scraped(gate))['checks_total{result="ok"}'] == 3
    with pytest.raises(ValueError, match="checks_total"):
        gate.service.gateway.metrics.add(metric)


async def test_an_embedded_gateway_has_its_metrics_below_its_prefix() -> None:
    """Beside those of the application, which may have a route of the same name."""
    async with embedded() as gate, gate.client():
        assert (await scraped(gate))['connections{transport="websocket"}'] == 1


# ---- by tenant


def of_tenants(found: Scraped, name: str) -> dict[str, float]:
    samples: Iterable[Any] = found.families[f"tenant_{name}"].samples
    return {sample.labels["tenant"]: sample.value for sample in samples}


async def test_the_busiest_tenants_have_counters_of_their_own(gate: RunningGateway) -> None:
    """The others are summed up; the sum is exact, and a tenant that is called `other` is one of them."""
    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        for _ in range(3):
            await gate.publish(circle_id=1)
            await client.next("task.completed")
        await gate.publish("other", circle_id=1)
        for n in range(60):
            for _ in range(n % 7):
                await gate.publish(f"tenant-{n}", circle_id=1)
        found = await scraped(gate, "/metrics/tenants")
    events, connects = of_tenants(found, "events"), of_tenants(found, "connects")
    assert len(events) == 51
    assert events["acme"] == of_tenants(found, "deliveries")["acme"] == 3
    assert sum(events.values()) == 4 + sum(n % 7 for n in range(60))
    assert connects == {**dict.fromkeys(events, 0), "acme": 1}
    assert min(value for tenant, value in events.items() if tenant != "other") >= 1


async def test_no_counter_of_a_tenant_decreases(gate: RunningGateway) -> None:
    """Prometheus takes a decrease for a restart. A tenant that becomes busy later takes the place of a quiet one, and
    is counted from then on."""
    total = 0
    before: dict[str, float] = {}
    for busy in range(70):
        for n in range(busy + 1):
            await gate.publish(f"tenant-{busy}", circle_id=n)
            total += 1
        events = of_tenants(await scraped(gate, "/metrics/tenants"), "events")
        assert sum(events.values()) == total
        assert len(events) <= 51
        assert all(events[tenant] >= value for tenant, value in before.items() if tenant in events)
        before = events
    await gate.publish("tenant-69", circle_id=1)
    assert of_tenants(await scraped(gate, "/metrics/tenants"), "events")["tenant-69"] >= 1
