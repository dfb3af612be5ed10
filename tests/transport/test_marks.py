"""Marks over real sockets, on both transports: what a client has, and as of when that was all."""

import asyncio
import time
from datetime import datetime
from typing import Any

import pytest

from gateway.core.connection import Connection
from tests.support.clients import Client, fence
from tests.support.inprocess import RunningGateway, running
from tests.support.lab import GatewayLab
from tests.support.pauses import now, until
from tests.support.settings import settings_for
from tests.transport.slow import connection_of, fall_behind, slow, unlimited


@pytest.fixture(params=[False, True], ids=["uvicorn", "ASGI"])
def stock(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def marking(stock: bool = False, interval: float = 15.0, **settings: Any) -> Any:
    return running(settings_for(mark_interval=interval, **settings), stock=stock)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def is_mark(frame: dict[str, Any], cursor: str) -> bool:
    """Whether it is a mark of that place, as of now."""
    assert frame["type"] == "stream.mark", frame
    assert abs(seconds(frame["data"]["as_of"]) - time.time()) < 2.0
    assert frame.keys() == {"type", "data", "timestamp"}
    return bool(frame["data"] == {"cursor": cursor, "as_of": frame["data"]["as_of"]})


# ---- in silence


@pytest.mark.timing
async def test_silent_connection_gets_marks_of_the_head(stock: bool) -> None:
    """At least once an interval, of the newest place, whatever its rooms are; all of a tenant get the same."""
    async with marking(stock, 1.0) as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        async with gate.client() as other:
            for _ in range(3):
                head = await gate.publish(circle_id=2)
                begun = now()
                assert is_mark(await client.next(), head)
                assert is_mark(await other.next(), head)
                assert now() - begun < 1.0


async def test_quiet_room_of_a_busy_tenant_resumes_at_its_mark(stock: bool) -> None:
    """From a mark on nothing is missing, though all that came before it is gone, and the tenant's own room is asked
    for too."""
    async with marking(stock, 0.5, log_max_events=100) as gate:
        await gate.publish(circle_id=1)
        async with gate.client(query="&rooms=circle:1") as client:
            await client.next("subscribed")
            for _ in range(300):
                await gate.publish(circle_id=2)
            mark = (await client.next("stream.mark"))["data"]["cursor"]
        missed = await gate.publish(circle_id=1)
        async with gate.client(query=f"&rooms=circle:1,tenant&since={mark}") as client:
            answer = (await client.next("subscribed"))["data"]
            assert (answer["recovered"], answer["replayed"]) == (True, 1)
            assert (await client.next("task.completed"))["event_id"] == missed
            assert is_mark(await client.next(), missed)


async def test_events_take_the_place_of_marks_and_replies_do_not(stock: bool) -> None:
    """A connection to which events come all the time gets none; one to which only replies come does."""
    async with marking(stock, 1.0) as gate, gate.client(query="&rooms=circle:1") as busy, gate.client() as asking:
        await busy.next("subscribed")
        types: list[str] = []
        for _ in range(25):
            await gate.publish(circle_id=1)
            await busy.next("task.completed")
            await asking.send(type="presence", id="p", room="circle:1")
            while (kind := (await asking.next())["type"]) != "presence":
                types.append(kind)
            await asyncio.sleep(0.1)
        assert set(types) == {"stream.mark"}
        assert 2 <= len(types) <= 5


async def test_interval_of_0_turns_marks_off(stock: bool) -> None:
    """Neither in silence nor after a replay; a pong has the place all the same."""
    async with marking(stock, 0.0) as gate:
        start = await gate.publish(circle_id=1)
        head = await gate.publish(circle_id=1)
        async with gate.client(query=f"&rooms=circle:1&since={start}") as client:
            await client.next("subscribed")
            await client.next("task.completed")
            assert (await client.ask(type="ping"))["data"]["cursor"] == head
            await client.quiet()


# ---- at the end of a replay


async def replayed(client: Client, count: int) -> list[str]:
    return [(await client.next("task.completed"))["event_id"] for _ in range(count)]


async def test_mark_ends_a_replay_at_once(stock: bool) -> None:
    """After `since` and after `history`, by command and in the URL, also where nothing is replayed; not where neither
    was asked for."""
    async with marking(stock) as gate:
        ids = [await gate.publish(circle_id=1) for _ in range(5)]
        async with gate.client(query=f"&rooms=circle:1&since={ids[1]}") as client:
            await client.next("subscribed")
            assert await replayed(client, 3) == ids[2:]
            assert is_mark(await client.next(), ids[-1])
            await fence(client)
        async with gate.client(query=f"&rooms=circle:1&since={ids[-1]}") as client:
            await client.next("subscribed")
            assert is_mark(await client.next(), ids[-1])
            await fence(client)
        async with gate.client(query="&rooms=circle:2") as client:
            await client.next("subscribed")
            for more, count in (
                ({}, 0),
                ({"history": 2}, 2),
                ({"since": ids[0]}, 2),
                ({"history": 9}, 1),
                ({"history": 9}, 0),
            ):
                await client.send(type="subscribe", id="s", rooms=["circle:1"], **more)
                assert (await client.next("subscribed"))["data"]["replayed"] == count
                assert len(await replayed(client, count)) == count
                if more:
                    assert is_mark(await client.next(), ids[-1])
                await fence(client)


async def test_replays_in_a_row_have_a_mark_when_nothing_more_is_owed(stock: bool) -> None:
    """Commands that waited for the end of a replay come first: a mark amid them would end what is still owed."""
    async with unlimited_marking(stock) as gate:
        ids = [await gate.publish(circle_id=n % 3, data={"x": "y" * 2_000}) for n in range(120)]
        async with gate.client() as client:
            for n in range(3):
                await client.send(type="subscribe", id=n, rooms=[f"circle:{n}"], since=ids[0])
            frames = [await client.next()]
            while frames[-1]["type"] != "stream.mark":
                frames.append(await client.next())
            assert [frame["id"] for frame in frames if frame["type"] == "subscribed"] == [0, 1, 2]
            assert {frame["event_id"] for frame in frames if "event_id" in frame} == set(ids[1:])
            assert is_mark(frames[-1], ids[-1])


async def test_mark_waits_for_pending_commands() -> None:
    """Also where the first of them has nothing to replay."""
    lab = GatewayLab(mark_interval=15)
    await lab.gateway.start()
    try:
        await lab.happen()
        since = lab.gateway.log.window("acme").cursor
        await lab.happen(50, circle=7, text="y" * 2_000)
        await lab.happen(circle=9)
        connection, transport = lab.join()
        for circle in (7, 8, 9):
            lab.say(connection, type="subscribe", rooms=[f"circle:{circle}"], since=since)
        assert len(connection.pending_commands) == 2
        await lab.settle()
        assert transport.kinds.count("subscribed") == 3
        assert transport.kinds.index("stream.mark") == len(transport.kinds) - 1
    finally:
        await lab.gateway.stop()


def unlimited_marking(stock: bool) -> Any:
    return marking(stock, commands_per_second=0, events_per_second=0)


async def test_busy_connection_gets_the_mark_of_its_replay() -> None:
    """Also where live events come all the time."""
    async with marking(interval=1.0) as gate:
        start = await gate.publish(circle_id=1)
        publishing = asyncio.create_task(publish_forever(gate))
        try:
            async with gate.client(query=f"&rooms=circle:1&since={start}") as client:
                await client.next("subscribed")
                await until_mark(client)
        finally:
            publishing.cancel()


async def publish_forever(gate: RunningGateway) -> None:
    while True:
        await gate.publish(circle_id=1)
        await asyncio.sleep(0.02)


async def until_mark(client: Client) -> list[dict[str, Any]]:
    """The frames up to a mark."""
    frames = [await client.next()]
    while frames[-1]["type"] != "stream.mark":
        frames.append(await client.next())
    return frames


# ---- never ahead


async def test_connection_that_is_behind_gets_none_and_one_when_it_has_all() -> None:
    """However long it is behind; pings are answered without a place."""
    async with unlimited(mark_interval=0.3) as gate, slow(gate) as client:
        ids = await fall_behind(gate)
        await asyncio.sleep(1.0)
        connection = connection_of(gate)
        assert not connection.live
        place = gate.service.gateway.marks.pong(connection)
        assert place.cursor is None
        assert place.as_of is not None
        seen: list[str] = []
        while len(seen) < len(ids):
            message = await client.message()
            if message["type"] == "stream.mark":  # from before it fell behind
                assert message["data"]["cursor"] in (*seen[-1:], *ids[:1]) or not seen
            elif "event_id" in message:
                seen.append(message["event_id"])
        assert seen == ids
        message = await client.message()
        assert message["type"] == "stream.mark"
        assert message["data"]["cursor"] == ids[-1]


@pytest.mark.parametrize("interval", [0.3, 60.0])
async def test_connection_over_its_rate_gets_none_until_it_has_all(interval: float) -> None:
    """The connection may have 10 events a second and gets 30: the mark comes last, and at once, for any interval."""
    async with marking(interval=interval) as gate:
        async with gate.client(gate.token(rate=10), "&rooms=circle:1") as client:
            await client.next("subscribed")
            ids = [await gate.publish(circle_id=1) for _ in range(30)]
            seen: list[str] = []
            while len(seen) < 30:
                frame = await client.next()
                if frame["type"] == "stream.mark":
                    assert frame["data"]["cursor"] == seen[-1] if seen else True
                    assert frame["data"]["cursor"] not in ids[len(seen) :]
                else:
                    seen.append(frame["event_id"])
            assert seen == ids
            assert is_mark(await client.next(), ids[-1])


async def test_place_is_of_what_was_delivered(stock: bool) -> None:
    """A pong right after a publish that is still being coalesced comes after the event that it names."""
    async with marking(stock) as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        connection = only(gate)
        receipt = await gate.service.gateway.publish("acme", "task.completed", {}, circle_id=1)
        gate.service.gateway.receive(connection, '{"type":"ping","id":1}')
        assert (await client.next("task.completed"))["event_id"] == receipt.event_id
        assert (await client.next("pong"))["data"]["cursor"] == receipt.event_id


def only(gate: RunningGateway) -> Connection:
    (connection,) = gate.service.gateway.manager.connections()
    return connection


async def test_draining_has_the_place(stock: bool) -> None:
    """The place of a live connection; it resumes from there at another node, or after this one's restart."""
    async with marking(stock) as gate, gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        head = await gate.publish(circle_id=2)
        draining = asyncio.create_task(gate.service.gateway.drain.run(0.3))
        assert (await client.next("server.draining"))["data"]["cursor"] == head
        await draining


async def test_draining_has_no_place_for_one_that_is_behind() -> None:
    """The place would skip events that are owed to it."""
    async with unlimited() as gate, slow(gate) as client:
        ids = await fall_behind(gate)
        draining = asyncio.create_task(gate.service.gateway.drain.run(5.0))
        seen: list[str] = []
        while len(seen) < len(ids):
            message = await client.message()
            if message["type"] == "server.draining":
                assert message["data"].keys() == {"reconnect_after_ms"}
            elif "event_id" in message:
                seen.append(message["event_id"])
        await draining


async def test_mark_that_fills_the_transport_is_followed_by_what_comes_later() -> None:
    """The rule of events: the connection is behind at the mark's place, and misses nothing."""
    lab = GatewayLab(mark_interval=0.2)
    await lab.gateway.start()
    try:
        connection, transport = lab.join(rooms="circle:7")
        transport.capacity = len(transport.frames) + 1
        await until(lambda: not connection.live)
        assert transport.frames[-1]["type"] == "stream.mark"
        await lab.happen(3)
        await lab.settle()
        transport.capacity = None
        lab.gateway.on_writable(connection)
        await lab.settle()
        later = transport.frames[-4:]
        assert [frame["data"].get("n") for frame in later] == [0, 1, 2, None]
        assert later[-1]["data"]["cursor"] == later[-2]["event_id"]
    finally:
        await lab.gateway.stop()
