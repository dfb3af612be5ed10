"""Several gateways on one Redis are one."""

import asyncio
from contextlib import AsyncExitStack

from gateway.core.errors import IdempotencyConflict, LogUnavailable
from gateway.core.log import Receipt
from tests.support.inprocess import running
from tests.support.oracle import CANARY, TENANT, Publisher, stage
from tests.support.redis import RedisServer
from tests.support.settings import settings_for


async def test_published_at_one_received_at_all(server: RedisServer, prefix: str) -> None:
    """Every client at every node gets every event once, in one order, under one id."""
    async with stage(*[server.url] * 3, prefix=prefix) as nodes:
        publisher = Publisher(nodes.gates, pause=0, plain=True)
        await publisher.more(300)
        await nodes.judge(publisher)
        assert len({tuple(reader.ids) for reader in nodes.readers}) == 1


async def test_all_nodes_publish_at_once(server: RedisServer, prefix: str) -> None:
    """Publishers at three nodes at once: still one order, and the channel alone brings it, without reading."""
    async with stage(*[server.url] * 3, prefix=prefix) as nodes:

        async def published(n: int) -> Receipt:
            gateway = nodes.gates[n % 3].service.gateway
            while True:
                try:
                    return await gateway.publish(TENANT, "task.created", {"n": n}, key=str(n))
                except LogUnavailable:  # so many at once may take a slow machine too long
                    await asyncio.sleep(0.1)

        receipts = await asyncio.gather(*(published(n) for n in range(600)))
        await nodes.everywhere(lambda reader: len(reader.ids) == 600)
        assert len({tuple(reader.ids) for reader in nodes.readers}) == 1
        assert set(nodes.readers[0].ids) == {receipt.event_id for receipt in receipts}


async def test_client_goes_on_at_another_node_from_its_cursor(server: RedisServer, prefix: str) -> None:
    """Having lost its node, a client gets at the next one exactly what it missed, then live events."""
    async with stage(*[server.url] * 2, prefix=prefix) as nodes:
        one, other = nodes.gates
        publisher = Publisher(nodes.gates, plain=True)
        seen: list[str] = []
        async with one.client(query="&rooms=tenant") as client:
            await client.next("subscribed")
            while len(seen) < 20:
                seen.append((await client.next())["event_id"])
        await publisher.more(30)
        for gate in (other, one, other):
            async with gate.client(query=f"&rooms=tenant&since={seen[-1]}") as client:
                assert (await client.next("subscribed"))["data"]["recovered"] is True
                seen += [(await client.next())["event_id"] for _ in range(40)]
                client.websocket.transport.abort()
        await nodes.judge(publisher)
        ids = nodes.readers[0].ids
        start = ids.index(seen[0])
        assert seen == ids[start : start + len(seen)]


async def test_cursor_ahead_of_this_node_is_good(server: RedisServer, prefix: str) -> None:
    """A client may be faster than the channel: its cursor, from another node, is of a place that this one has to read
    up to first. At connecting and in a command."""
    async with stage(server.url, server.url, prefix=prefix) as nodes:
        one, other = nodes.gates
        await one.service.gateway.publish(TENANT, "task.created", {"n": 1})
        await nodes.everywhere(lambda reader: reader.numbers == [1])
        log = nodes.logs[1]
        log.follower.channels.on_message = lambda channel, data: None  # from here on it is hard of hearing
        async with other.client() as waiting:
            for n, ask in enumerate((True, False), 2):
                first = await one.service.gateway.publish(TENANT, "task.created", {"n": 10 * n})
                assert log.window(TENANT).head < log.window(TENANT).cursors.decode(first.event_id).offset
                if ask:
                    answer = await waiting.ask(type="subscribe", rooms=["tenant"], since=first.event_id)
                    assert (answer["data"]["recovered"], answer["data"]["replayed"]) == (True, 0)
                else:
                    async with other.client(query=f"&rooms=tenant&since={first.event_id}") as client:
                        answer = await client.next("subscribed")
                        assert (answer["data"]["recovered"], answer["data"]["replayed"]) == (True, 0)


async def test_key_is_good_at_every_node(server: RedisServer, prefix: str) -> None:
    """The same key at two nodes at once is one event; with another body it is refused at either."""
    async with stage(server.url, server.url, prefix=prefix) as nodes:
        one, other = (gate.service.gateway for gate in nodes.gates)
        tries = [gateway.publish(TENANT, "task.created", {"n": 1}, key="k") for gateway in (one, other) * 10]
        receipts = await asyncio.gather(*tries)
        assert len({receipt.event_id for receipt in receipts}) == 1
        assert sum(not receipt.duplicate for receipt in receipts) == 1
        for gateway in (one, other):
            try:
                await gateway.publish(TENANT, "task.created", {"n": 2}, key="k")
            except IdempotencyConflict:
                continue
            raise AssertionError("no conflict")
        await one.publish(TENANT, "task.created", {"n": 3})
        await nodes.everywhere(lambda reader: reader.numbers == [1, 3])


async def test_many_tenants_stay_apart(server: RedisServer, prefix: str) -> None:
    """Forty tenants at two nodes: each client gets its own tenant's events and nothing else."""
    tenants = [f"tenant-{i}" for i in range(40)]
    async with AsyncExitStack() as stack:
        settings = settings_for(log_url=server.url, redis_prefix=prefix)
        gates = [await stack.enter_async_context(running(settings)) for _ in range(2)]
        clients = {}
        for i, tenant in enumerate(tenants):
            gate = gates[i % 2]
            clients[tenant] = await stack.enter_async_context(gate.client(gate.token(tenant=tenant), "&rooms=tenant"))
            await clients[tenant].next("subscribed")
        for n in range(10):
            for i, tenant in enumerate(tenants):
                await gates[(i + 1) % 2].service.gateway.publish(tenant, "task.created", {"n": n, "of": tenant})
        for tenant, client in clients.items():
            got = [(await client.next("task.created"))["data"] for _ in range(10)]
            assert got == [{"n": n, "of": tenant} for n in range(10)]


async def test_nothing_stays_of_a_tenant_without_followers(server: RedisServer, prefix: str) -> None:
    """Released, a tenant's window and subscription are gone; followed again, it is all there."""
    async with stage(server.url, prefix=prefix) as nodes:
        gateway, log = nodes.gates[0].service.gateway, nodes.logs[0]
        for n in range(5):
            await gateway.publish("brief", "task.created", {"n": n})
        channel = log.context.keys.channel("brief")
        for _ in range(3):
            following = log.follow("brief")
            assert following is not None
            await following
            assert log.window("brief").head == 5
            assert await _counted(server, channel, 1) == 1
            log.release("brief")
            assert log.window("brief").head == 0
        assert await _counted(server, channel, 0) == 0
        assert set(log.follower.followed) == {TENANT, CANARY}


async def _counted(server: RedisServer, channel: str, wanted: int) -> int:
    """How many connections are subscribed to `channel`, as soon as it is so many, or after a second."""
    for _ in range(50):
        _, count = await server.ask("PUBSUB", "NUMSUB", channel)
        if count == wanted:
            break
        await asyncio.sleep(0.02)
    return int(count)
