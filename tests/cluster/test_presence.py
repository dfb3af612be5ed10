"""Presence and membership of several gateways on one Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import pytest

from tests.support.clients import Client, fence, http, until_fence
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import ran, until, until_equal
from tests.support.presence import news, present, with_grace
from tests.support.redis import RedisServer
from tests.support.settings import settings_for


@asynccontextmanager
async def node(server: RedisServer, grace: float = 0.3) -> AsyncIterator[RunningGateway]:
    """One gateway of those that share the server."""
    async with running(settings_for(log_url=server.url)) as gate:
        yield with_grace(gate, grace)


@asynccontextmanager
async def gates(server: RedisServer, count: int = 2, **options: Any) -> AsyncIterator[list[RunningGateway]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(node(server, **options)) for _ in range(count)]


def name(gate: RunningGateway) -> str:
    return gate.service.gateway.cluster.members.node


async def watch(client: Client) -> None:
    """Watch, and wait until what was there before is known."""
    await client.ask(type="subscribe", rooms=["circle:1"], presence=True)
    await present(client)


async def admin(gate: RunningGateway, path: str, **parameters: Any) -> Any:
    async with http(gate, gate.token("root", scope="admin")) as api:
        answer = await api.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_command_counts_the_connections_of_all_nodes(server: RedisServer) -> None:
    """Any node, over HTTP and WebSocket, also without watchers."""
    async with gates(server, 3) as (one, two, three), AsyncExitStack() as stack:
        for gate, user in ((one, "ada"), (two, "ada"), (two, "bob"), (three, "ada")):
            await stack.enter_async_context(gate.client(gate.token(user), "&rooms=circle:1"))
        for gate in (one, two, three):
            client = await stack.enter_async_context(gate.client(gate.token("eve")))
            await until_equal(lambda client=client: present(client), {"ada": 3, "bob": 1})  # type: ignore[misc]
            async with http(gate, gate.token("eve")) as api:
                answer = (await api.get("/rooms/circle:1/presence")).json()
            assert answer["connections"] == 4


async def test_watchers_hear_of_who_is_on_other_nodes(server: RedisServer) -> None:
    """First in and last out count over all nodes; who was there before is not news."""
    async with (
        gates(server) as (one, two),
        one.client(one.token("ada")) as ada,
        two.client(two.token("zoe"), "&rooms=circle:1"),
    ):
        # In Redis, and not by asking, which would have this node know already.
        await until(lambda: server.ask("KEYS", f"*acme*{name(two)}*"))
        await ada.ask(type="subscribe", rooms=["circle:1"], presence=True)
        await ada.quiet(1.0)
        async with two.client(two.token("bob"), "&rooms=circle:1"):
            assert await news(ada) == ("joined", "circle:1", "bob")
            async with one.client(one.token("bob"), "&rooms=circle:1") as here:
                await here.next("subscribed")
                # # Asked through another node, or the replies would hide the notifications.
                await until_equal(lambda: present(here), {"ada": 1, "bob": 2, "zoe": 1})
            await ada.quiet(1.0)
        assert await news(ada) == ("left", "circle:1", "bob")
        assert await present(ada) == {"ada": 1, "zoe": 1}
        async with one.client(one.token("eve"), "&rooms=circle:1") as eve:
            await eve.next("subscribed")
            assert await news(ada) == ("joined", "circle:1", "eve")
            async with two.client(two.token("eve"), "&rooms=circle:1"):
                await until_equal(lambda: present(eve), {"ada": 1, "eve": 2, "zoe": 1})
            await until_equal(lambda: present(eve), {"ada": 1, "eve": 1, "zoe": 1})
            await ada.quiet(0.7)


async def test_a_move_to_another_node_is_no_absence(server: RedisServer) -> None:
    """A rolling restart, or a load balancer: watchers get no notification, as long as the grace period exceeds the time
    between nodes."""
    async with gates(server, grace=8.0) as (one, two), one.client(one.token("ada")) as ada:
        await watch(ada)
        async with AsyncExitStack() as stack:
            for n in range(4):
                gate = (one, two)[n % 2]
                client = await stack.enter_async_context(gate.client(gate.token("bob"), "&rooms=circle:1"))
                await client.next("subscribed")
                if n == 0:
                    assert await news(ada) == ("joined", "circle:1", "bob")
                await asyncio.sleep(0.1)
                await stack.aclose()
        assert await news(ada) == ("left", "circle:1", "bob")
        await ada.quiet(0.5)


async def test_a_flapping_client_at_another_node_causes_no_flood(server: RedisServer) -> None:
    async with gates(server, grace=8.0) as (one, two), one.client(one.token("ada")) as ada:
        await watch(ada)
        for _ in range(30):
            async with two.client(two.token("bob"), "&rooms=circle:1") as bob:
                await bob.next("subscribed")
                await asyncio.sleep(0.05)
        received = [await news(ada)]
        assert received == [("joined", "circle:1", "bob")]
        assert await news(ada) == ("left", "circle:1", "bob")
        await ada.quiet(1.0)


async def test_rooms_of_a_connection_elsewhere_follow(server: RedisServer) -> None:
    """Subscribing and unsubscribing there, and a token that grants less."""
    async with (
        gates(server) as (one, two),
        one.client(one.token("ada")) as ada,
        two.client(two.token("bob")) as bob,
    ):
        await watch(ada)
        for leave in ({"type": "unsubscribe", "rooms": ["circle:1"]}, {"type": "auth"}):
            await bob.ask(type="subscribe", rooms=["circle:1", "circle:2"])
            assert await news(ada) == ("joined", "circle:1", "bob")
            token = {"token": two.token("bob", rooms=["circle:2"])} if leave["type"] == "auth" else {}
            await bob.ask(**leave, **token)
            assert await news(ada) == ("left", "circle:1", "bob")
        assert await present(ada, "circle:2") == {"bob": 1}


async def test_administrators_see_all_nodes(server: RedisServer) -> None:
    """Connections with their node, rooms and counts, in pages that together are the whole."""
    async with (
        gates(server) as (one, two),
        one.client(one.token("ada"), "&rooms=circle:1&client_id=desk") as ada,
        two.client(two.token("ada"), "&rooms=circle:1"),
        two.client(two.token("bob"), "&rooms=circle:1,circle:2") as bob,
    ):
        await bob.next("subscribed")

        async def connections(gate: RunningGateway) -> int:
            counts = await admin(gate, "/admin/stats")
            return int(counts["active_connections"])

        for gate in (one, two):
            await until_equal(lambda gate=gate: connections(gate), 3)  # type: ignore[misc]
            stats = await admin(gate, "/admin/stats")
            assert (stats["active_users"], stats["active_rooms"], stats["total_connections"]) == (2, 4, 3)
            assert len(stats["clients"]) == 3
            rooms = (await admin(gate, "/admin/rooms"))["rooms"]
            assert rooms == [
                {"room": "circle:1", "connections": 3, "users": 2},
                {"room": "circle:2", "connections": 1, "users": 1},
                {"room": "user:ada", "connections": 2, "users": 1},
                {"room": "user:bob", "connections": 1, "users": 1},
            ]
            found, after = [], None
            for _ in range(3):
                page = await admin(gate, "/admin/connections", limit=1, **({"after": after} if after else {}))
                found += page["connections"]
                after = page["next"]
                assert "partial" not in page
            assert after is None
            by_id = {item["connection_id"]: item for item in found}
            desk = by_id[ada.established["data"]["connection_id"]]
            assert (desk["client_id"], desk["rooms"], desk["node"]) == (
                "desk",
                ["circle:1", "user:ada"],
                name(one),
            )
            assert desk["expires_at"] == ada.established["data"]["expires_at"]
            assert (desk["state"] is None) is (gate is two)
            assert by_id[bob.established["data"]["connection_id"]]["node"] == name(two)


async def test_a_fresh_token_is_known_elsewhere(server: RedisServer) -> None:
    async with gates(server) as (one, two), two.client(two.token("bob", expires_in=100)) as bob:

        async def expiry() -> Any:
            return [item["expires_at"] for item in (await admin(one, "/admin/connections"))["connections"]]

        await until_equal(expiry, [bob.established["data"]["expires_at"]])
        answer = await bob.ask(type="auth", token=two.token("bob", expires_in=600))
        await until_equal(expiry, [answer["data"]["expires_at"]])


@pytest.mark.timing
async def test_an_administrator_closes_a_connection_wherever_it_is(server: RedisServer) -> None:
    async with (
        gates(server) as (one, two),
        two.client(two.token("bob")) as bob,
        two.client(two.token("bob")) as spared,
        http(one, one.token("root", scope="admin")) as api,
        http(one, one.token("root", tenant="acme-2", scope="admin")) as foreign,
    ):
        path = f"/admin/connections/{bob.established['data']['connection_id']}"

        async def known() -> int:
            return len((await admin(one, "/admin/connections"))["connections"])

        await until_equal(known, 2)
        assert (await foreign.delete(path)).status_code == 404
        assert (await api.delete(f"{path}x")).status_code == 404
        await fence(bob)
        assert (await api.delete(path)).status_code == 204
        assert (await bob.closed(2))[0] == 4403
        await until_equal(known, 1)
        assert (await api.delete(path)).status_code == 404
        await fence(spared)


@pytest.mark.parametrize("tenant", ["acme-1", "acm", "Acme"])
async def test_tenants_that_look_alike_never_meet(server: RedisServer, tenant: str) -> None:
    """Nor on other nodes: users of one are not notified, counted or listed for the other."""
    async with gates(server) as (one, two), one.client(one.token("ada")) as ada:
        await watch(ada)
        other = two.token("bob", tenant=tenant)
        async with two.client(other) as bob, two.client(two.token("eve"), "&rooms=circle:1"):
            await watch(bob)
            assert await news(ada) == ("joined", "circle:1", "eve")
            assert await present(bob) == {"bob": 1}
            assert await present(ada) == {"ada": 1, "eve": 1}
            assert "bob" not in str(await admin(one, "/admin/connections"))
            await bob.quiet(0.5)
        await ada.ask(type="ping")


async def test_totals_count_each_thing_once_and_whatever_node_is_asked(server: RedisServer) -> None:
    """An event where it was appended, though both nodes deliver it; what a node counted goes on to count when its last
    client of the tenant has gone, and what the log holds is the same everywhere."""
    async with gates(server, 3) as (one, two, idle):

        async def totals(gate: RunningGateway) -> tuple[int, ...]:
            async with http(gate, gate.token("root", rooms=["circle:1"], scope="admin")) as api:
                stats = (await api.get("/admin/stats")).json()
            names = ("total_connections", "total_messages_sent", "total_broadcasts", "log_events")
            return tuple(stats[name] for name in names)

        async with one.client(one.token("ada"), "&rooms=circle:1") as ada:
            async with two.client(two.token("bob"), "&rooms=circle:1") as bob:
                for n in range(5):
                    await (one, two)[n % 2].publish(circle_id=1)
                for client in (ada, bob):
                    await client.next("subscribed")
                    for _ in range(5):
                        await client.next("task.completed")
                for gate in (one, two, idle):
                    await until_equal(lambda gate=gate: totals(gate), (2, 14, 5, 5))  # type: ignore[misc]
            await idle.publish(circle_id=1)
            await ada.next("task.completed")
            for gate in (one, two, idle):
                await until_equal(lambda gate=gate: totals(gate), (2, 15, 6, 6))  # type: ignore[misc]


@pytest.mark.timing
async def test_without_redis_each_node_answers_what_it_knows(server: RedisServer) -> None:
    """The answer has `partial`, is no 500 and comes without delay; presence recovers by itself, without notifications
    about users who were present all the time."""
    async with (
        gates(server, grace=3.0) as (one, two),
        one.client(one.token("ada"), "&rooms=circle:1") as ada,
        two.client(two.token("bob"), "&rooms=circle:1"),
    ):
        await watch(ada)
        await until_equal(lambda: present(ada), {"ada": 1, "bob": 1})
        server.kill()
        async with http(one, one.token("root", rooms=["circle:1"], scope="admin subscribe")) as api:

            async def partial() -> bool:
                answer = await api.get("/rooms/circle:1/presence")
                assert answer.status_code == 200
                assert answer.elapsed.total_seconds() < 2
                return bool(answer.json().get("partial", False))

            await until_equal(partial, True)
            answer = await ada.ask(type="presence", room="circle:1")
            assert answer["data"]["partial"] is True
            for path in ("stats", "connections", "rooms"):
                page = await api.get(f"/admin/{path}")
                assert (page.status_code, page.json()["partial"]) == (200, True)
            unknown = await api.delete("/admin/connections/con_unknown")
            assert (unknown.status_code, unknown.json()["code"]) == (503, "broker_unavailable")
            await server.start()
            await until_equal(partial, False)
        await until_equal(lambda: present(ada), {"ada": 1, "bob": 1})
        while (frame := await ada.ask(type="ping"))["type"] != "pong":
            assert not frame["type"].startswith("presence"), frame


async def test_an_idle_gateway_asks_redis_little(server: RedisServer) -> None:
    """No commands for tenants without watchers, and one for each poll of a tenant with some."""
    async with gates(server, 1) as (one,), one.client(one.token("ada")) as ada:

        async def commands(seconds: float) -> int:
            async def count() -> int:
                stats = await server.ask("INFO", "commandstats")
                return int(stats.get("cmdstat_hgetall", {"calls": 0})["calls"])

            before = await count()
            await asyncio.sleep(seconds)
            return await count() - before

        assert await commands(1.2) == 0
        await watch(ada)
        await asyncio.sleep(0.3)
        assert 1 <= await commands(1.2) <= 3


async def answered_at_once(client: Client, number: int) -> bool:
    """Whether the command is answered, partially, before what is asked behind it: it waited for nothing."""
    await client.send(type="presence", room="circle:1", id=number)
    answers = [frame for frame in await until_fence(client) if frame.get("id") == number]
    return [answer["data"].get("partial") for answer in answers] == [True]


async def test_a_redis_that_stalls_blocks_no_client(server: RedisServer) -> None:
    """An answer within 2 seconds, and at once as soon as it is known that there is nothing to wait for."""
    async with gates(server, 1) as (one,), one.client(one.token("ada")) as ada:
        await watch(ada)
        server.stall()
        try:
            begun = ran()
            await ada.ask(type="presence", room="circle:1")
            assert ran() - begun < 2.0
            numbers, begun = count(), ran()
            await until(lambda: answered_at_once(ada, next(numbers)))
            assert ran() - begun < 2.5
            for _ in range(5):
                assert await answered_at_once(ada, next(numbers))
        finally:
            server.go_on()
        await until_equal(lambda: present(ada), {"ada": 1})
