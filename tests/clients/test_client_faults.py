"""The browser client, run by Node, keeps the promise at a real gateway: connections that break in the middle of replays
cost no event, bring none twice, and are not told as a gap."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.inprocess import RunningGateway, running
from tests.support.nodejs import NODE, needs_websocket
from tests.support.proxy import Proxy, proxied
from tests.support.redis import RedisServer
from tests.support.settings import settings_for

PAGE = Path(__file__).with_name("page.mjs")
PATIENCE = 40.0


pytestmark = needs_websocket


class Page:
    """A client in a process of its own, and what it was told so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.told: list[tuple[str, Any]] = []
        self._news = asyncio.Condition()

    async def read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            async with self._news:
                kind, value = json.loads(line)
                self.told.append((kind, value))
                self._news.notify_all()

    def of(self, kind: str) -> list[Any]:
        return [value for name, value in self.told if name == kind]

    @property
    def numbers(self) -> list[Any]:
        """`data.n` of the events, as they came."""
        return [n for _, n in self.of("event")]

    async def until(self, met: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE), self._news:
                await self._news.wait_for(met)
        except TimeoutError:
            raise AssertionError(f"in vain; the page was told {self.told[-60:]}") from None

    async def subscribed(self, room: str, times: int = 1) -> None:
        await self.until(lambda: sum(room in rooms for rooms, *_ in self.of("subscribed")) >= times)

    def call(self, method: str, *arguments: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([method, *arguments]).encode() + b"\n")

    async def show(self) -> dict[str, Any]:
        before = len(self.of("show"))
        self.call("show")
        await self.until(lambda: len(self.of("show")) > before)
        shown: dict[str, Any] = self.of("show")[-1]
        return shown


@asynccontextmanager
async def page(
    gate: RunningGateway, port: int | None = None, *, token: str | None = None, **options: Any
) -> AsyncIterator[Page]:
    """A page whose client connects to the gate, or to the proxy before it at `port`."""
    given = {"url": f"http://127.0.0.1:{port or gate.port}/ws/dashboard", "token": token or gate.token(), **options}
    command = ["--no-warnings", "--experimental-websocket", str(PAGE), json.dumps(given)]
    process = await asyncio.create_subprocess_exec(
        NODE, *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    made = Page(process)
    reading = asyncio.create_task(made.read())
    try:
        yield made
        assert process.returncode is None, "the page ended"
    finally:
        if process.returncode is None:
            process.kill()
        assert process.stderr is not None
        errors = (await process.stderr.read()).decode()
        await asyncio.gather(process.wait(), reading)
    assert errors == ""


async def publish(gate: RunningGateway, numbers: list[str], **fields: Any) -> str:
    """Events with these `data.n`; the id of the last."""
    receipt = None
    for n in numbers:
        receipt = await gate.service.gateway.publish("acme", "a.b", {"n": n}, **fields)
    assert receipt is not None
    return receipt.event_id


def named(letter: str, count: int) -> list[str]:
    return [f"{letter}{i}" for i in range(count)]


def slow(gate: RunningGateway) -> str:
    """The token of a client that is given five events a second, and is so kept behind."""
    return gate.token(rate=5)


@pytest.mark.parametrize("cuts", [[["subscribed", 2]], [["subscribed", 2], ["event", 3], ["event", 4]]])
@pytest.mark.parametrize("how", ["since", "history"])
async def test_a_replay_that_is_cut_short_goes_on(gate: RunningGateway, how: str, cuts: list[Any]) -> None:
    """The connection breaks between the reply and the replayed events, or amid them, while newer events of another room
    have come already: all of them come, each once."""
    since = await publish(gate, ["first"], circle_id=2)
    await publish(gate, named("b", 12), circle_id=2)
    async with page(gate, token=slow(gate), rooms=["circle:1"], cuts=cuts) as client:
        await client.subscribed("circle:1")
        await publish(gate, named("a", 12), circle_id=1)
        await client.until(lambda: "a0" in client.numbers)
        client.call("subscribe", ["circle:2"], {"since": since} if how == "since" else {"history": 12})
        await client.until(lambda: len(client.numbers) == 24)
        await publish(gate, ["live a"], circle_id=1)
        await publish(gate, ["live b"], circle_id=2)
        await client.until(lambda: len(client.numbers) == 26)
        for letter in "ab":
            assert [n for n in client.numbers if n[0] == letter] == named(letter, 12)
        assert client.numbers[-2:] == ["live a", "live b"]
        assert sum(state == "reconnecting" for state, _ in client.of("state")) == len(cuts)
        assert (client.of("gap"), client.of("error"), (await client.show())["duplicates"]) == ([], [], 0)


async def test_a_look_back_that_is_cut_short_goes_on(gate: RunningGateway) -> None:
    """Into the past of a room that is followed already: the rest comes, and what was seen live not again."""
    since = await publish(gate, ["first"], circle_id=1)
    await publish(gate, named("b", 12), circle_id=1)
    async with page(gate, token=slow(gate), rooms=["circle:1"], cuts=[["subscribed", 2], ["event", 3]]) as client:
        await client.subscribed("circle:1")
        await publish(gate, named("a", 4), circle_id=1)
        await client.until(lambda: len(client.numbers) == 4)
        client.call("subscribe", ["circle:1"], {"since": since})
        await client.until(lambda: len(client.numbers) >= 16)
        await publish(gate, ["live"], circle_id=1)
        await client.until(lambda: "live" in client.numbers)
        assert client.numbers == [*named("a", 4), *named("b", 12), "live"]
        assert (client.of("gap"), (await client.show())["duplicates"]) == ([], 0)


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
    """It is not among `rooms`, and no reconnect brings it back."""
    async with page(gate, rooms=["circle:7"]) as client:
        await client.subscribed("circle:7")
        client.call("subscribe", ["circle:8"])
        client.call("unsubscribe", ["circle:8"])
        await client.until(lambda: len(client.of("done")) == 2)
        assert (await client.show())["rooms"] == ["circle:7"]
        client.call("cut", 0)
        await client.subscribed("circle:7", 2)
        await publish(gate, ["left"], circle_id=8)
        await publish(gate, ["kept"], circle_id=7)
        await client.until(lambda: "kept" in client.numbers)
        assert client.numbers == ["kept"]


async def test_a_refused_unsubscribe_leaves_no_room(gate: RunningGateway) -> None:
    """All or none: the rooms that the gateway still sends are those that a reconnect asks for."""
    async with page(gate, rooms=["circle:7", "circle:8"]) as client:
        await client.subscribed("circle:7")
        client.call("unsubscribe", ["circle:7", "circle:9"])
        await client.until(lambda: client.of("refused") == [["unsubscribe", "not_subscribed"]])
        assert sorted((await client.show())["rooms"]) == ["circle:7", "circle:8"]


async def test_presence_is_asked_for_again_after_a_reconnect(gate: RunningGateway) -> None:
    """`presence.joined` comes on the new connection too."""
    async with page(gate, rooms=["circle:7"]) as client:
        await client.subscribed("circle:7")
        client.call("subscribe", ["circle:7"], {"presence": True})
        await client.until(lambda: len(client.of("done")) == 1)
        client.call("cut", 0)
        await client.subscribed("circle:7", 4)
        async with gate.client(gate.token("bob"), "&rooms=circle:7"):
            await client.until(lambda: {"room": "circle:7", "user_id": "bob"} in client.of("presence.joined"))


async def test_a_star_is_the_rooms_that_the_token_names(gate: RunningGateway) -> None:
    """From the first answer on by their names."""
    async with page(gate, token=gate.token(rooms=["circle:7", "project:*", "tenant"]), rooms=["*"]) as client:
        await client.subscribed("circle:7")
        assert (await client.show())["rooms"] == ["circle:7", "tenant"]


async def test_over_the_users_limit_it_comes_back_when_the_gateway_says() -> None:
    """4409: dead connections may still count. Not before `retry_after`, and then it is let in."""
    async with running(settings_for(max_connections_per_user=1)) as gate:
        async with gate.client(), page(gate, rooms=["circle:7"]) as client:
            await client.until(lambda: ("state", ["reconnecting", "at most 1 connections of one user"]) in client.told)
            asked = asyncio.get_running_loop().time()
            await client.until(lambda: sum(state == "connecting" for state, _ in client.of("state")) == 2)
            assert asyncio.get_running_loop().time() - asked > 4.9
        async with page(gate, rooms=["circle:7"]) as client:
            await client.subscribed("circle:7")


async def test_a_storm_of_resets(gate: RunningGateway) -> None:
    """The embedded log."""
    await storm(gate, random.Random(1))


async def test_a_storm_of_resets_on_redis(server: RedisServer, prefix: str) -> None:
    """Where a cursor may be ahead of what the node has heard of."""
    async with running(settings_for(log_url=server.url, redis_prefix=prefix)) as gate:
        await storm(gate, random.Random(2))


async def storm(gate: RunningGateway, chance: random.Random) -> None:
    """The network breaks again and again while the page joins rooms with their past, and events go on: of each room it
    gets every event, in order, each once, and is told of no gap."""
    start = await publish(gate, ["first"], circle_id=0)
    sent: dict[int, list[str]] = {circle: named(f"{circle}:old", 30) for circle in range(4)}
    for circle, numbers in sent.items():
        await publish(gate, numbers, circle_id=circle)
    async with (
        proxied(gate.port) as network,
        page(gate, network.port, token=gate.token(rate=60), rooms=["circle:0"], since=start) as client,
    ):
        breaking = asyncio.create_task(_break(network, chance))
        try:
            for circle in (1, 2, 3):
                await _subscribe(client, circle, start)
                for i in range(60):
                    for room, numbers in sent.items():
                        numbers.append(f"{room}:{circle}.{i}")
                        await publish(gate, [numbers[-1]], circle_id=room)
                    await asyncio.sleep(0.02)
        finally:
            breaking.cancel()
        await client.until(lambda: all(numbers[-1] in client.numbers for numbers in sent.values()))
        for circle, numbers in sent.items():
            assert [n for n in client.numbers if n[0] == str(circle)] == numbers
        assert client.of("gap") == []
        assert sum(state == "reconnecting" for state, _ in client.of("state")) > 3


@pytest.mark.parametrize("seed", [3, 4])
async def test_the_rooms_are_those_of_the_gateway(gate: RunningGateway, seed: int) -> None:
    """Joined and left at random, with and without history, each before the last was answered, while the network may
    break: page and gateway agree after each round."""
    chance = random.Random(seed)
    for circle in range(4):
        await publish(gate, named(f"{circle}:", 8), circle_id=circle)
    async with (
        proxied(gate.port) as network,
        page(gate, network.port, token=gate.token(rate=20), rooms=["circle:0", "circle:1"]) as client,
    ):
        await client.subscribed("circle:0")
        for calls in range(4, 64, 4):
            for _ in range(4):
                rooms = [f"circle:{circle}" for circle in chance.sample(range(4), chance.choice((1, 1, 2)))]
                how: dict[str, Any] = chance.choice(({}, {"history": 5}, {"presence": True}))
                client.call(*chance.choice((("subscribe", rooms, how), ("unsubscribe", rooms))))
            await publish(gate, ["x"], circle_id=chance.randrange(4))
            if chance.random() < 0.5:
                await asyncio.sleep(chance.uniform(0, 0.01))
                network.reset()
            await client.until(lambda: len(client.of("done")) + len(client.of("refused")) >= calls)  # noqa: B023
            await _agree(gate, client)
        assert client.of("gap") == []


async def _agree(gate: RunningGateway, client: Page) -> None:
    def joined() -> set[str]:
        return {room for connection in gate.service.gateway.manager.connections() for room in connection.rooms}

    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        await client.until(lambda: client.of("state")[-1][0] == "live")
        wanted = set((await client.show())["rooms"])
        if joined() - {"user:ada"} == wanted and joined():
            return
        assert asyncio.get_running_loop().time() < deadline, (joined(), wanted, client.told[-40:])
        await asyncio.sleep(0.1)


async def _break(network: Proxy, chance: random.Random) -> None:
    while True:
        await asyncio.sleep(chance.uniform(0.05, 0.8))
        network.reset()


async def _subscribe(client: Page, circle: int, since: str) -> None:
    """Until the answer came: a command without one is its caller's to repeat."""

    def refusals() -> int:
        return len(client.of("refused"))

    while len(client.of("done")) < circle:
        before = refusals()
        client.call("subscribe", [f"circle:{circle}"], {"since": since})
        await client.until(lambda: len(client.of("done")) == circle or refusals() > before)  # noqa: B023
        await asyncio.sleep(0.05)
