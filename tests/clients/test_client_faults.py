"""Recovery of the JavaScript client, run by Node, with a real gateway: connections that break during a replay lose no
event, deliver none twice, and report no gap."""

import asyncio
import random

import pytest

from tests.clients.pages import BOTH, PATIENCE, Page, named, page, publish, slow
from tests.support.inprocess import RunningGateway, running
from tests.support.nodejs import needs_websocket
from tests.support.proxy import Proxy, proxied
from tests.support.redis import RedisServer
from tests.support.settings import settings_for

pytestmark = needs_websocket


async def test_a_resume_that_is_cut_short_makes_progress(gate: RunningGateway) -> None:
    """However often the connection breaks amid the replay, each brings some of it."""
    since = await publish(gate, ["first"], circle_id=1)
    await publish(gate, named("a", 12), circle_id=1)
    cuts = [["subscribed", 1], ["event", 3], ["event", 3], ["subscribed", 1], ["event", 2]]
    async with page(gate, token=slow(gate), rooms=["circle:1"], since=since, cuts=cuts) as client:
        await client.until(lambda: len(client.numbers) == 12)
        await publish(gate, ["live"], circle_id=1)
        await client.until(lambda: "live" in client.numbers)
        assert client.numbers == [*named("a", 12), "live"]
        assert client.of("gap") == []
        assert sum(replayed for _, _, replayed in client.of("subscribed")) < 60, "it begins where it was cut"


async def test_a_room_that_was_left_before_the_answer_came_is_left(gate: RunningGateway) -> None:
    """The room is not among `rooms`, and a reconnect does not bring it back."""
    async with page(gate, rooms=["circle:7"]) as client:
        await client.subscribed("circle:7")
        client.call("open", "circle:8")
        client.call("leave", "circle:8")
        assert (await client.show())["rooms"] == ["circle:7"]
        client.call("cut", 0)
        await client.subscribed("circle:7", 2)
        await publish(gate, ["left"], circle_id=8)
        await publish(gate, ["kept"], circle_id=7)
        await client.until(lambda: "kept" in client.numbers)
        assert client.numbers == ["kept"]


async def test_a_refused_room_costs_the_others_nothing(gate: RunningGateway) -> None:
    """The refused room is closed with the reason; the others of the same request are joined."""
    token = gate.token(rooms=["circle:7", "circle:8"])
    async with page(gate, token=token, rooms=["circle:7"]) as client:
        await client.subscribed("circle:7")
        client.call("open", "circle:8")
        client.call("open", "circle:9")
        await client.live("circle:8")
        await client.until(lambda: ["circle:9", "closed", "room_forbidden"] in client.of("room"))
        assert (await client.show())["rooms"] == ["circle:7", "circle:8"]


async def test_presence_is_asked_for_again_after_a_reconnect(gate: RunningGateway) -> None:
    """Members of the room at first, and on the new connection."""
    async with page(gate) as client:
        client.call("open", "circle:7", {"presence": True})
        await client.until(lambda: ["circle:7", ["ada"]] in client.of("users"))
        client.call("cut", 0)
        await client.until(lambda: client.of("users").count(["circle:7", ["ada"]]) == 2)
        async with gate.client(gate.token("bob"), "&rooms=circle:7"):
            await client.until(lambda: ["circle:7", ["ada", "bob"]] in client.of("users"))


async def test_a_publish_in_the_turn_in_which_the_connection_breaks(gate: RunningGateway) -> None:
    """The socket has ended, and its close event is still to come: the page is not blocked, and the event is sent on the
    next connection."""
    token = gate.token(scope="subscribe publish")
    async with proxied(gate.port) as network, page(gate, network.port, token=token, rooms=["circle:7"]) as client:
        await client.subscribed("circle:7")
        client.call("block", 1_000)  # the page handles in one turn what comes meanwhile
        await client.until(lambda: client.of("blocked") == [1_000])
        network.reset()
        await asyncio.sleep(0.1)
        client.call("publish", {"type": "a.b", "data": {"n": "own"}, "circle_id": 7})
        await client.until(lambda: len(client.of("published")) == 1)
        await client.until(lambda: "own" in client.numbers)


async def test_over_the_users_limit_it_comes_back_when_the_gateway_says() -> None:
    """4409: dead connections may still count. Not before `retry_after`, and then it is let in."""
    async with running(settings_for(max_connections_per_user=1)) as gate, proxied(gate.port) as network:
        async with gate.client(), page(gate, network.port, rooms=["circle:7"]) as client:
            await client.until(lambda: ("state", ["reconnecting", "at most 1 connections of one user"]) in client.calls)
            await client.until(lambda: network.opened == 2)
            first, second = network.opened_at
            assert second - first > 4.9
        async with page(gate, rooms=["circle:7"]) as client:
            await client.subscribed("circle:7")


@BOTH
async def test_a_storm_of_resets(gate: RunningGateway, blocked: bool) -> None:
    """The embedded log."""
    await storm(gate, random.Random(1), blocked)


async def test_a_storm_of_resets_on_redis(server: RedisServer, prefix: str) -> None:
    """Where a cursor may be ahead of what the node has heard of."""
    async with running(settings_for(log_url=server.url, redis_prefix=prefix)) as gate:
        await storm(gate, random.Random(2))


async def storm(gate: RunningGateway, chance: random.Random, blocked: bool = False) -> None:
    """Recovery under network failures while the page follows and joins rooms and publishes, and events go on: of each
    room it gets every event since it joined, in order, each once, without a gap; and each of its events is in the log
    once."""
    start = await publish(gate, ["first"], circle_id=0)
    sent: dict[int, list[str]] = {circle: named(f"{circle}:old", 30) for circle in range(4)}
    for circle, numbers in sent.items():
        await publish(gate, numbers, circle_id=circle)
    own = [f"own{i}" for i in range(20)]
    token = gate.token(rate=200, scope="subscribe publish")
    async with (
        proxied(gate.port) as network,
        page(
            gate,
            network.port,
            token=token,
            rooms=[f"circle:{circle}" for circle in (*sent, 9)],
            since=start,
            blocked=blocked,
        ) as client,
    ):
        await client.until(lambda: ["live", None] in client.of("state"))
        breaking = asyncio.create_task(_break(network, chance))
        try:
            for circle in sent:
                client.call("open", f"circle:{circle}")
            for circle in sent:
                await client.live(f"circle:{circle}")
            for i in range(200):
                if i % 60 == 0:
                    client.call("open", f"circle:{4 + i // 60}")
                if i % 10 == 0:
                    client.call("publish", {"type": "a.b", "data": {"n": own[i // 10]}, "circle_id": 9})
                for room, numbers in sent.items():
                    numbers.append(f"{room}:{i}")
                    await publish(gate, [numbers[-1]], circle_id=room)
                await asyncio.sleep(0.02)
            await client.until(lambda: sum(state == "reconnecting" for state, _ in client.of("state")) > 3)
        finally:
            breaking.cancel()
        await client.until(lambda: all(numbers[-1] in client.numbers for numbers in sent.values()))
        for circle, numbers in sent.items():
            assert [n for n in client.numbers if n[0] == str(circle)] == numbers
            received = [n for room, n in client.of("room event") if room == f"circle:{circle}"]
            assert len(received) > 100
            assert received == numbers[-len(received) :]
        assert client.of("gap") == []
        await client.until(lambda: len(client.of("published")) == len(own))
        await client.until(lambda: {*own} <= {*client.numbers})
        assert sorted(n for n in client.numbers if n.startswith("own")) == sorted(own)


@pytest.mark.parametrize("seed", [3, 4])
async def test_the_rooms_are_those_of_the_gateway(gate: RunningGateway, seed: int) -> None:
    """Opened and left at random, each before the last was answered, while the network may break: page and gateway agree
    after each round."""
    chance = random.Random(seed)
    names = [f"circle:{circle}" for circle in range(4)]
    opened: set[str] = set()
    async with proxied(gate.port) as network, page(gate, network.port, token=gate.token(rate=20)) as client:
        await client.until(lambda: ["live", None] in client.of("state"))
        for _ in range(15):
            for _ in range(4):
                name = chance.choice(names)
                client.call(*(("leave", name) if name in opened else ("open", name)))
                opened ^= {name}
            await publish(gate, ["x"], circle_id=chance.randrange(4))
            if chance.random() < 0.5:
                await asyncio.sleep(chance.uniform(0, 0.01))
                network.reset()
            await _agree(gate, client, opened)
        assert client.of("gap") == []


async def _agree(gate: RunningGateway, client: Page, opened: set[str]) -> None:
    def joined() -> set[str]:
        return {room for connection in gate.service.gateway.manager.connections() for room in connection.rooms}

    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        await client.until(lambda: client.of("state")[-1][0] == "live")
        assert set((await client.show())["rooms"]) == opened
        if joined() - {"user:ada"} == opened:
            return
        assert asyncio.get_running_loop().time() < deadline, (joined(), opened, client.calls[-40:])
        await asyncio.sleep(0.1)


async def _break(network: Proxy, chance: random.Random) -> None:
    while True:
        await asyncio.sleep(chance.uniform(0.05, 0.4))
        network.reset()
