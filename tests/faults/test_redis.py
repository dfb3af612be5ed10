"""The faults of Redis and of the network to it, injected for real, each judged by one oracle: the list of acknowledged
events against what each client received (`oracle.hold`). The long forms are marked `chaos`.
"""

import asyncio
import pickle
import random
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import LogUnavailable
from gateway.logs.redis import pubsub
from gateway.testing import draft
from schemas.events import Op
from tests.support.clients import Client, http
from tests.support.inprocess import RunningGateway
from tests.support.oracle import TENANT, Publisher, Reader, Stage, share, stage
from tests.support.pauses import PATIENCE, ran, until
from tests.support.proxy import proxied
from tests.support.redis import RedisServer, redis_server
from tests.support.redis_logs import redis_log


def long_and_short(short: float, long: float) -> pytest.MarkDecorator:
    """Seconds that a fault lasts."""
    return pytest.mark.parametrize("seconds", [short, pytest.param(long, marks=[pytest.mark.chaos, LONG])])


LONG = pytest.mark.timeout(180)


async def recovered(gate: RunningGateway, cursor: str) -> bool:
    """The outcome of resuming from `cursor`."""
    async with gate.client(query=f"&rooms=tenant&since={cursor}") as client:
        answer = await client.next("subscribed")
        client.websocket.transport.abort()  # # or its close frame would wait behind events that are not read
        return bool(answer["data"]["recovered"])


def one_reset(reader: Reader) -> bool:
    return [frame["data"]["reason"] for frame in reader.of("stream.gap")] == ["log_reset"]


# ---- Redis dies


@pytest.mark.timing
async def test_f2_killed_without_persistence(server: RedisServer, prefix: str) -> None:
    """Each client gets one reset; cursors of the old log do too, and no offset stands for two events."""
    async with stage(server.url, server.url, prefix=prefix) as nodes:
        publisher = Publisher(nodes.gates)
        await publisher.more(100)
        before = dict(publisher.acked)
        server.kill()
        await until(lambda: publisher.refused > 3)
        await server.start()
        begun = ran()
        await publisher.more(50)
        assert ran() - begun < 5
        await nodes.everywhere(one_reset)
        await nodes.judge(publisher, gaps=True)
        await asyncio.sleep(1.2)  # one more look, which must not tell it again
        assert all(one_reset(reader) for reader in nodes.readers)
        for gate in nodes.gates:
            assert not await recovered(gate, before[max(before)])
        cursors = nodes.logs[0].window(TENANT).cursors
        old = {cursors.decode(before[n]).epoch for n in before}
        new = {cursors.decode(publisher.acked[n]).epoch for n in publisher.acked.keys() - before.keys()}
        assert len(old) == 1
        assert nodes.logs[0].window(TENANT).epoch in new
        assert nodes.logs[0].window(TENANT).epoch not in old


@pytest.mark.parametrize("trusted", [True, False])
async def test_f3_killed_with_persistence(tmp_path: Path, prefix: str, trusted: bool) -> None:
    """With every command on disk, and trusted, nothing is lost and cursors stay valid. Otherwise the log begins a new
    epoch: the restored data may lack its end."""
    fsync = "always" if trusted else "everysec"
    async with redis_server(tmp_path / "redis", appendonly="yes", appendfsync=fsync) as server:
        async with stage(server.url, server.url, prefix=prefix, redis_trust_restarts=trusted) as nodes:
            publisher = Publisher(nodes.gates)
            await publisher.more(30)
            cursor = publisher.acked[max(publisher.acked)]
            server.kill()
            await until(lambda: publisher.refused > 3)
            await server.start()
            await publisher.more(20)
            if not trusted:
                await nodes.everywhere(one_reset)
            await nodes.judge(publisher, gaps=not trusted)
            for gate in nodes.gates:
                assert await recovered(gate, cursor) is trusted


async def test_a_key_of_an_ended_epoch_is_no_duplicate(tmp_path: Path, prefix: str) -> None:
    """Redis comes back with its keys, and the log begins a new epoch: an event that is published again under its key
    is appended and delivered, for the one of before is in no log."""
    async with redis_server(tmp_path / "redis", appendonly="yes", appendfsync="always") as server:
        async with stage(server.url, prefix=prefix) as nodes:
            gate = nodes.gates[0]
            event = {"type": "order.paid", "data": {"n": 1}, "circle_id": 1, "idempotency_key": "order-1"}
            async with http(gate, gate.token()) as api:
                first = (await api.post("/events", json=event)).json()
                assert (await api.post("/events", json=event)).json()["duplicate"] is True
                server.kill()
                await server.start()
                async with gate.client(query="&rooms=circle:1") as client:
                    await client.next("subscribed")

                    async def accepted() -> dict[str, Any] | None:
                        answer = await api.post("/events", json=event)
                        return None if answer.status_code == 503 else answer.json()

                    again = await until(accepted)
                    assert (again["duplicate"], again["event_id"] == first["event_id"]) == (False, False)
                    frame = await client.next()
                    while frame["type"] != "order.paid":  # # the gap of the log's new epoch, and other notices
                        frame = await client.next()
                    assert frame["event_id"] == again["event_id"]
                    assert await until(accepted) == {**again, "duplicate": True}


# ---- Redis or the network stands still


@pytest.mark.timing
@long_and_short(4.5, 10.0)
async def test_f4_stalled(server: RedisServer, prefix: str, seconds: float, caplog: pytest.LogCaptureFixture) -> None:
    """Publishers get an error within 2 s and clients a notice within 5 s, with open sockets; then all goes on, without
    a loss or a duplicate."""
    async with stage(server.url, server.url, prefix=prefix) as nodes:
        publisher = Publisher(nodes.gates)
        await publisher.more(50)
        begun = ran()
        caplog.clear()
        server.stall()
        await nodes.everywhere(lambda reader: bool(reader.of("stream.degraded")), 5.0)
        assert not any(gate.service.gateway.ready for gate in nodes.gates)
        await asyncio.sleep(seconds - (ran() - begun))
        assert publisher.refused > 0
        assert len([r for r in caplog.records if "the log cannot be written" in r.message]) <= 2, (
            "one line for each node"
        )
        server.go_on()
        await nodes.everywhere(lambda reader: bool(reader.of("stream.restored")), 5.0)
        await publisher.more(50, 5.0)
        await nodes.judge(publisher)
        await until(nodes.ready, 3.0)


@pytest.mark.timing
@long_and_short(5.0, 15.0)
async def test_f5_partition_of_one_node(server: RedisServer, prefix: str, seconds: float) -> None:
    """A node that is cut off tells its clients, and those of the other notice nothing; healed, it catches up."""
    async with proxied(server.port) as network, stage(server.url, network.url, prefix=prefix) as nodes:
        publisher = Publisher(nodes.gates[:1])
        await publisher.more(50)
        network.partition()
        begun = ran()
        cut_off = nodes.gates[1].service.gateway
        with pytest.raises(LogUnavailable):
            await cut_off.publish("bolt", "task.created", {"n": 1})
        assert ran() - begun < 2.2
        await until(lambda: bool(nodes.readers[1].of("stream.degraded")))
        assert not cut_off.ready
        await asyncio.sleep(seconds - (ran() - begun))
        assert publisher.refused == 0
        assert nodes.readers[0].of("stream.degraded") == []
        network.heal()
        await publisher.more(20)
        await nodes.judge(publisher)
        await until(lambda: cut_off.ready)


@pytest.mark.timing
@long_and_short(4.0, 30.0)
@pytest.mark.parametrize("how", ["slow", "reset", "lossy"])
async def test_f6_slow_and_broken_network(server: RedisServer, prefix: str, how: str, seconds: float) -> None:
    """200 ms to Redis and back; the same, and every second all connections reset; one segment in five lost: nothing is
    missing, and nine of ten events take less than 1.5 s, those included that had to be published again; in the long
    form 99 of 100, where connections last."""
    loss = 0.2 if how == "lossy" else 0.0
    async with proxied(server.port) as network, stage(server.url, network.url, prefix=prefix) as nodes:
        network.lose(loss)
        network.latency = 0.0 if loss else 0.1
        near, far = nodes.gates
        publisher = Publisher([near, near, near, near, far])
        end = ran() + seconds
        again = 0
        while ran() < end:
            await asyncio.sleep(1.0)
            again = max(again, network.sent_again)
            if how == "reset":
                network.reset()
        assert again > 0 or not loss, "nothing was lost"
        publishing = len(publisher.acked)
        network.latency = 0.0
        network.lose(0.0)
        await publisher.more(10)
        await nodes.judge(publisher)
        delays = nodes.readers[1].taken(publisher.begun)
        usual, slowest = share(delays, 0.9), share(delays, 0.99)
        print(
            f"{how}: {publishing} events in {seconds:.0f} s, {publisher.refused} refused, {again} segments sent again; "
            f"half take {share(delays, 0.5) * 1000:.0f} ms, p90 {usual * 1000:.0f} ms, p99 {slowest * 1000:.0f} ms"
        )
        assert usual < 1.5
        if seconds > 10 and how != "reset":
            assert slowest < 1.5


# ---- another server


async def test_f7_lagging_replica_promoted(tmp_path: Path, prefix: str) -> None:
    """A replica that lacks the last 50 acknowledged events is promoted, and would assign their offsets again: the log
    begins a new epoch, each client gets a reset, and none takes a new event for one that it has seen."""
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(redis_server(tmp_path / "one"))
        replica = await stack.enter_async_context(redis_server(tmp_path / "two", repl_ping_replica_period="1"))
        replication = await stack.enter_async_context(proxied(primary.port))
        network = await stack.enter_async_context(proxied(primary.port))
        await replica.ask("REPLICAOF", "127.0.0.1", str(replication.port))
        nodes = await stack.enter_async_context(stage(network.url, network.url, prefix=prefix))
        publisher = Publisher(nodes.gates)
        await publisher.more(50)
        await _until_replicated(replica, f"{prefix}:{{{TENANT}}}:meta")
        replication.partition()
        await publisher.more(50)
        await nodes.everywhere(lambda reader: len(reader.ids) >= 100)
        seen = nodes.readers[0].ids[-1]
        primary.kill()
        await replica.ask("REPLICAOF", "NO", "ONE")
        # A node that comes first, and fills up what these have seen: offsets alone would look as if nothing were amiss.
        async with redis_log(replica.url, prefix=prefix) as first:
            await first.append(TENANT, 80)
        network.target = replica.port
        network.reset()
        begun = ran()
        await publisher.more(80)
        assert ran() - begun < 10
        await nodes.everywhere(one_reset)
        await nodes.judge(publisher, gaps=True)
        for gate in nodes.gates:
            assert not await recovered(gate, seen)


async def test_f7_primary_that_became_a_replica(tmp_path: Path, prefix: str) -> None:
    """A server that takes no writes any more is left for the one that its address now leads to, though it goes on
    answering."""
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(redis_server(tmp_path / "one"))
        replica = await stack.enter_async_context(redis_server(tmp_path / "two"))
        network = await stack.enter_async_context(proxied(primary.port))
        await replica.ask("REPLICAOF", "127.0.0.1", str(primary.port))
        nodes = await stack.enter_async_context(stage(network.url, prefix=prefix))
        publisher = Publisher(nodes.gates)
        await publisher.more(20)
        await _until_replicated(replica, f"{prefix}:{{{TENANT}}}:meta")
        network.target = replica.port
        await replica.ask("REPLICAOF", "NO", "ONE")
        await primary.ask("REPLICAOF", "127.0.0.1", str(replica.port))
        await publisher.more(20)
        await nodes.everywhere(one_reset)
        await nodes.judge(publisher, gaps=True)


async def _until_replicated(replica: RedisServer, key: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await replica.ask("EXISTS", key):  # noqa: ASYNC110 - Redis has no event for it
            await asyncio.sleep(0.05)


# ---- the channel


@pytest.mark.timing
@long_and_short(5.0, 20.0)
async def test_f8_deaf_channel(server: RedisServer, prefix: str, seconds: float) -> None:
    """A subscription that is open and carries nothing is found and mended; meanwhile the node is not ready, and events
    come all the same, a look later."""
    async with proxied(server.port) as network, stage(server.url, network.url, prefix=prefix) as nodes:
        publisher = Publisher(nodes.gates[:1], pause=0.05)
        await publisher.more(20)
        connections = network.opened
        network.swallow = True
        deaf = nodes.gates[1].service.gateway
        begun = ran()
        await publisher.more(2)
        last = max(publisher.acked)
        published = ran()
        # A later change of its item may be in its place.
        await until(lambda: max(nodes.readers[1].numbers, default=0) >= last)
        assert ran() - published < 2.5
        await until(lambda: not deaf.ready)
        await asyncio.sleep(max(0.0, seconds - (ran() - begun)))
        assert len(nodes.readers[1].ids) > len(publisher.acked) * 0.5
        assert network.opened > connections, "it never tried another connection"
        network.swallow = False
        await until(lambda: deaf.ready)
        await nodes.judge(publisher)


async def test_f8_no_probe_needed_where_no_server_listens(server: RedisServer, prefix: str) -> None:
    """A node without a single client finds a deaf channel too."""
    async with proxied(server.port) as network, redis_log(network.url, prefix=prefix) as subject:
        await until(lambda: network.opened >= 2)
        network.swallow = True
        await until(lambda: not subject.log.ready)
        network.swallow = False
        await until(lambda: subject.log.ready)


@long_and_short(4.0, 30.0)
async def test_f9_channel_killed_under_load(
    server: RedisServer, prefix: str, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    """The channels' connections are killed every 300 ms: nothing is lost, nothing comes twice, and the log says so
    once."""
    async with stage(server.url, server.url, prefix=prefix) as nodes:
        publisher = Publisher(nodes.gates, pause=0)
        await publisher.more(10)
        caplog.clear()
        end = ran() + seconds
        killed = 0
        while ran() < end:
            killed += int(await server.ask("CLIENT", "KILL", "TYPE", "pubsub"))
            await asyncio.sleep(0.3)
        assert killed > 4
        await publisher.more(10)
        await nodes.judge(publisher)
        assert len([r for r in caplog.records if "cannot be listened to" in r.message]) <= 2


# ---- what is in Redis


@pytest.mark.parametrize("what", ["all", "log", "meta"])
async def test_f10_lost_mid_flow(server: RedisServer, prefix: str, what: str) -> None:
    """Everything, the stream or its metadata is gone, as after FLUSHALL or an eviction: one reset."""
    async with stage(server.url, server.url, prefix=prefix) as nodes:
        publisher = Publisher(nodes.gates)
        await publisher.more(60)
        cursor = publisher.acked[max(publisher.acked)]
        await (server.ask("FLUSHALL") if what == "all" else server.ask("DEL", f"{prefix}:{{{TENANT}}}:{what}"))
        await publisher.more(40)
        await nodes.everywhere(one_reset)
        await nodes.judge(publisher, gaps=True)
        assert not await recovered(nodes.gates[0], cursor)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
async def test_f10_evicted(tmp_path: Path, prefix: str, policy: str) -> None:
    """A Redis that is short of memory, with a cache's eviction policy: other tenants' events evict a tenant's log while
    it is in use. Its clients get a gap, and none misses an event silently."""
    options: Any = {"maxmemory": "4mb", "maxmemory_policy": policy, "maxmemory_samples": "64"}
    async with redis_server(tmp_path / "redis", **options) as server:
        async with stage(server.url, server.url, prefix=prefix) as nodes:
            # By age, it is the turn of a log that was quiet for longer than all the others.
            publisher = Publisher(nodes.gates, pause=2.0 if policy == "allkeys-lru" else 0.005)
            await publisher.more(2)
            cursor = publisher.acked[1]
            published = await _press(nodes, seconds=30.0)
            evicted = (await server.ask("INFO", "stats"))["evicted_keys"]
            await server.ask("CONFIG", "SET", "maxmemory", "0")
            print(f"{policy}: {published} events of others, {evicted} keys evicted")
            await publisher.more(2)
            await nodes.judge(publisher, gaps=True)
            assert {frame["data"]["reason"] for reader in nodes.readers for frame in reader.of("stream.gap")} == {
                "log_reset"
            }
            for gate in nodes.gates:
                assert not await recovered(gate, cursor)


async def _press(nodes: Stage, seconds: float) -> int:
    """Publish for other tenants until the readers have got a reset; returns how many events that took."""
    gateway = nodes.gates[0].service.gateway
    count, ends = 0, ran() + seconds
    while not all(reader.of("stream.gap") for reader in nodes.readers):
        assert ran() < ends, "nothing was evicted, or it was not reported"
        await gateway.publish(f"t{count % 20}", "task.created", {"n": -1, "filler": "x" * 30_000})
        count += 1
    return count


async def test_f10_end_lost_though_trusted(server: RedisServer, prefix: str) -> None:
    """A server that is trusted with its restarts, and came back without its newest entries all the same: a node that
    has seen them finds out, or their offsets would be given out again."""
    async with stage(server.url, prefix=prefix, redis_trust_restarts=True) as nodes:
        gateway, reader = nodes.gates[0].service.gateway, nodes.readers[0]
        for n in range(1, 6):
            await gateway.publish(TENANT, "task.created", {"n": n})
        stream, meta = f"{prefix}:{{{TENANT}}}:log", f"{prefix}:{{{TENANT}}}:meta"
        await server.ask("XDEL", stream, "4-0", "5-0")
        await server.ask("HSET", meta, "offset", "3")
        await nodes.everywhere(one_reset)
        await gateway.publish(TENANT, "task.created", {"n": 6})
        await until(lambda: reader.numbers == [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("how", ["hole", "garbage", "foreign", "string"])
async def test_f10_meddled_with(server: RedisServer, prefix: str, how: str) -> None:
    """Another program has deleted from the stream, or written to it: missing events are reported as a gap, and the
    tenant's log goes on."""
    async with stage(server.url, prefix=prefix) as nodes:
        stream, meta = f"{prefix}:{{{TENANT}}}:log", f"{prefix}:{{{TENANT}}}:meta"
        gateway, reader = nodes.gates[0].service.gateway, nodes.readers[0]
        for n in range(1, 6):
            await gateway.publish(TENANT, "task.created", {"n": n})
        nodes.logs[0].follower.channels.on_message = lambda channel, data: None
        # Written past the gateways, so that this node finds it when it reads.
        if how == "hole":
            await server.ask("HSET", meta, "offset", "8")
            await server.ask("XADD", stream, "8-0", "e", _entry(8))
        elif how == "garbage":
            await server.ask("HSET", meta, "offset", "7")
            await server.ask("XADD", stream, "6-0", "x", "y")
            await server.ask("XADD", stream, "7-0", "e", _entry(7))
        elif how == "foreign":
            await server.ask("XADD", stream, "9999-0", "e", "not ours")
        else:
            await server.ask("SET", stream, "not ours")
        await gateway.publish(TENANT, "task.created", {"n": 20})
        await gateway.publish(TENANT, "task.created", {"n": 21})
        await until(lambda: reader.numbers[-1:] == [21])
        reported = [frame["data"]["reason"] for frame in reader.of("stream.gap")]
        if how in ("hole", "garbage"):
            assert reported == ["history_trimmed"]
            assert reader.numbers == [1, 2, 3, 4, 5, 8 if how == "hole" else 7, 20, 21]
        else:
            assert reported == ["log_reset"]
            assert reader.numbers == [1, 2, 3, 4, 5, 20, 21]


def _entry(n: int) -> bytes:
    body = b'{"type":"task.created","data":{"n":%d}}' % n
    return b"%d.5\n2026-01-15T10:30:00.000Z\ntenant\n\n%s" % (time.time(), body)


async def test_f11_garbage_on_the_channel(
    server: RedisServer, prefix: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invalid messages are dropped, counted, and logged once; a forged entry is looked up and not found. None of it is
    delivered, and no task ends because of it."""
    monkeypatch.setattr(pubsub, "HEARTBEAT_TIMEOUT", PATIENCE)  # each message is heard, also by a node that is late
    async with stage(server.url, server.url, prefix=prefix) as nodes:
        publisher = Publisher(nodes.gates)
        await publisher.more(20)
        window = nodes.logs[0].window(TENANT)
        entry = _entry(666)
        nonsense: list[bytes] = [
            b"",
            b"\n",
            b"\n\n\n\n\n",
            b"nonsense",
            b'{"type":"task.created"}',
            pickle.dumps({"n": 666}),
            b"\xff\xfe\x00" * 100,
            b"x" * 10_000_000,
            b"9" * 5_000 + b"\n1\n" + entry,
            b"00\n1\n" + entry,
            window.epoch.hex().encode() + b"\n" + b"9" * 5_000 + b"\n" + entry,
            window.epoch.hex().encode() + b"\nNaN\n" + entry,
            window.epoch.hex().encode() + b"\n1\n1.0\n\ntenant\n\nno object",
            window.epoch.hex().encode() + b"\n1\nnever\n2026\ntenant\n\n{}",
        ]
        plausible = [
            bytes(7).hex().encode() + b"\n1\n" + entry,
            b"%s\n%d\n%s" % (window.epoch.hex().encode(), window.head + 1_000_000, entry),
            b"%s\n1\n%s" % (window.epoch.hex().encode(), entry),
            b"%s\n-5\n%s" % (window.epoch.hex().encode(), entry),
        ]
        caplog.clear()
        for message in nonsense + plausible:
            receivers = await server.ask("PUBLISH", f"{prefix}:{{{TENANT}}}:live", message)
            assert receivers == 2
        await publisher.more(50)
        await nodes.judge(publisher)
        for log in nodes.logs:
            assert log.dropped == len(nonsense)
        assert 666 not in nodes.readers[0].numbers
        lines = [r for r in caplog.records if r.name == "gateway.log" and "decoded" in r.getMessage()]
        assert [r.levelname for r in lines] == ["WARNING"] * 2, [r.getMessage() for r in lines]
        assert all("666" not in r.getMessage() for r in lines)


# ---- cancelled callers


@pytest.mark.parametrize("count", [1_000, pytest.param(5_000, marks=[pytest.mark.chaos, LONG])])
async def test_f24_cancel_storm(server: RedisServer, prefix: str, count: int) -> None:
    """Publishers and followers are cancelled at random points: each answer reaches its own question, and is true."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with proxied(server.port) as network, redis_log(network.url, prefix=prefix) as subject:
        tenants = ["acme", "bolt", "core"]
        await subject.follow(*tenants)
        network.latency = 0.002

        async def publish(n: int) -> tuple[str, int, str]:
            tenant = tenants[n % 3]
            receipt = await subject.log.append(tenant, draft(n, key=f"n{n}"))
            return tenant, n, receipt.event_id

        async def follow(n: int) -> None:
            tenant = f"other-{n % 7}"
            if (following := subject.log.follow(tenant)) is not None:
                await following
            window = subject.log.window(tenant)
            assert window.head == 0
            if n % 5 == 0:
                subject.log.release(tenant)

        tasks: list[asyncio.Task[tuple[str, int, str]]] = []
        others: list[asyncio.Task[None]] = []
        for n in range(count):
            tasks.append(asyncio.create_task(publish(n)))
            others.append(asyncio.create_task(follow(n)))
            if n % 20 == 0:
                await asyncio.sleep(chance.random() * 0.01)
            for some in (tasks, others):
                victim = chance.choice(some)
                if chance.random() < 0.5:
                    victim.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [e for e in await asyncio.gather(*others, return_exceptions=True) if isinstance(e, Exception)]
        assert all(isinstance(error, LogUnavailable) for error in failed), failed
        delivered = {(tenant, entry.event_id): entry for tenant, entry in subject.delivered}
        good = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert good, "all were cancelled"
        assert not [a for a in answers if isinstance(a, Exception) and not isinstance(a, LogUnavailable)]
        for tenant, n, event_id in good:
            assert f'"n":{n},'.encode() in delivered[tenant, event_id].frame.payload.replace(b" ", b"")
        for tenant in tenants:
            offsets = [entry.offset for entry in subject.delivered_to(tenant)]
            assert offsets == list(range(1, len(offsets) + 1))


async def test_keyed_events_that_a_node_missed_come_whole(server: RedisServer, prefix: str) -> None:
    """A live client of a node that did not hear of most pieces of a text, in a page or several, ends with the whole
    text, and no gap is reported to it."""
    async with (
        stage(server.url, server.url, prefix=prefix) as nodes,
        nodes.gates[0].client(query="&rooms=circle:1") as client,
    ):
        here, there = (gate.service.gateway for gate in nodes.gates[:2])
        shown, seen = "", 0

        async def read_up_to(count: int) -> None:
            nonlocal shown, seen
            while seen < count:
                frame = await client.next()
                assert frame["type"] != "stream.gap"
                if "key" in frame:
                    text, seen = frame["data"]["text"], frame["data"]["n"]
                    shown = shown + text if frame.get("op") == "append" else text

        whole = ""
        for n in range(1, 601):
            if n == 20:
                nodes.logs[0].follower.channels.on_message = lambda channel, data: None
            piece = f"{n}," + "x" * 60
            whole += piece
            data = {"text": piece, "n": n}
            gateway = there if n % 100 else here
            await gateway.publish(TENANT, "run.output", data, circle_id=1, item_key="run:1", op="append")
        await read_up_to(600)
        assert shown == whole


async def test_item_that_ended_while_a_node_was_away_does_not_come_back(server: RedisServer, prefix: str) -> None:
    """Its end is trimmed before the node reads on. A live client of the room gets a gap, and then the events that are
    kept; one of another room goes on, also with an item that grows."""
    async with (
        stage(server.url, server.url, prefix=prefix, log_max_events=10) as nodes,
        nodes.gates[0].client(query="&rooms=circle:1") as client,
        nodes.gates[0].client(query="&rooms=circle:2") as other,
    ):
        there = nodes.gates[1].service.gateway

        async def put(circle: int, op: Op, text: str) -> None:
            await there.publish(TENANT, "run.output", {"text": text}, circle_id=circle, item_key="run:1", op=op)

        async def event_of(one: Client) -> dict[str, Any]:
            while (frame := await one.next())["type"] in ("subscribed", "stream.mark"):
                pass
            return frame

        await put(3, "set", "an older one, which is kept")
        await put(1, "set", "a")
        await put(2, "set", "a")
        for one in (client, other):
            assert (await event_of(one))["data"] == {"text": "a"}
        channels = nodes.logs[0].follower.channels
        hears, channels.on_message = channels.on_message, lambda channel, data: None
        await put(1, "delete", "")
        await put(2, "append", "b")
        ids = [(await there.publish(TENANT, "task.created", {}, circle_id=1)).event_id for _ in range(20)]
        await put(2, "append", "c")
        frame = await event_of(client)
        assert frame["data"].get("reason") == "history_trimmed", frame
        assert [(await event_of(client))["event_id"] for _ in range(9)] == ids[-9:]
        frame = await event_of(other)
        assert (frame["type"], frame.get("op"), frame["data"]) == ("run.output", "set", {"text": "abc"})
        channels.on_message = hears
        answer = await client.ask(type="subscribe", rooms=["circle:1"], state=True)
        assert answer["data"]["items"] == 0
        await put(1, "append", "new")
        assert (await event_of(client))["data"] == {"text": "new"}
