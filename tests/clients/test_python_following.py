"""Subscriptions of the Python client at a real gateway: reading slowly, cancelling, leaving a loop, freshness."""

import asyncio
import pickle
from typing import Any

import pytest

from gathering_client import Event, Gap, Refused, StateChange, Subscription, Unreachable, connect
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import PATIENCE, ran, until
from tests.support.proxy import proxied
from tests.support.settings import settings_for


async def numbers(subscription: Subscription[Event[Any] | Gap], count: int) -> list[Any]:
    async with asyncio.timeout(PATIENCE):
        items = [await anext(subscription) for _ in range(count)]
    return [item.data["n"] if isinstance(item, Event) else item for item in items]


async def live(subscription: Subscription[Event[Any] | Gap]) -> None:
    """Read until the subscription is live; nothing comes."""
    while not subscription.freshness.connected:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await anext(subscription)


async def test_a_timeout_around_the_next_item(gate: RunningGateway) -> None:
    """Cancels the wait and not the subscription: the connection stays, and the next item comes."""
    async with connect(gate.url, token=gate.token()) as client:
        subscription = client.subscribe("circle:1")
        await live(subscription)
        (connection,) = gate.service.gateway.manager.connections()
        await gate.publish(circle_id=1, data={"n": 1})
        assert await numbers(subscription, 1) == [1]
        assert list(gate.service.gateway.manager.connections()) == [connection]


async def test_a_loop_that_was_left_goes_on(gate: RunningGateway) -> None:
    """After the last item; and a later process after the cursor, which can be pickled."""
    async with connect(gate.url, token=gate.token()) as client:
        subscription = client.subscribe("circle:1")
        await live(subscription)
        for n in range(3):
            await gate.publish(circle_id=1, data={"n": n})
        async for item in subscription:
            assert isinstance(item, Event)
            assert item.data == {"n": 0}
            break
        saved = pickle.dumps(subscription.cursor)
        assert await numbers(subscription, 2) == [1, 2]
    async with connect(gate.url, token=gate.token()) as client:
        assert await numbers(client.subscribe("circle:1", since=pickle.loads(saved)), 2) == [1, 2]  # noqa: S301


async def test_a_reader_that_pauses_misses_nothing() -> None:
    """With more data waiting than the sockets hold, the gateway gives the connection up (4408), and it resumes."""
    async with running(settings_for(stall_seconds=0.5, log_max_bytes=64 * 1024 * 1024)) as gate:
        changes: list[StateChange] = []
        async with connect(gate.url, token=gate.token()) as client:
            subscription = client.subscribe("circle:1", on_state=changes.append)
            await live(subscription)
            filler = "x" * 60_000
            for n in range(300):
                await gate.publish(circle_id=1, data={"n": n, "filler": filler})
            await until(lambda: not list(gate.service.gateway.manager.connections()))
            assert await numbers(subscription, 300) == list(range(300))
        assert [change.state for change in changes] == ["connecting", "live", "reconnecting", "live"]


async def test_two_tasks_cannot_share_a_subscription(gate: RunningGateway) -> None:
    """Each would miss what the other reads."""
    async with connect(gate.url, token=gate.token()) as client:
        subscription = client.subscribe("circle:1")
        reading = asyncio.ensure_future(anext(subscription))
        await asyncio.sleep(0.2)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(subscription)
        await subscription.close()
        with pytest.raises(StopAsyncIteration):
            await reading


async def test_closing_the_client_ends_its_subscriptions(gate: RunningGateway) -> None:
    """The loop ends as if there were no more items, and the gateway has no connection left."""
    async with connect(gate.url, token=gate.token()) as client:
        reading = asyncio.create_task(_all(client.subscribe("circle:1")))
        await until(lambda: list(gate.service.gateway.manager.connections()))
    assert await reading == []
    await until(lambda: not list(gate.service.gateway.manager.connections()))


async def test_closing_ends_the_wait_for_the_next_attempt(gate: RunningGateway) -> None:
    """At once, however long the backoff has become; and no connection is left of an attempt that was under way."""
    async with proxied(gate.port) as network:
        changes: list[StateChange] = []
        async with connect(f"http://127.0.0.1:{network.port}", token=gate.token()) as client:
            reading = asyncio.create_task(_all(client.subscribe("circle:1", on_state=changes.append)))
            network.target = 1
            await until(lambda: max((change.retry_in or 0.0 for change in changes), default=0.0) > 1.5)
        begun = ran()
        assert await reading == []
        assert ran() - begun < 1.0
        network.target = gate.port
        network.partition()
        client = connect(f"http://127.0.0.1:{network.port}", token=gate.token())
        reading = asyncio.create_task(_all(client.subscribe("circle:1")))
        await asyncio.sleep(0.3)
        await client.close()
        network.heal()
        assert await reading == []
        await until(lambda: not list(gate.service.gateway.manager.connections()))


async def _all(subscription: Subscription[Event[Any] | Gap]) -> list[Any]:
    return [item async for item in subscription]


async def test_each_subscription_has_its_own_order_and_place(gate: RunningGateway) -> None:
    """Two with a room in common both get all of it, from different cursors."""
    first = await gate.publish(circle_id=1, data={"n": 0})
    await gate.publish(circle_id=1, project_id=5, data={"n": 1})
    await gate.publish(circle_id=1, data={"n": 2})
    async with connect(gate.url, token=gate.token()) as client:
        circle, project = client.subscribe("circle:1", since=first), client.subscribe("project:5", history=10)
        assert await numbers(circle, 2) == [1, 2]
        assert await numbers(project, 1) == [1]
        await gate.publish(circle_id=1, project_id=5, data={"n": 3})
        assert await numbers(circle, 1) == await numbers(project, 1) == [3]


async def test_freshness_follows_the_marks() -> None:
    """`as_of` moves on in a quiet room, and so does the cursor."""
    async with running(settings_for(mark_interval=1)) as gate:
        async with connect(gate.url, token=gate.token()) as client:
            subscription = client.subscribe("circle:1")
            reading = asyncio.ensure_future(anext(subscription))
            await until(lambda: subscription.freshness.as_of)
            before, cursor = subscription.freshness.as_of, subscription.cursor
            assert not subscription.freshness.stale
            await gate.publish(circle_id=2, data={"n": 1})
            await until(lambda: subscription.freshness.as_of != before and subscription.cursor != cursor)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def test_a_load_that_fails_is_called_again(gate: RunningGateway) -> None:
    """The exception reaches the loop; the next iteration loads once more."""
    calls = 0

    async def load(cursor: str) -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("the database is away")
        return "state"

    async with connect(gate.url, token=gate.token()) as client:
        subscription = client.subscribe("circle:1", load=load)
        with pytest.raises(OSError, match="away"):
            await anext(subscription)
        assert getattr(await anext(subscription), "value", None) == "state"


async def test_refusals(gate: RunningGateway) -> None:
    """Rooms without a grant, and an address of something else."""
    async with connect(gate.url, token=gate.token(rooms=["circle:1"])) as client:
        with pytest.raises(Refused) as refused:
            await anext(client.subscribe("circle:1", "circle:2"))
        assert (refused.value.code, refused.value.rooms) == ("room_forbidden", ("circle:2",))
    async with connect(gate.url, token=gate.token(), websocket_path="/nowhere") as client:
        with pytest.raises(Unreachable, match="404"):
            await anext(client.subscribe("circle:1"))
