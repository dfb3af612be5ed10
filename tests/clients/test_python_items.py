"""Items of the Python client at a real gateway: the view that a client shows is the gateway's state."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gathering_client import Event, Gap, Items, ItemsSubscription, connect
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import until
from tests.support.proxy import proxied
from tests.support.settings import settings_for


class View:
    """The values of `circle:1` that a client shows, as they were yielded last."""

    def __init__(self, subscription: ItemsSubscription) -> None:
        self.shown: dict[str, Any] | None = None
        self.times = 0
        self._subscription = subscription

    async def follow(self) -> None:
        async for items in self._subscription:
            self.show(items)

    def show(self, items: Items) -> None:
        self.shown = {item.key: item.data for item in items}
        self.times += 1

    async def until(self, expected: dict[str, Any]) -> None:
        try:
            await until(lambda: self.shown == expected)
        except TimeoutError:
            raise AssertionError(f"{self.shown}, and not {expected}") from None


@asynccontextmanager
async def viewing(gate: RunningGateway, port: int | None = None, **grants: Any) -> AsyncIterator[View]:
    async with connect(f"http://127.0.0.1:{port or gate.port}", token=gate.token(**grants)) as client:
        view = View(client.items("circle:1"))
        following = asyncio.create_task(view.follow())
        try:
            yield view
            assert not following.done(), following
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def keyed(gate: RunningGateway, key: str, op: str | None = None, circle: int = 1, **data: Any) -> None:
    """Publish a keyed event as a service does."""
    async with connect(gate.url, token=gate.token("publisher")) as client:
        await client.publish("gauge.changed", data, key=key, op=op, circle_id=circle)


async def test_the_state_comes_first_and_changes_follow(gate: RunningGateway) -> None:
    """Sets, appends and deletes from before, and live ones."""
    await keyed(gate, "a", value=1)
    await keyed(gate, "a", value=2)
    await keyed(gate, "text", text="Hel")
    await keyed(gate, "text", "append", text="lo")
    await keyed(gate, "gone", value=1)
    await keyed(gate, "gone", "delete")
    await keyed(gate, "elsewhere", circle=2, value=1)
    async with viewing(gate) as view:
        await view.until({"a": {"value": 2}, "text": {"text": "Hello"}})
        assert view.times == 1, "an incomplete view was shown"
        await keyed(gate, "text", "append", text="!")
        await keyed(gate, "a", "delete")
        await keyed(gate, "b", value=3)
        await view.until({"text": {"text": "Hello!"}, "b": {"value": 3}})


async def test_an_empty_state_is_shown(gate: RunningGateway) -> None:
    async with viewing(gate) as view:
        await view.until({})
        await keyed(gate, "a", value=1)
        await view.until({"a": {"value": 1}})


async def test_changes_while_the_client_was_away(gate: RunningGateway) -> None:
    """Newest values, deletes, and appends as whole values."""
    await keyed(gate, "a", value=1)
    await keyed(gate, "b", value=1)
    await keyed(gate, "text", text="1")
    async with proxied(gate.port) as network, viewing(gate, network.port) as view:
        await view.until({"a": {"value": 1}, "b": {"value": 1}, "text": {"text": "1"}})
        network.partition()
        await keyed(gate, "a", value=2)
        await keyed(gate, "b", "delete")
        await keyed(gate, "text", "append", text="2")
        network.reset()
        network.heal()
        await view.until({"a": {"value": 2}, "text": {"text": "12"}})


async def test_a_state_that_was_trimmed_is_reported() -> None:
    """The gap comes before its items, and is in the view."""
    async with running(settings_for(state_max_items=2, log_max_events=2)) as gate:
        for n in range(6):
            await keyed(gate, f"k{n}", value=n)
        async with connect(gate.url, token=gate.token()) as client:
            async with client.subscribe("circle:1", state=True) as subscription:
                first = await anext(subscription)
                assert isinstance(first, Gap)
                assert first.reason == "state_incomplete"
                rest = [await anext(subscription) for _ in range(2)]
                assert [item.key for item in rest if isinstance(item, Event)] == ["k4", "k5"]
            async with client.items("circle:1") as views:
                items = await anext(views)
                assert ([item.key for item in items], items.missing) == (["k4", "k5"], True)


async def test_a_state_that_was_trimmed_while_the_client_was_away() -> None:
    """The view is that of the gateway: no item stays in it with an old value."""
    async with running(settings_for(state_max_items=2, log_max_events=2)) as gate:
        await keyed(gate, "a", value=1)
        async with proxied(gate.port) as network, viewing(gate, network.port) as view:
            await view.until({"a": {"value": 1}})
            network.partition()
            await keyed(gate, "a", value=2)
            for n in range(5):
                await keyed(gate, f"k{n}", value=n)
            network.reset()
            network.heal()
            await view.until({"k3": {"value": 3}, "k4": {"value": 4}})


@pytest.mark.parametrize("seed", [1, 2])
async def test_views_agree_with_the_publisher_over_a_network_that_breaks(gate: RunningGateway, seed: int) -> None:
    """The clients include one that is always behind: in the end each shows the newest values."""
    chance = random.Random(seed)
    expected: dict[str, Any] = {}
    async with (
        proxied(gate.port) as network,
        viewing(gate, network.port) as view,
        viewing(gate, network.port, rate=20) as slow,
        connect(gate.url, token=gate.token("publisher")) as publisher,
    ):
        await view.until({})
        for _ in range(300):
            key = f"k{chance.randrange(8)}"
            op = chance.choice(("set", "set", "append", "append", "append", "delete"))
            data = {"text": chance.choice("abc"), "n": chance.randrange(100)}
            await publisher.publish("gauge.changed", data, key=key, op=op, circle_id=1)
            apply(expected, key, op, data)
            if chance.random() < 0.04:
                network.reset()
        await view.until(expected)
        await slow.until(expected)


def apply(state: dict[str, Any], key: str, op: str, data: dict[str, Any]) -> None:
    """The rule of keyed events for a `text`, which an append extends, and an `n`, which it replaces."""
    if op == "delete":
        state.pop(key, None)
    elif op == "append" and key in state:
        state[key] = {"text": state[key]["text"] + data["text"], "n": data["n"]}
    else:
        state[key] = data
