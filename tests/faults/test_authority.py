"""Authority that ends (F25) while its holders reconnect, replay and listen: after 2 s nothing comes, on any node."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage

from tests.faults.promise import TENANT, seeded
from tests.support.clients import http
from tests.support.oracle import Publisher, Reader, Stage, stage
from tests.support.pauses import ran, run_for, until
from tests.support.redis import RedisServer

AT_ONCE = 2.0


@asynccontextmanager
async def three(server: RedisServer, prefix: str) -> AsyncIterator[tuple[Stage, Publisher]]:
    """Three gateways, a healthy client at each, and a publisher at all."""
    async with stage(*[server.url] * 3, prefix=prefix, events_per_second=200) as there:
        publisher = Publisher(there.gates)
        try:
            yield there, publisher
            await there.judge(publisher)
        finally:
            await publisher.cancel()
        for gate in there.gates:
            assert set(gate.service.gateway.manager.of(TENANT).users) == {"ada"}


class ReconnectingClient:
    """Comes back again and again with one token, at any node, always from its first cursor; notes what it got when."""

    def __init__(self, urls: list[str], seed: int, token: str, cursor: str) -> None:
        self.got: list[float] = []
        self.closes: list[tuple[int | None, str | None]] = []
        self._task = asyncio.create_task(self._insist(urls, seed, token, cursor))

    async def _insist(self, urls: list[str], at: int, token: str, cursor: str) -> None:
        while True:
            at += 1
            url = f"{urls[at % len(urls)]}?token={token}&rooms=tenant&since={cursor}"
            with suppress(OSError, ConnectionClosed, InvalidMessage):
                async with connect(url, compression=None, max_queue=None, close_timeout=1) as websocket:
                    for _ in range(20 + at % 100):
                        try:
                            frame = json.loads(await websocket.recv())
                        except ConnectionClosed:
                            self.closes.append((websocket.close_code, websocket.close_reason))
                            raise
                        if "event_id" in frame:
                            self.got.append(ran())
            await asyncio.sleep(0.02)

    @property
    def done(self) -> bool:
        return self._task.done()

    def check(self) -> None:
        """Raise what ended it."""
        if self.done:
            self._task.result()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_revoked_while_reconnecting_and_replaying(server: RedisServer, prefix: str) -> None:
    """However often they come back and wherever: nothing after 2 s, and no replay."""
    chance = seeded()
    async with three(server, prefix) as (there, publisher), AsyncExitStack() as stack:
        steady = await followers_of(stack, there, "tenant")
        await publisher.more(150)
        gate = chance.choice(there.gates)
        cursor = publisher.acked[1]
        urls = [each.ws_url for each in there.gates]
        clients = [ReconnectingClient(urls, i, gate.token("eve"), cursor) for i in range(9)]
        try:
            await until(lambda: all(each.got for each in clients))
            await asyncio.sleep(0.5 + chance.random())
            async with http(gate, gate.token("root", scope="admin")) as api:
                answer = await api.post("/admin/tokens/revoke", json={"user_id": "eve"})
            assert answer.status_code == 200, answer.text
            revoked = ran()
            await asyncio.sleep(AT_ONCE + 1.0)
            late = [at - revoked for each in clients for at in each.got if at > revoked]
            print(f"{len(late)} events after the revocation, the last after {max(late, default=0.0):.3f} s")
            assert max(late, default=0.0) < AT_ONCE
            for reader, client in steady:
                assert (client.websocket.close_code, client.websocket.close_reason) == (4401, "token_revoked")
                assert max(frame["_at"] for frame in reader.frames) - revoked < AT_ONCE
            await until(lambda: all(each.done or each.closes[-1:] == [(4401, "token_revoked")] for each in clients))
            for each in clients:
                each.check()
        finally:
            await asyncio.gather(*(each.stop() for each in clients))
        await asyncio.sleep(0.3)


async def followers_of(stack: AsyncExitStack, there: Stage, rooms: str, **claims: Any) -> list[tuple[Reader, Any]]:
    found = []
    for gate in there.gates:
        client = await stack.enter_async_context(gate.client(gate.token("eve", **claims), f"&rooms={rooms}"))
        await client.next("subscribed")
        reader = Reader(client)
        stack.push_async_callback(reader.stop)
        found.append((reader, client))
    return found


async def test_token_that_expires_while_live(server: RedisServer, prefix: str) -> None:
    """The client gets the warning and 4401, and nothing after it, on each of the nodes."""
    async with three(server, prefix) as (there, publisher), AsyncExitStack() as stack:
        eves = await followers_of(stack, there, "tenant", expires_in=300)
        await publisher.more(50)
        for gate in there.gates:
            gate.later(270)
        await until(lambda: all(reader.of("token.expiring") for reader, _ in eves))
        for gate in there.gates:
            gate.later(30)
        ends = ran()
        await run_for(AT_ONCE + 0.5)
        await publisher.more(50)
        for reader, client in eves:
            assert len(reader.of("token.expiring")) == 1
            assert (client.websocket.close_code, client.websocket.close_reason) == (4401, "token_expired")
            late = max(frame["_at"] for frame in reader.frames) - ends
            assert late < AT_ONCE
        await stack.aclose()


async def test_grants_cut_while_subscribed(server: RedisServer, prefix: str) -> None:
    """A member who is removed gets what came before it in the log and nothing after it; so does one whose fresh token
    grants less."""
    async with three(server, prefix) as (there, publisher), AsyncExitStack() as stack:
        eves = await followers_of(stack, there, "circle:1,circle:2")
        gateways = [gate.service.gateway for gate in there.gates]

        async def tell(start: int) -> None:
            for n in range(start, start + 30):
                for circle in (1, 2):
                    await gateways[n % 3].publish(TENANT, "memory.created", {"n": -1, "m": n}, circle_id=circle)

        await tell(0)
        data = {"user_id": "eve", "n": -1}
        removal = await gateways[1].publish(TENANT, "circle.member.removed", data, circle_id=1)
        await tell(30)
        last = [60] * len(eves)
        await until(lambda: [len([f for f in reader.frames if f.get("circle_id") == 2]) for reader, _ in eves] == last)
        await asyncio.sleep(0.5)
        for reader, _ in eves:
            mine = [f for f in reader.frames if f.get("circle_id") == 1]
            assert mine[-1]["event_id"] == removal.event_id
            assert [f["data"]["m"] for f in mine[:-1]] == [*range(30)]
            assert [f["data"]["m"] for f in reader.frames if f.get("circle_id") == 2] == [*range(60)]
            assert [f["data"]["rooms"] for f in reader.of("subscription.revoked")] == [["circle:1"]]
        for gate, (_, client) in zip(there.gates, eves, strict=True):
            await client.send(type="auth", token=gate.token("eve", rooms=("circle:3",)))
        await until(lambda: all(reader.of("authenticated") for reader, _ in eves))
        cut = [len(reader.frames) for reader, _ in eves]
        await tell(60)
        await asyncio.sleep(0.5)
        for (reader, _), count in zip(eves, cut, strict=True):
            assert [f["data"]["dropped"] for f in reader.of("authenticated")] == [["circle:2"]]
            assert [f for f in reader.frames[count:] if "event_id" in f] == []
        await stack.aclose()
        await asyncio.sleep(0.3)
        for reader in there.readers:  # the oracle judges what the publisher sent
            reader.frames[:] = [f for f in reader.frames if f.get("data", {}).get("n") != -1]
        await publisher.more(5)
