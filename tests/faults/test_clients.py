"""Clients that vanish, by reset (F12) or without a word (F13), and that all come back at once (F15)."""

import asyncio
import socket
import struct
import time
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest

from tests.faults.links import VethLink, veth_link
from tests.faults.promise import TENANT, following, judge, publishing
from tests.faults.storm import storm
from tests.support.inprocess import RunningGateway, running
from tests.support.oracle import share
from tests.support.pauses import PATIENCE, ran, until
from tests.support.process import GatewayProcess, gateway_processes
from tests.support.proxy import Proxy
from tests.support.raw_client import RawClient, handshake
from tests.support.settings import settings_for
from tests.support.tokens import token

RESET = struct.pack("ii", 1, 0)


class Baseline:
    """The resources of a gateway in this process before the test, to be compared afterwards."""

    def __init__(self, gate: RunningGateway) -> None:
        self._gate = gate
        self._tasks = len(asyncio.all_tasks())
        self._fds = psutil.Process().num_fds()

    async def again(self, seconds: float) -> None:
        """Indexes empty, tasks and descriptors as before, give or take five."""
        manager = self._gate.service.gateway.manager

        def empty() -> bool:
            return not any(index.connections or index.rooms or index.users for index in manager.indexes())

        def as_before() -> bool:
            return len(asyncio.all_tasks()) <= self._tasks + 5 and psutil.Process().num_fds() <= self._fds + 5

        await until(empty, seconds)
        await until(as_before)


async def over(sock: socket.socket, user_id: str, query: str = "&rooms=tenant") -> RawClient:
    """A client over this socket whose first frame has come."""
    sock.setblocking(False)
    client = RawClient(sock)
    await client.send(handshake(f"/ws/dashboard?token={token(user_id)}{query}"))
    assert " 101 " in await client.head()
    assert (await client.message())["type"] == "connection.established"
    return client


def reset(socks: list[socket.socket]) -> None:
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()


@pytest.mark.timing
async def test_half_of_the_clients_reset() -> None:
    """F12: their places are free at once, and the others notice nothing."""
    async with running(settings_for(max_connections_per_tenant=0)) as gate:
        baseline = Baseline(gate)
        connections = gate.service.gateway.manager.of(TENANT).connections
        async with following([gate.ws_url], 100, 30.0) as followers, publishing([gate.url], 20) as publisher:
            victims = [await over(socket.create_connection(("127.0.0.1", gate.port)), f"u{i}") for i in range(100)]
            await asyncio.sleep(0.3)
            begun = ran()
            reset([victim.sock for victim in victims])
            await until(lambda: len(connections) == 100)
            took = ran() - begun
            await asyncio.sleep(0.5)
            await judge(publisher, followers)
        assert not any(follower.returns for follower in followers)
        p99 = share((delay for follower in followers for delay in follower.delays(begun)), 0.99)
        print(f"100 of 200 reset: gone in {took:.2f} s, others' p99 {p99 * 1000:.0f} ms")
        assert p99 < 2.0
        await baseline.again(5.0)


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_five_thousand_of_ten_thousand_clients_reset(tmp_path: Path) -> None:
    """F12: the row's figures, clients and gateway each in a process of its own."""
    async with gateway_processes(tmp_path, 1, max_connections_per_tenant=0, ping_interval=120) as (node,):
        fds = node.usage.num_fds()
        async with following([node.ws_url], 5_000, 60.0) as followers, publishing([node.url], 4) as publisher:
            half = node.usage.num_fds()
            victims = [await over(socket.create_connection(("127.0.0.1", node.port)), f"u{i}") for i in range(5_000)]
            assert node.usage.num_fds() >= half + 5_000
            calm = ran()
            await asyncio.sleep(5.0)
            begun = ran()
            reset([victim.sock for victim in victims])
            while node.usage.num_fds() > half + 5:
                assert ran() - begun < 3.0
                await asyncio.sleep(0.05)
            took = ran() - begun
            assert await indexed(node) == (5_000, 1, 2)
            await asyncio.sleep(5.0)
            ended = ran()
            await judge(publisher, followers)
        assert not any(follower.losses for follower in followers)
        before, after = (
            share((delay for follower in followers for delay in follower.delays(*spell)), 0.99)
            for spell in ((calm, begun), (begun, ended))
        )
        print(
            f"5000 of 10000 reset: gone in {took:.2f} s, {len(publisher.acked)} events; others' p99 "
            f"{before * 1000:.0f} ms before, {after * 1000:.0f} ms from then on"
        )
        assert after < 0.25
        async with asyncio.timeout(PATIENCE):
            while node.usage.num_fds() > fds + 5:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        assert await indexed(node) == (0, 0, 0)


async def indexed(node: GatewayProcess) -> tuple[int, int, int]:
    """Connections, users and rooms of the tenant, as the node has them."""
    async with node.api(token("root", scope="admin")) as api:
        found = (await api.get("/admin/stats")).json()
    return found["active_connections"], found["active_users"], found["active_rooms"]


async def evicted(gate: RunningGateway, interval: float, silent: list[RawClient], healthy: RawClient) -> None:
    """The silent are given up within two intervals (and the looks between); the healthy one gets every event."""
    connections = gate.service.gateway.manager.of(TENANT).connections
    begun = ran()
    published: list[int] = []
    got: list[int] = []

    async def read() -> None:
        while True:
            frame = await healthy.message(30.0)
            if "event_id" in frame:
                got.append(frame["data"]["n"])

    reading = asyncio.create_task(read())
    try:
        while len(connections) > 1:
            assert ran() - begun < 2 * interval + 2.5
            published.append(len(published))
            await gate.service.gateway.publish(TENANT, "task.created", {"n": published[-1]})
            await asyncio.sleep(0.05)
        print(f"{len(silent)} half-open clients given up in {ran() - begun:.1f} s; interval {interval} s")
        await asyncio.sleep(2 * interval)
        await until(lambda: got == published)
        assert len(connections) == 1, "a client that answers its pings is not given up"
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def cut_link(interval: float, clients: int, wire: VethLink) -> None:
    async with running(settings_for(ping_interval=interval), listener=wire.listener()) as gate:
        baseline = Baseline(gate)
        silent = [await over(wire.connect(gate.port), f"s{i}", "") for i in range(clients)]
        # Some are subscribed, so that data waits for them; the others would only miss their pings.
        silent += [await over(wire.connect(gate.port), f"t{i}") for i in range(clients)]
        healthy = await over(wire.connect_beside(gate.port), "healthy")
        wire.cut()
        await evicted(gate, interval, silent, healthy)
        for client in (*silent, healthy):
            client.sock.close()
        await baseline.again(5.0)


@pytest.mark.timing
async def test_clients_behind_a_cut_link() -> None:
    """F13: no FIN, no RST, no ACK: they are given up after a ping and its time to be answered."""
    with veth_link() as wire:
        if wire is None:
            pytest.skip("needs to make network namespaces")
        await cut_link(0.7, 10, wire)


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_clients_behind_a_cut_link_at_a_usual_interval() -> None:
    """F13: the row's 10 s."""
    with veth_link() as wire:
        if wire is None:
            pytest.skip("needs to make network namespaces")
        await cut_link(5.0, 50, wire)


@pytest.mark.timing
async def test_clients_behind_a_proxy_that_takes_and_drops() -> None:
    """F13: the kernel acknowledges all data, and no process reads it: only the missing pong shows it."""
    interval = 0.7
    async with running(settings_for(ping_interval=interval)) as gate, AsyncExitStack() as stack:
        baseline = Baseline(gate)
        proxy = Proxy(gate.port)
        await proxy.start()
        stack.push_async_callback(proxy.stop)
        silent = [await over(socket.create_connection(("127.0.0.1", proxy.port)), f"s{i}", "") for i in range(10)]
        healthy = await over(socket.create_connection(("127.0.0.1", gate.port)), "healthy")
        proxy.partition()
        await evicted(gate, interval, silent, healthy)
        for client in (*silent, healthy):
            client.sock.close()
        await stack.aclose()
        await baseline.again(5.0)


async def test_all_come_back_at_once(tmp_path: Path) -> None:
    """F15: each is owed 100 events, and gets exactly these."""
    await come_back(tmp_path, clients=200, within=20.0)


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_ten_thousand_come_back_at_once(tmp_path: Path) -> None:
    """F15: the row's 10,000, of 10 tenants; server and clients share two cores."""
    await come_back(tmp_path, clients=9_500, within=60.0)


async def come_back(folder: Path, *, clients: int, within: float) -> None:
    async with gateway_processes(folder, 1, max_connections_per_tenant=0) as (node,):
        async with following([node.ws_url], 1) as (first,), publishing([node.url], 200, plain=True) as publisher:
            await until(lambda: len(first.events) > 100)
            await publisher.stop()
            await until(lambda: len(first.events) == len(publisher.acked))
            ids, numbers = first.ids, first.numbers
        cursor, owed = ids[-101], numbers[-100:]
        fds = node.usage.num_fds()
        outcome = await storm(node.port, [token(f"u{i}") for i in range(clients)], cursor, len(owed), within)
        peak = node.usage.memory_info().rss
        print(
            f"{clients} came back in {outcome.seconds:.1f} s, each with {len(owed)} events; "
            f"errors {outcome.errors}; RSS {peak / 2**20:.0f} MiB"
        )
        assert outcome.errors == 0
        assert all(got == owed for got in outcome.numbers)
        assert peak < 2**30
        async with asyncio.timeout(PATIENCE):
            while node.usage.num_fds() > fds + 5:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)


async def test_time_in_which_the_gateway_did_not_run_counts_against_no_client() -> None:
    """F22: a slow reader is owed all of its `stall_seconds`, whatever of them the process was stopped for."""
    async with running(settings_for(stall_seconds=3.0)) as gate:
        connections = gate.service.gateway.manager.of(TENANT).connections
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.connect(("127.0.0.1", gate.port))
        client = await over(sock, "slow")
        for n in range(100):
            await gate.service.gateway.publish(TENANT, "task.created", {"n": n, "filler": "x" * 30_000})
        await asyncio.sleep(1.1)  # each client is looked at once a second
        time.sleep(3.0)  # noqa: ASYNC251 - this is the fault
        await asyncio.sleep(1.1)
        assert len(connections) == 1
        numbers: list[int] = []
        while len(numbers) < 100:
            frame = await client.message()
            if "event_id" in frame:
                numbers.append(frame["data"]["n"])
        assert numbers == [*range(100)]
        client.sock.close()
