"""The isolation canary of a running gateway, whose routing is broken on purpose, on both engines of the log."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from auth.identity import Identity
from gateway.core.canary import Result
from gateway.core.errors import LogUnavailable
from gateway.core.log import Draft, Receipt
from gateway.core.manager import Recipients
from gateway.core.reserved_tenants import CANARY_TENANTS
from gateway.core.window import Entry
from gateway.embedding.broadcast_manager import BroadcastManager
from gateway.service.factory import create_service
from tests.support.clients import http
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import PATIENCE, until
from tests.support.prometheus import Scraped
from tests.support.redis import redis_server
from tests.support.settings import settings_for

SHORT = 0.2


@pytest.fixture(params=["memory", "redis"])
async def nodes(request: pytest.FixtureRequest, prefix: str, tmp_path: Path) -> AsyncIterator[list[RunningGateway]]:
    """One node with its log in memory, or two on one Redis; their canaries check all the time."""
    async with AsyncExitStack() as stack:
        shared: dict[str, Any] = {}
        if request.param == "redis":
            server = await stack.enter_async_context(redis_server(tmp_path / "redis"))
            shared = {"log_url": server.url, "redis_prefix": prefix}
        gates = []
        for _ in range(2 if shared else 1):
            settings = settings_for(canary=True, max_rooms_per_connection=2, **shared)
            service = create_service(settings, authorize=of_customers)
            service.canary.interval, service.canary.bound = 0.02, PATIENCE
            gates.append(await stack.enter_async_context(running(service=service)))
        yield gates


async def of_customers(identity: Identity, rooms: Sequence[str]) -> Sequence[str]:
    """An application's authorization; it knows nothing of the canary, and is not asked about it."""
    assert identity.tenant == "acme"
    return rooms


class Watched:
    """A node, and what its canary has found."""

    def __init__(self, gate: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
        self.gate = gate
        self.gateway, self.canary = gate.service.gateway, gate.service.canary
        self._caplog = caplog

    @property
    def failed(self) -> dict[str, int]:
        """The number of failed checks by result; a busy machine may keep the log from answering."""
        harmless = ("ok", "unavailable")
        return {result: count for result, count in self.canary.results.items() if count and result not in harmless}

    async def finds(self, result: Result) -> None:
        """Wait until the canary finds this, and shows it: in the metric, the log and the readiness."""
        before = self.canary.results[result]
        await until(lambda: self.canary.results[result] > before)
        async with http(self.gate) as api:

            async def is_shown() -> bool:
                # A busy machine may keep the log from being ready as well.
                answer = await api.get("/readyz")
                return answer.status_code == 503 and "the isolation canary has found" in answer.json()["detail"]

            await until(is_shown)
            counted = Scraped((await api.get("/metrics")).text)
        assert counted[f'canary_checks_total{{result="{result}"}}'] > before
        lines = [vars(record) for record in self._caplog.records if record.name == "gateway.canary"]
        assert any(line["event"] == "canary.found" and line["result"] == result for line in lines)

    async def is_well(self) -> None:
        """Wait until the node is ready again."""
        await self.within(PATIENCE)
        async with http(self.gate) as api:

            async def is_ready() -> bool:
                return (await api.get("/readyz")).status_code == 200

            await until(is_ready)
        assert self.gateway.readiness.finding is None

    async def within(self, bound: float) -> None:
        """Set the bound, and wait until it is that of a check."""
        self.canary.bound = bound
        goal = sum(self.canary.results.values()) + 2 * len(CANARY_TENANTS)
        await until(lambda: sum(self.canary.results.values()) >= goal)

    async def more(self, result: Result, count: int = 3) -> None:
        """Wait for more checks with this result."""
        goal = self.canary.results[result] + count
        await until(lambda: self.canary.results[result] >= goal)


@contextmanager
def entries_handled(watched: Watched, handle: Callable[[Callable[[], None], Entry], None]) -> Iterator[None]:
    """Handle each new entry of the canary's tenants at this node in this way; the first argument delivers it."""
    delivery = watched.gateway.delivery
    whole = delivery.on_entry

    def on_entry(tenant: str, entry: Entry) -> None:
        if tenant in CANARY_TENANTS:
            handle(lambda: whole(tenant, entry), entry)
        else:
            whole(tenant, entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "on_entry", on_entry)
        yield


@contextmanager
def appends_handled(watched: Watched, handle: Callable[[Awaitable[Receipt]], Awaitable[Receipt]]) -> Iterator[None]:
    """Handle each append to the canary's tenants in this way."""
    log = watched.gateway.log
    whole = log.append

    def append(tenant: str, draft: Draft) -> Awaitable[Receipt]:
        return handle(whole(tenant, draft)) if tenant in CANARY_TENANTS else whole(tenant, draft)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "append", append)
        yield


@contextmanager
def routed_by_room_name(watched: Watched) -> Iterator[None]:
    """Deliver each event to the connections of all tenants that are in rooms of these names."""
    manager = watched.gateway.manager
    of_one_tenant = manager.fan_out

    def fan_out(tenant: str, entries: list[Entry]) -> list[Recipients]:
        return [found for each in list(manager.tenants()) for found in of_one_tenant(each, entries)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager, "fan_out", fan_out)
        yield


async def test_a_healthy_canary_is_quiet_and_a_broken_gateway_fires(
    nodes: list[RunningGateway], caplog: pytest.LogCaptureFixture
) -> None:
    """Each fault in turn, then a node that is well again; at the end a drain, which is not taken for a fault."""
    caplog.set_level(logging.INFO, "gateway.canary")
    watched = Watched(nodes[0], caplog)
    await healthy(watched, nodes)
    if len(nodes) > 1:
        await lose_the_channel(watched)

    with routed_by_room_name(watched):
        await watched.finds("leak")
    await watched.is_well()

    await watched.within(SHORT)  # a lost event is waited for as long
    with entries_handled(watched, lambda deliver, entry: None):
        await watched.finds("loss")
    await watched.is_well()

    with entries_handled(watched, twice):
        await watched.finds("duplicate")
    await watched.is_well()

    if len(nodes) > 1:
        with entries_handled(watched, without_one_of(nodes[1])):
            await watched.finds("loss")
        await watched.is_well()

    lost = watched.canary.results["loss"]
    await watched.within(0.05)
    with entries_handled(watched, stalled):
        await watched.finds("slow")  # a stalled event loop, and not a loss
    await watched.is_well()

    await watched.within(0.05)
    with appends_handled(watched, held):
        await watched.finds("slow")
    await watched.is_well()
    assert watched.canary.results["loss"] == lost

    with appends_handled(watched, refused):
        await watched.more("unavailable")
        assert watched.gateway.readiness.finding is None  # readiness has the log's own state
    await watched.more("ok")

    with entries_handled(watched, lambda deliver, entry: fail_connections(watched)):
        await watched.finds("closed")
    await watched.is_well()
    assert [line for line in caplog.messages if line.startswith("isolation canary is well again")]

    failed = watched.failed
    async with asyncio.timeout(30):
        await watched.gateway.drain.run(3_600)
    await until(lambda: not watched.gateway.manager.of(CANARY_TENANTS[0]).connections)
    assert watched.failed == failed


async def healthy(watched: Watched, nodes: list[RunningGateway]) -> None:
    """Under load nothing is found, and nothing of the canary is shown as a tenant's or a client's."""
    gate = watched.gate
    async with gate.client(
        gate.token("ada", rooms=["tenant", "circle:*"]), query="&rooms=tenant,circle:canary"
    ) as client:
        await client.next("subscribed")
        for n in range(200):
            await nodes[n % len(nodes)].publish(circle_id="canary", data={"n": n})
            if n % 10 == 0:
                await watched.more("ok", 1)
        assert [(await client.next("task.completed", PATIENCE))["data"]["n"] for _ in range(200)] == list(range(200))
        for node in nodes:
            found = {result for result, count in node.service.canary.results.items() if count}
            assert found <= {"ok", "unavailable"}
        broadcasts = BroadcastManager()
        broadcasts.attach(watched.gateway)
        assert await broadcasts.broadcast({"event_id": "evt_of_no_tenant"}) == broadcasts.get_client_count() == 1
        assert (await client.next())["event_id"] == "evt_of_no_tenant"
        await watched.more("ok", 1)
        async with http(gate, gate.token("root", scope="platform")) as api:
            counted = Scraped((await api.get("/metrics")).text)
            shown = [(await api.get(path)).text for path in ("/metrics/tenants", "/admin/tenants", "/admin/usage")]
            status = (await api.get("/admin/nodes")).json()["nodes"][0]
            for request in (
                api.get(f"/admin/stats?tenant={CANARY_TENANTS[0]}"),
                api.post("/admin/tokens", json={"user_id": "a", "tenant": CANARY_TENANTS[0], "rooms": []}),
                api.post("/events", json={"type": "a", "data": {}, "tenant": CANARY_TENANTS[0]}),
            ):
                assert (await request).status_code in (400, 422)
        with pytest.raises(ValueError, match="tenant"):
            await gate.publish(tenant=CANARY_TENANTS[0])
    assert "acme" in shown[0]
    assert not any("_canary" in text for text in shown)
    assert counted['connections{transport="websocket"}'] == counted['connects_total{result="accepted"}'] == 1
    assert counted["deliveries_total"] == 200
    assert counted["canary_seconds_count"] >= 20
    assert (status["ready"], status["problem"]) == (True, None)
    for tenant in CANARY_TENANTS:
        assert len(watched.gateway.log.window(tenant)) <= len(nodes)
    assert watched.failed == {}


async def lose_the_channel(watched: Watched) -> None:
    """Close the connections that Redis publishes to: what they miss is read from the stream, without older versions,
    and is no fault."""
    async with Redis.from_url(watched.gate.service.settings.log_url) as redis:
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call]
    await watched.more("ok", 10)
    assert watched.failed == {}


def without_one_of(node: RunningGateway) -> Callable[[Callable[[], None], Entry], None]:
    """Deliver all but one event of the node's canary in each tenant; the next one shows that it is missing."""
    source = node.service.canary.source
    dropped: set[int] = set()

    def handle(deliver: Callable[[], None], entry: Entry) -> None:
        data = json.loads(entry.frame.payload)["data"]
        if data["source"] == source and not dropped:
            dropped.add(data["number"])
        elif data["source"] != source or data["number"] not in dropped:
            deliver()

    return handle


def fail_connections(watched: Watched) -> None:
    for tenant in CANARY_TENANTS:
        for connection in list(watched.gateway.manager.of(tenant).connections.values()):
            watched.gateway.connections.fail(connection, RuntimeError("of the test"))


def twice(deliver: Callable[[], None], entry: Entry) -> None:
    deliver()
    deliver()


def stalled(deliver: Callable[[], None], entry: Entry) -> None:
    time.sleep(0.1)
    deliver()


async def held(appended: Awaitable[Receipt]) -> Receipt:
    receipt = await appended
    await asyncio.sleep(0.2)
    return receipt


async def refused(appended: Awaitable[Receipt]) -> Receipt:
    appending = asyncio.ensure_future(appended)
    appending.cancel()
    await asyncio.wait((appending,))
    raise LogUnavailable
