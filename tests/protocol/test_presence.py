"""Presence on one node, as clients see it."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from auth.identity import Identity
from gateway.core.transport import Kind
from tests.support.clients import Client, fence, http
from tests.support.inprocess import RunningGateway
from tests.support.pauses import now
from tests.support.presence import news, present, with_grace


@pytest.fixture
async def gate(gate: RunningGateway) -> RunningGateway:
    return with_grace(gate, 0.3)


async def watch(client: Client, *rooms: str) -> None:
    assert (await client.ask(type="subscribe", rooms=rooms or ["circle:1"], presence=True))["type"] == "subscribed"


async def test_the_command_tells_who_is_in_a_room(gate: RunningGateway) -> None:
    """The answer has users with their counts of connections; the asker need not be in the room. An empty room has no
    users."""
    async with (
        gate.client(gate.token("ada"), "&rooms=circle:1"),
        gate.client(gate.token("ada"), "&rooms=circle:1,circle:2") as ada,
        gate.client(gate.token("bob"), "&rooms=circle:1") as bob,
        gate.client(gate.token("eve")) as eve,
    ):
        for client in (ada, bob):
            await client.next("subscribed")
        assert await present(eve) == {"ada": 2, "bob": 1}
        assert await present(eve, "circle:2") == {"ada": 1}
        assert await present(eve, "project:9") == {}
        assert await present(eve, "user:eve") == {"eve": 1}
        await bob.ask(type="unsubscribe", rooms=["circle:1"])
        assert await present(eve) == {"ada": 2}
    async with gate.client(gate.token("eve")) as eve:
        assert await present(eve) == {}


async def test_the_frame_is_as_the_protocol_has_it(gate: RunningGateway) -> None:
    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        answer = await client.ask(type="presence", room="circle:1", id=7)
    del answer["timestamp"]
    users = [{"user_id": "ada", "connections": 1}]
    assert answer == {"type": "presence", "id": 7, "data": {"room": "circle:1", "users": users, "connections": 1}}


async def test_presence_takes_the_grant_to_subscribe(gate: RunningGateway) -> None:
    """The same refusals over the WebSocket and HTTP, naming the room."""
    for token, room, code, status in (
        (gate.token(rooms=["circle:1"]), "circle:2", "room_forbidden", 403),
        (gate.token(rooms=["circle:1"], scope="publish"), "circle:1", "scope_missing", 403),
        (gate.token(), "circle:", "room_invalid", 422),
        (gate.token(), "user:bob", "room_forbidden", 403),
        (gate.token(scope="admin"), "circle:1", "scope_missing", 403),
    ):
        async with gate.client(token) as client, http(gate, token) as api:
            data = (await client.ask(type="presence", room=room))["data"]
            assert data["code"] == code
            if code.startswith("room"):
                assert data["rooms"] == [room]
            answer = await api.get(f"/rooms/{room}/presence")
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            assert answer.headers["content-type"] == "application/problem+json"
    async with gate.client(gate.token(rooms=[], scope="")) as client:
        assert await present(client, "user:ada") == {"ada": 1}


async def test_http_answers_as_the_command_does(gate: RunningGateway) -> None:
    async with (
        gate.client(gate.token("ada"), "&rooms=circle:1") as ada,
        gate.client(gate.token("bob"), "&rooms=circle:1") as bob,
        http(gate, gate.token("eve", rooms=["circle:1"], scope="subscribe")) as api,
        http(gate) as stranger,
    ):
        await ada.next("subscribed")
        await bob.next("subscribed")
        answer = await api.get("/rooms/circle:1/presence")
        assert answer.status_code == 200
        assert answer.json() == (await ada.ask(type="presence", room="circle:1"))["data"]
        assert (await stranger.get("/rooms/circle:1/presence")).status_code == 401
        assert (await api.get("/rooms/circle%3A1/presence")).json() == answer.json()


async def test_watchers_are_notified_of_the_first_in_and_the_last_out(gate: RunningGateway) -> None:
    """Not of further connections of the same user, and after the grace."""
    async with gate.client(gate.token("ada")) as ada, gate.client(gate.token("eve"), "&rooms=circle:1") as unaware:
        await unaware.next("subscribed")
        await watch(ada)
        async with gate.client(gate.token("bob"), "&rooms=circle:1"):
            assert await news(ada) == ("joined", "circle:1", "bob")
            async with gate.client(gate.token("bob"), "&rooms=circle:1") as second:
                await second.next("subscribed")
            await ada.quiet(0.5)
            left = now()
        assert await news(ada) == ("left", "circle:1", "bob")
        assert now() - left >= 0.3
        await fence(unaware)


async def test_no_notification_of_oneself_or_of_earlier_members(gate: RunningGateway) -> None:
    """Neither of the own arrival, nor of that of another connection of the same user."""
    async with (
        gate.client(gate.token("ada")) as ada,
        gate.client(gate.token("ada")) as second,
        gate.client(gate.token("bob"), "&rooms=circle:1") as bob,
    ):
        await bob.next("subscribed")
        await watch(ada)
        await watch(second)
        await watch(bob)
        for client in (ada, second, bob):
            await client.quiet(0.3)


async def test_everyone_who_arrives_at_once_hears_of_those_after(gate: RunningGateway) -> None:
    """A page that many open at the same moment: each hears of exactly those that came later."""
    names = [f"u{n}" for n in range(6)]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(gate.client(gate.token(name))) for name in names]
        for client in clients:
            await watch(client)
        for n, client in enumerate(clients):
            received = [await news(client) for _ in names[n + 1 :]]
            assert received == [("joined", "circle:1", name) for name in names[n + 1 :]]
            await fence(client)


async def test_every_way_out_is_leaving(gate: RunningGateway) -> None:
    """Unsubscribing, a token without the room, closing by an administrator, revocation, expiry, removal, and the
    network."""
    async with gate.client(gate.token("eve", expires_in=3_600)) as eve:
        await watch(eve)
        for n, way in enumerate(("unsubscribe", "auth", "close", "revoke", "expire", "remove", "vanish")):
            user = f"u{n}"
            async with gate.client(gate.token(user), "&rooms=circle:1") as client:
                await client.next("subscribed")
                assert await news(eve) == ("joined", "circle:1", user), way
                gateway = gate.service.gateway
                if way == "unsubscribe":
                    await client.ask(type="unsubscribe", rooms=["circle:1"])
                elif way == "auth":
                    answer = await client.ask(type="auth", token=gate.token(user, rooms=["circle:2"]))
                    assert answer["data"]["dropped"] == ["circle:1"]
                elif way == "close":
                    async with http(gate, gate.token("root", scope="admin")) as api:
                        path = f"/admin/connections/{client.established['data']['connection_id']}"
                        assert (await api.delete(path)).status_code == 204
                elif way == "revoke":
                    await gateway.administration.revoke_user("acme", user)
                elif way == "remove":
                    await gateway.publish("acme", "circle.member.removed", {"user_id": user}, circle_id=1)
                    while (frame := await eve.next())["type"] != "circle.member.removed":
                        raise AssertionError(frame)
                elif way == "expire":
                    gate.later(600)
                elif way == "vanish":
                    client.websocket.transport.abort()
                assert await news(eve) == ("left", "circle:1", user), way
        assert await present(eve) == {"eve": 1}


async def test_a_flapping_client_causes_no_flood(gate: RunningGateway) -> None:
    """Twenty reconnections within the grace are one arrival."""
    async with gate.client(gate.token("ada")) as ada:
        with_grace(gate, 8.0)
        await watch(ada)
        for _ in range(20):
            async with gate.client(gate.token("bob"), "&rooms=circle:1") as bob:
                await bob.next("subscribed")
        assert await news(ada) == ("joined", "circle:1", "bob")
        assert await present(ada) == {"ada": 1}  # the truth, meanwhile
        assert await news(ada) == ("left", "circle:1", "bob")
        await ada.quiet(0.3)


async def test_a_watcher_from_the_grace_period_gets_the_return(gate: RunningGateway) -> None:
    """The asker had an answer without the user; for the others nothing changed."""
    with_grace(gate, 60.0)
    async with gate.client(gate.token("ada")) as ada, gate.client(gate.token("eve")) as eve:
        await watch(ada)
        await watch(eve)
        assert await news(ada) == ("joined", "circle:1", "eve")
        async with gate.client(gate.token("bob"), "&rooms=circle:1"):
            for client in (ada, eve):
                assert await news(client) == ("joined", "circle:1", "bob")
        assert await present(eve) == {"ada": 1, "eve": 1}
        async with gate.client(gate.token("bob"), "&rooms=circle:1"):
            assert await news(eve) == ("joined", "circle:1", "bob")
            await ada.quiet(0.3)


async def test_watching_ends_with_the_room_or_by_saying_so(gate: RunningGateway) -> None:
    """`presence: false` ends it, and so does leaving the room; a `subscribe` without the field changes nothing."""
    async with gate.client(gate.token("ada")) as ada:
        await watch(ada)
        await ada.ask(type="subscribe", rooms=["circle:1"])
        async with gate.client(gate.token("bob"), "&rooms=circle:1"):
            assert await news(ada) == ("joined", "circle:1", "bob")
            await ada.ask(type="subscribe", rooms=["circle:1"], presence=False)
        async with gate.client(gate.token("eve"), "&rooms=circle:1"):
            await ada.quiet(0.5)
        await watch(ada)
        await ada.ask(type="unsubscribe", rooms=["circle:1"])
        await ada.ask(type="subscribe", rooms=["circle:1"])
        async with gate.client(gate.token("eve"), "&rooms=circle:1"):
            await ada.quiet(0.5)
    assert gate.service.gateway.presence.idle


@pytest.mark.parametrize("tenant", ["acme-1", "acm", "Acme", "acme_"])
async def test_tenants_that_look_alike_never_meet(gate: RunningGateway, tenant: str) -> None:
    """The same user and room of another tenant: neither in notices nor in counts, over WebSocket and HTTP."""
    async with gate.client(gate.token("ada")) as ada:
        await watch(ada)
        other = gate.token("bob", tenant=tenant)
        async with gate.client(other) as bob, http(gate, other) as api:
            await watch(bob)
            assert await present(bob) == {"bob": 1}
            assert "ada" not in (await api.get("/rooms/circle:1/presence")).text
            assert await present(ada) == {"ada": 1}
            async with gate.client(gate.token("eve"), "&rooms=circle:1"):
                assert await news(ada) == ("joined", "circle:1", "eve")
            assert await news(ada) == ("left", "circle:1", "eve")
            await fence(bob)
        await ada.quiet(0.5)


async def test_one_that_is_behind_goes_without(gate: RunningGateway) -> None:
    """News are not kept for who does not read: nothing piles up, and the command tells how things are."""
    async with gate.client(gate.token("ada")) as ada:
        await watch(ada)
        (connection,) = gate.service.gateway.manager.of("acme").users["ada"]
        connection.fall_behind(gate.service.gateway.log.window("acme").head)
        async with gate.client(gate.token("bob"), "&rooms=circle:1"):
            await ada.quiet(0.3)
            connection.reach_head()
            assert await present(ada) == {"ada": 1, "bob": 1}


async def test_one_that_is_full_falls_behind_and_loses_no_event(gate: RunningGateway) -> None:
    """News that fill the transport put the connection behind as events do: what is published then comes, once, when it
    has drained."""
    async with gate.client(gate.token("ada")) as ada:
        await watch(ada)
        (connection,) = gate.service.gateway.manager.of("acme").users["ada"]
        transport = connection.transport

        class Full:
            fd = None
            kind: Kind = "websocket"
            pings = True
            unacknowledged = 0

            def write(self, batch: object) -> bool:
                return transport.write(batch) and False  # type: ignore[arg-type]

            close, abort = transport.close, transport.abort

        connection.transport = Full()
        async with gate.client(gate.token("bob"), "&rooms=circle:1"):
            assert await news(ada) == ("joined", "circle:1", "bob")
        assert not connection.live
        connection.transport = transport
        ids = [(await gate.service.gateway.publish("acme", "a.b", {}, circle_id=1)).event_id for _ in range(3)]
        await ada.quiet(0.1)
        gate.service.gateway.on_writable(connection)
        assert [(await ada.next("a.b"))["event_id"] for _ in range(3)] == ids
        await fence(ada)


@pytest.mark.timing
async def test_thousands_in_a_room_are_not_dear(gate: RunningGateway) -> None:
    """One more arrival in a room of 3,000 users costs as little as in an empty one."""
    gateway = gate.service.gateway
    manager = gateway.manager
    async with gate.client(gate.token("ada")) as ada:
        await watch(ada)
        (connection,) = manager.of("acme").users["ada"]

        def arrive(n: int) -> None:
            arrival = type(connection)(f"con_{n}", _identity(connection.identity, f"u{n}"), connection.transport, 0, "")
            manager.add(arrival)
            manager.join(arrival, "circle:1", 0)

        def seconds(first: int, count: int) -> float:
            began = time.perf_counter()
            for n in range(first, first + count):
                arrive(n)
            return time.perf_counter() - began

        few = min(seconds(n * 100, 100) for n in range(3))
        seconds(1_000, 3_000)
        many = min(seconds(10_000 + n * 100, 100) for n in range(3))
        assert many < 5 * few + 0.005
        before = connection.command_bucket_full_at
        answer = await asyncio.wait_for(present(ada), 5)
        assert len(answer) == 3_601
        # What is dear to answer counts for more: here for 4.6 commands of the 20 a second.
        assert connection.command_bucket_full_at - before > 4.5 / 20
        for extra in [c for c in manager.of("acme").connections.values() if c is not connection]:
            manager.remove(extra)


def _identity(like: Identity, user_id: str) -> Identity:
    return replace(like, user_id=user_id)
