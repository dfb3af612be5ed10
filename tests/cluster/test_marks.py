"""Marks of several nodes: as of when each last knew the head of the log, and none while it cannot know."""

import asyncio
import time
from datetime import datetime

import pytest

from tests.support.oracle import TENANT, stage
from tests.support.pauses import until
from tests.support.redis import RedisServer


def as_of(frame: dict[str, dict[str, str]]) -> float:
    return datetime.fromisoformat(frame["data"]["as_of"]).timestamp()


@pytest.mark.timing
async def test_mark_of_one_node_is_the_place_at_another(server: RedisServer, prefix: str) -> None:
    """Both nodes give the same place, known a second or two ago at most, and either resumes from it."""
    async with stage(server.url, server.url, prefix=prefix, mark_interval=0.5) as nodes:
        one, other = nodes.gates
        head = (await one.service.gateway.publish(TENANT, "task.created", {"n": 1}, circle_id=2)).event_id
        async with one.client(query="&rooms=circle:1") as client, other.client(query="&rooms=circle:1") as far:
            for each in (client, far):
                await each.next("subscribed")
                mark = await each.next("stream.mark")
                while mark["data"]["cursor"] != head:
                    mark = await each.next("stream.mark")
                assert 0.0 <= time.time() - as_of(mark) < 2.5
        async with other.client(query=f"&rooms=circle:1&since={head}") as client:
            assert (await client.next("subscribed"))["data"]["recovered"] is True
            assert (await client.next("stream.mark"))["data"]["cursor"] == head


async def test_no_mark_is_of_a_time_that_the_node_cannot_know(server: RedisServer, prefix: str) -> None:
    """While Redis does not answer, marks keep the time of the last answer, then stop. Once it answers they go on, and a
    replay that ended meanwhile is reported."""
    async with stage(server.url, prefix=prefix, mark_interval=0.5) as nodes:
        (gate,) = nodes.gates
        start = (await gate.service.gateway.publish(TENANT, "task.created", {"n": 1}, circle_id=1)).event_id
        async with gate.client(query="&rooms=circle:1") as client:
            await client.next("subscribed")
            await client.next("stream.mark")
            stopped = time.time()
            server.stall()
            while (frame := await client.next())["type"] != "stream.degraded":
                assert as_of(frame) <= stopped + 0.1
            await client.quiet(1.0)
            assert (await client.ask(type="ping"))["data"] == {}
            await client.ask(type="subscribe", rooms=["circle:1"], history=1)
            await client.next("task.created")
            await client.quiet(0.5)
            server.go_on()
            back = time.time()
            assert (await client.next("stream.restored"))["type"]
            mark = await client.next("stream.mark")
            assert mark["data"]["cursor"] == start
            assert as_of(mark) >= back - 0.1


async def test_node_that_missed_an_entry_gives_no_mark_before_it_has_it(server: RedisServer, prefix: str) -> None:
    """A channel that loses messages: every mark is of a place that its client has, as of when that was the head."""
    async with stage(server.url, server.url, prefix=prefix, mark_interval=0.25) as nodes:
        one, deaf = nodes.gates
        nodes.logs[1].follower.channels.on_message = lambda channel, data: None
        async with deaf.client(query="&rooms=tenant") as client:
            await client.next("subscribed")
            published: list[tuple[float, str]] = []
            for n in range(20):
                receipt = await one.service.gateway.publish(TENANT, "task.created", {"n": n})
                published.append((time.time(), receipt.event_id))
                await asyncio.sleep(0.15)
            seen: list[str] = []
            while len(seen) < 20:
                frame = await client.next()
                if frame["type"] != "stream.mark":
                    seen.append(frame["event_id"])
                    continue
                assert frame["data"]["cursor"] not in [event_id for _, event_id in published[len(seen) :]]
                assert not seen or frame["data"]["cursor"] == seen[-1]
                # What was in the log by then had come.
                assert all(at > as_of(frame) - 0.05 for at, _ in published[len(seen) :])
            assert seen == [event_id for _, event_id in published]
            await until(lambda: nodes.logs[1].staleness(TENANT) is not None)
