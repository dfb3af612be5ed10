"""A rolling restart of three nodes on one Redis: clients go from one to the next, and miss nothing."""

import asyncio
import json
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.support.pauses import Duration, until
from tests.support.process import GatewayProcess
from tests.support.recording_client import publish, recording_clients
from tests.support.redis import RedisServer
from tests.support.tokens import token


class Cluster:
    """Three nodes, those that take clients being known as a load balancer knows them: by readiness."""

    def __init__(self, folder: Path, url: str, **settings: Any) -> None:
        self.nodes = [GatewayProcess(folder / f"node{number}", log_url=url, **settings) for number in range(3)]
        self.ready: list[GatewayProcess] = []
        self._turn = 0

    async def start(self, stack: AsyncExitStack) -> None:
        for node in self.nodes:
            self.ready.append(await stack.enter_async_context(node))

    async def restart(self, node: GatewayProcess) -> Duration:
        """End a node as a deployment does, then start it again; returns how long the end took."""
        self.ready.remove(node)
        signalled = node.send_signal()
        status, ended = await node.ended()
        assert status == 0
        await node.start()
        self.ready.append(node)
        return ended - signalled

    def next(self) -> GatewayProcess:
        self._turn += 1
        return self.ready[self._turn % len(self.ready)]


class DrainedClient:
    """A client that comes back, at its slot and with its cursor, to whichever node takes it."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.recovered: list[bool | None] = []
        self.unexpected: list[dict[str, Any]] = []
        self._since: str | None = None

    async def run(self, cluster: Cluster) -> None:
        while True:
            node = cluster.next()
            since = f"&since={self._since}" if self._since else ""
            url = f"ws://127.0.0.1:{node.port}/ws/dashboard?token={token()}&rooms=circle:x{since}"
            slot = time.monotonic()
            try:
                websocket = await connect(url, compression=None, max_size=None)
            except (OSError, InvalidHandshake):
                # It ended between the choice and the handshake, as on a slow machine; a load balancer takes the next.
                await asyncio.sleep(0.05)
                continue
            async with websocket:
                with suppress(ConnectionClosed):
                    async for text in websocket:
                        frame = json.loads(text)
                        if frame["type"] == "server.draining":
                            slot = time.monotonic() + frame["data"]["reconnect_after_ms"] / 1000
                        else:
                            self._take(frame)
            assert websocket.close_code == 1012, (websocket.close_code, websocket.close_reason)
            await asyncio.sleep(slot - time.monotonic())

    def _take(self, frame: dict[str, Any]) -> None:
        if "event_id" in frame:
            self.numbers.append(frame["data"]["n"])
            self._since = frame["event_id"]
        elif frame["type"] == "subscribed":
            self.recovered.append(frame["data"]["recovered"])
        elif frame["type"] == "connection.established":
            self._since = self._since or frame["data"]["cursor"]
        else:
            self.unexpected.append(frame)


@pytest.mark.timing
async def test_a_rolling_restart_loses_nothing(server: RedisServer, tmp_path: Path) -> None:
    """Three nodes, one after another, while events are published: every client gets all of them, in order, once, and
    each of its returns is `recovered: true`."""
    cluster = Cluster(tmp_path, server.url, drain_seconds=1)
    clients = [DrainedClient() for _ in range(12)]
    published: list[int] = []
    tasks: list[asyncio.Task[None]] = []
    enough = asyncio.Event()

    async def publishing() -> None:
        number = 0
        while not enough.is_set():
            # Also at the node that is draining, which takes events to its end.
            node = cluster.nodes[number % 3]
            with suppress(httpx.TransportError):
                answer = await publish(node, number)
                assert answer.status_code in (202, 503)
                if answer.status_code == 202:
                    published.append(number)
            number += 1

    async with AsyncExitStack() as stack:
        await cluster.start(stack)
        try:
            tasks = [asyncio.create_task(client.run(cluster)) for client in clients]
            await until(lambda: all(client.recovered for client in clients))
            tasks.append(asyncio.create_task(publishing()))
            for node in cluster.nodes:
                before = len(published)
                took = await cluster.restart(node)
                assert took < 1 + 5
                assert len(published) > before
            # # Not cancelled: only the answer to the last event says whether it is in the log.
            enough.set()
            await tasks[-1]
            await until(lambda: all(published[-1] in client.numbers for client in clients))
            assert not any(task.done() for task in tasks[:-1])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    for client in clients:
        # What was answered by an error, or not at all, may yet be in the log; nothing else may differ.
        assert [number for number in client.numbers if number in set(published)] == published
        assert client.numbers == clients[0].numbers
        assert client.unexpected == []
        first, *returns = client.recovered
        assert first is None
        assert all(recovered is True for recovered in returns), client.recovered
    assert sum(len(client.recovered) - 1 for client in clients) >= 12


async def test_a_redis_that_does_not_answer_holds_no_end_up(server: RedisServer, tmp_path: Path) -> None:
    """Stalled, it answers nothing, and the process ends in time all the same."""
    async with GatewayProcess(tmp_path / "node", log_url=server.url, drain_seconds=1) as node:
        async with recording_clients(node, 2) as clients:
            server.stall()
            try:
                signalled = node.send_signal()
                status, ended = await node.ended()
            finally:
                server.go_on()
            assert status == 0
            assert ended - signalled < 1 + 5
            await until(lambda: all(client.closed_at for client in clients))
            assert {client.code for client in clients} == {1012}
