"""Items of the JavaScript client at a real gateway: with `state` a page has the newest value of each."""

import asyncio
import random
from typing import Any

import pytest

from tests.clients.pages import BOTH, Page, page
from tests.support.inprocess import RunningGateway, running
from tests.support.nodejs import needs_websocket
from tests.support.proxy import Proxy, proxied
from tests.support.settings import settings_for

pytestmark = needs_websocket

Values = dict[str, dict[str, Any]]


class Items:
    """The items of circle 1 as they should be, by their keys."""

    def __init__(self, gate: RunningGateway) -> None:
        self.values: Values = {}
        self._gate = gate

    async def set(self, key: str, **data: Any) -> None:
        self.values[key] = data
        await self._publish(key, "set", data)

    async def append(self, key: str, text: str) -> None:
        data = self.values.setdefault(key, {"text": ""})
        data["text"] += text
        await self._publish(key, "append", {"text": text})

    async def delete(self, key: str) -> None:
        self.values.pop(key, None)
        await self._publish(key, "delete", {})

    async def _publish(self, key: str, op: Any, data: dict[str, Any]) -> None:
        await self._gate.service.gateway.publish("acme", "gauge", data, circle_id=1, item_key=key, op=op)


def shown(client: Page) -> Values:
    values: Values = client.of("items")[-1][1] if client.of("items") else {}
    return values


@BOTH
async def test_a_late_page_has_the_whole_of_what_grew(gate: RunningGateway, blocked: bool) -> None:
    """A text of many pieces as one value, then the pieces as they come."""
    items = Items(gate)
    for piece in "hello ":
        await items.append("text", piece)
    await items.set("gauge", n=1)
    await items.set("gone", n=1)
    await items.delete("gone")
    async with page(gate, blocked=blocked) as client:
        client.call("open", "circle:1", {"state": True})
        await client.until(lambda: shown(client) == {"text": {"text": "hello "}, "gauge": {"n": 1}})
        for piece in "world":
            await items.append("text", piece)
        await client.until(lambda: shown(client) == {"text": {"text": "hello world"}, "gauge": {"n": 1}})
        assert client.of("gap") == []


@BOTH
async def test_a_room_that_is_followed_already_gives_its_items(gate: RunningGateway, blocked: bool) -> None:
    """The connection has already got some of their pieces live."""
    items = Items(gate)
    await items.append("text", "a")
    async with page(gate, rooms=["circle:1"], blocked=blocked) as client:
        await client.subscribed("circle:1")
        await items.append("text", "b")
        await client.until(lambda: len(client.numbers) == 1)
        client.call("open", "circle:1", {"state": True})
        await client.until(lambda: shown(client) == {"text": {"text": "ab"}})
        await items.append("text", "c")
        await client.until(lambda: shown(client) == {"text": {"text": "abc"}})
        assert (await client.show())["duplicates"] == 0


@BOTH
async def test_an_empty_room_is_live(gate: RunningGateway, blocked: bool) -> None:
    """With no item."""
    async with page(gate, blocked=blocked) as client:
        client.call("open", "circle:1", {"state": True})
        await client.live("circle:1")
        assert shown(client) == {}


@BOTH
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_storm(seed: int, blocked: bool) -> None:
    """The network breaks again and again amid the replays of state, the client is slow, the log keeps little: at the
    end the page has what there is."""
    async with running(settings_for(log_max_events=50, log_min_seconds=1, mark_interval=1)) as gate:
        await storm(gate, random.Random(seed), blocked)


async def storm(gate: RunningGateway, chance: random.Random, blocked: bool) -> None:
    items = Items(gate)
    for i in range(30):
        await items.set(f"old{i}", n=i)
    token = gate.token(rate=100)
    async with (
        proxied(gate.port) as network,
        page(gate, network.port, token=token, rooms=["tenant"], blocked=blocked) as client,
    ):
        client.call("open", "circle:1", {"state": True})
        breaking = asyncio.create_task(_break(network, chance))
        for i in range(300):
            key = f"k{chance.randrange(20)}"
            if (kind := chance.random()) < 0.4:
                await items.append(key, f"{i},")
            elif kind < 0.8:
                await items.set(key, text=f"{i}:")
            else:
                await items.delete(key)
            await asyncio.sleep(0.01)
        breaking.cancel()
        await client.until(lambda: shown(client) == items.values)
        assert (await client.show())["duplicates"] == 0


async def _break(network: Proxy, chance: random.Random) -> None:
    while True:
        await asyncio.sleep(chance.uniform(0.05, 0.6))
        network.reset()
