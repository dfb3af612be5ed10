"""The stream of control messages: what it keeps, by whose clock, and what happens to it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from gateway.cluster.redis.cluster import RedisCluster
from gateway.cluster.redis.control_stream import BATCH, decode, encode
from gateway.cluster.redis.outbox import Outbox
from gateway.core.control import ControlMessage
from gateway.core.errors import LogUnavailable
from gateway.testing import MemberTable
from tests.support.oracle import stage
from tests.support.pauses import ran, until
from tests.support.redis import RedisServer
from tests.support.redis_logs import have_patience

AT = 1_768_000_000.25


@asynccontextmanager
async def node(server: RedisServer, prefix: str, retention: int = 3_600) -> AsyncIterator[RedisCluster]:
    cluster = RedisCluster(server.url, prefix=prefix, retention=retention)
    cluster.members.attach(MemberTable(), lambda tenant, changes: None)
    await cluster.start()
    try:
        yield cluster
    finally:
        await cluster.stop()


def names(cluster: RedisCluster) -> list[str]:
    return [entry.name for entry in cluster.revocations]


def revoked(name: str, tenant: str = "acme", seconds: float = 600.0) -> ControlMessage:
    return ControlMessage("user_revoked", tenant, name, AT, seconds, through=AT)


def key(prefix: str) -> str:
    return f"{prefix}:{{control}}:messages"


async def test_messages_are_dropped_by_the_clock_of_redis(server: RedisServer, prefix: str) -> None:
    """Once they are older than the longest token, and by no node's clock; and those that are over are not heard."""
    for n in range(1_000):
        await server.ask("XADD", key(prefix), f"{1_000 + n}-0", "m", encode(revoked(f"old{n}")))
    async with node(server, prefix) as one:
        assert names(one) == []
        await one.publish_control(revoked("bob"))
        assert await server.ask("XLEN", key(prefix)) <= 101  # Redis trims by nodes of a hundred
        async with node(server, prefix) as two:
            assert names(two) == ["bob"]


async def test_nodes_are_notified_after_a_pause(server: RedisServer, prefix: str) -> None:
    """A message that was on its way to Redis while the node was held up, for longer than any deadline, is stored."""
    async with node(server, prefix) as one, node(server, prefix) as two:
        published = asyncio.ensure_future(one.publish_control(revoked("bob")))
        await asyncio.sleep(0)
        time.sleep(2.5)  # noqa: ASYNC251 - what is tested
        await published
        await until(lambda: names(two) == ["bob"])


async def test_unreadable_entries_are_skipped(server: RedisServer, prefix: str) -> None:
    """Invalid entries of the stream are skipped; the rest is read."""
    good = json.loads(encode(revoked("bob")))
    strange: list[Any] = [[], {}, None, 7, "x", good[:-1], [*good, 1], ["other", *good[1:]], [good[0], 5, *good[2:]]]
    strange += [[*good[:2], ["bob"], *good[3:]], [*good[:4], "now", *good[5:]], [*good[:6], None], [*good[:6], True, 1]]
    texts = [*map(json.dumps, strange), "", "\x00", "{", "a\nb", encode(revoked("bob")).replace("600.0", "1e999")]
    texts += [encode(revoked("bob")).replace(str(AT), "NaN")]
    for text in texts:
        await server.ask("XADD", key(prefix), "*", "m", text)
    await server.ask("XADD", key(prefix), "*", "notice", "no such field")
    async with node(server, prefix) as one:
        await server.ask("XADD", key(prefix), "*", "m", encode(revoked("eve")))
        await until(lambda: names(one) == ["eve"])
        for text in texts:
            with pytest.raises(ValueError, match=r".*"):
                decode(text, 0.0)


@pytest.mark.parametrize("lost", ["FLUSHALL", "DEL", "restart"])
async def test_messages_are_read_again_where_the_stream_is_another_one(
    server: RedisServer, prefix: str, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once by each node that notices, and once more the batch that it was storing at that moment."""
    have_patience(monkeypatch)  # what was not answered in time is sent again, and may be there twice
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node(server, prefix)) for _ in range(3)]
        for n in range(300):
            await nodes[n % 3].publish_control(revoked(f"user{n}"))
        await until(lambda: all(len(each.revocations) == 300 for each in nodes))
        if lost == "restart":
            server.kill()
            await server.start()
        else:
            await server.ask(lost, *([key(prefix)] if lost == "DEL" else []))

        async def complete() -> bool:
            return bool(await server.ask("XLEN", key(prefix)) >= 300)

        await until(complete)
        await asyncio.sleep(1.5)
        assert await server.ask("XLEN", key(prefix)) <= 3 * (300 + BATCH)
        late = await stack.enter_async_context(node(server, prefix))
        assert sorted(names(late)) == sorted(f"user{n}" for n in range(300))


async def test_node_that_was_stopped_goes_on_where_it_was(
    server: RedisServer, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """On another event loop as well: what it knew is in force, what it missed it hears."""
    cluster = RedisCluster(server.url, prefix=prefix, retention=3_600)
    cluster.members.attach(MemberTable(), lambda tenant, changes: None)
    received: list[ControlMessage] = []
    cluster.attach(received.extend)
    await cluster.start()
    async with node(server, prefix) as other:
        await other.publish_control(revoked("ada"))
        await until(lambda: len(received) == 1)
        await cluster.stop()
        await other.publish_control(revoked("bob"))

        async def again() -> None:
            await cluster.start()
            await until(lambda: len(received) == 2)
            await cluster.publish_control(revoked("eve"))
            await cluster.stop()

        await asyncio.to_thread(asyncio.run, again())
        assert [message.name for message in received] == ["ada", "bob"]
        await until(lambda: names(other) == ["ada", "bob", "eve"])
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.timing
async def test_flood_of_one_tenant_delays_no_other(server: RedisServer, prefix: str) -> None:
    """While a tenant removes members as fast as it can, another tenant's revocation is on every node within 2 s, and
    commands are answered within 250 ms."""
    async with stage(server.url, server.url, prefix=prefix) as there:
        one, other = there.gates

        async def flood(n: int) -> None:
            for k in range(40):
                removals = (
                    one.service.gateway.publish(
                        "evil", "circle.member.removed", {"user_id": f"u{n}_{k}_{i}"}, circle_id=7
                    )
                    for i in range(25)
                )
                await asyncio.gather(*removals, return_exceptions=True)

        floods = [asyncio.create_task(flood(n)) for n in range(8)]
        async with other.client(other.token("eve", "acme")) as eve, other.client(other.token("bob", "acme")) as bob:
            await asyncio.sleep(0.2)
            waits = []
            for _ in range(10):
                began = ran()
                assert (await bob.ask(type="ping"))["type"] == "pong"
                waits.append(ran() - began)
            began = ran()
            await one.service.gateway.administration.revoke_user("acme", "eve")
            assert await eve.closed() == (4401, "token_revoked")
            assert ran() - began < 2.0
            assert not all(task.done() for task in floods), "the flood was over too soon"
            print(f"pings took {sorted(waits)[-3:]} s, {len(other.service.gateway.cluster.revocations)} in force there")
            assert sorted(waits)[-1] < 0.25
        for task in floods:
            task.cancel()
        await asyncio.gather(*floods, return_exceptions=True)


# ---- the outbox


def taken(outbox: Outbox, count: int) -> list[str]:
    return [pending.message.name for pending in outbox.take(count)]


async def test_tenants_take_turns() -> None:
    """However many one has, the others' next ones are in the next batch; each tenant's in their order."""
    outbox = Outbox()
    for n in range(1_000):
        outbox.put(revoked(f"a{n}", "a"))
    for n in range(2):
        outbox.put(revoked(f"b{n}", "b"))
    outbox.put(ControlMessage("token_revoked", None, "jti", AT, 600.0))
    batch = taken(outbox, 30)
    assert {"b0", "b1", "jti"} < set(batch)
    assert [name for name in batch if name.startswith("a")] == [f"a{n}" for n in range(27)]
    assert len(taken(outbox, 2_000)) == 973
    assert not outbox.filled.is_set()


async def test_a_subject_waits_once() -> None:
    """With what was said of it last, and for all who wait for it."""
    outbox = Outbox()
    loop = asyncio.get_running_loop()
    waiting = [loop.create_future() for _ in range(2)]
    for n in range(1_000):
        outbox.put(ControlMessage("user_revoked", "acme", "bob", AT + n, 600.0))
    for written in waiting:
        outbox.put(revoked("bob")).waiting.append(written)
    (pending,) = outbox.take(9)
    assert pending.message == revoked("bob")
    pending.succeed()
    assert all(written.done() for written in waiting)


async def test_entries_that_could_not_be_stored_wait_again() -> None:
    """Behind nothing newer of its subject; who waited is refused."""
    outbox = Outbox()
    written = asyncio.get_running_loop().create_future()
    outbox.put(revoked("bob")).waiting.append(written)
    outbox.put(revoked("eve"))
    batch = outbox.take(2)
    newer = ControlMessage("user_revoked", "acme", "eve", AT + 1, 600.0)
    outbox.put(newer)
    for each in batch:
        each.fail()
    outbox.put_back(batch)
    with pytest.raises(LogUnavailable):
        await written
    assert {each.message for each in outbox.take(9)} == {newer, revoked("bob")}


async def test_taking_costs_the_same_with_many_waiting() -> None:
    """The first of a hundred thousand, and the last one."""
    outbox = Outbox()
    for n in range(100_000):
        outbox.put(revoked(f"user{n}", f"tenant{n % 3}"))
    began = time.process_time()
    count = 0
    while outbox.take(256):
        count += 1
    assert count == 391
    assert time.process_time() - began < 5  # quadratic, it would be minutes
