"""Nodes that are killed (F1) and stopped (F22): their clients go on, and lose nothing."""

import asyncio
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.faults.promise import ResumingClient, following, judge, publishing, seeded
from tests.support.oracle import share
from tests.support.pauses import ran, run_for, until
from tests.support.process import gateway_processes
from tests.support.redis import RedisServer


async def crash(
    folder: Path, server: RedisServer, prefix: str, *, clients: int, rate: float, pauses: list[float], slow: float
) -> None:
    """Kill a node, any, after each pause, and start it again."""
    chance = seeded()
    async with gateway_processes(folder, 3, log_url=server.url, redis_prefix=prefix) as there:
        ws_urls, urls = [node.ws_url for node in there], [node.url for node in there]
        async with following(ws_urls, clients, 60.0) as followers, publishing(urls, rate) as publisher:
            begun = ran()
            kills, starts = [], []
            for pause in pauses:
                await run_for(pause / 2)
                kills.append(ran())
                victim = chance.choice(there)
                victim.kill()
                await run_for(pause / 2)
                starts.append(ran())
                await victim.start()
            await run_for(1.0)
            ended = ran()
            await judge(publisher, followers)
        victims = [follower for follower in followers if follower.returns]
        returns = [each for follower in victims for each in follower.returns]
        assert victims
        recovered = sum(each[0] is True for each in returns)
        assert recovered >= 0.99 * len(returns)
        before = share(_delays(followers, publisher.again, [(begun, kills[0])]), 0.99)
        spared = share(_delays(followers, publisher.again, zip(kills, starts, strict=True)), 0.99)
        starting = share(_delays(followers, publisher.again, zip(starts, [*kills[1:], ended], strict=True)), 0.99)
        away = share((each[2] for each in returns), 0.99)
        print(
            f"{len(pauses)} kills, {clients} clients, {len(publisher.acked)} events ({len(publisher.again)} published "
            f"again) in {ended - begun:.0f} s: {recovered} of {len(returns)} returns recovered, p99 away {away:.2f} s; "
            f"p99 before {before * 1000:.0f} ms, of those spared by a kill {spared * 1000:.0f} ms, "
            f"and while the node starts again {starting * 1000:.0f} ms"
        )
        assert away < 5.0
        assert 0 < spared < max(2 * before, slow)


def _delays(followers: list[ResumingClient], again: set[int], spells: Iterable[tuple[float, float]]) -> list[float]:
    """For each period, the delays of the followers that lost no connection in it."""
    return [
        delay
        for start, end in spells
        for follower in followers
        if not any(start <= at < end for at in follower.losses)
        for delay in follower.delays(start, end, again)
    ]


@pytest.mark.timing
async def test_node_killed_while_it_delivers(tmp_path: Path, server: RedisServer, prefix: str) -> None:
    """F1: nothing silent, nothing twice; its clients are recovered at another node."""
    await crash(tmp_path, server, prefix, clients=24, rate=100, pauses=[1.5], slow=2.0)


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_nodes_killed_for_a_minute(tmp_path: Path, server: RedisServer, prefix: str) -> None:
    """F1: 600 clients, 200 events a second, a kill every 5 s, and as long as a node takes to start again."""
    await crash(tmp_path, server, prefix, clients=600, rate=200, pauses=[5.0] * 12, slow=1.0)


async def stop_for_a_while(folder: Path, *, clients: int, rate: float, interval: float) -> None:
    """Stop the process twice, for two intervals and more: a client charged with that time would be aborted."""
    async with gateway_processes(folder, 1, ping_interval=interval, stall_seconds=interval) as (node,):
        async with following([node.ws_url], clients, 30.0) as followers, publishing([node.url], rate) as publisher:
            for _ in range(2):
                await asyncio.sleep(interval * 1.5)
                node.send_signal(signal.SIGSTOP)
                await asyncio.sleep(max(2.0, 2.5 * interval))
                node.send_signal(signal.SIGCONT)
            await asyncio.sleep(2.5 * interval)
            await judge(publisher, followers)
        print(f"{clients} clients, {len(publisher.acked)} events, stopped twice; interval {interval} s")
        assert [follower.closes for follower in followers] == [[]] * clients
        assert [follower.losses for follower in followers] == [[]] * clients


async def test_node_stopped_for_two_seconds(tmp_path: Path) -> None:
    """F22: the time that the node itself did not run is not the clients' silence: none is aborted, and none has a
    gap."""
    await stop_for_a_while(tmp_path, clients=20, rate=100, interval=1.0)


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_node_with_many_clients_stopped(tmp_path: Path) -> None:
    """F22, with 500 clients. They are all in this process: an interval is longer than it takes it to read on."""
    await stop_for_a_while(tmp_path, clients=500, rate=50, interval=2.0)


async def test_node_stopped_among_three_others_go_on(tmp_path: Path, server: RedisServer, prefix: str) -> None:
    """F22: the clients of the others notice nothing, and its own get everything afterwards, in order."""
    async with gateway_processes(tmp_path, 2, log_url=server.url, redis_prefix=prefix, ping_interval=1.0) as (
        one,
        other,
    ):
        async with following([one.ws_url], 5) as stopped, following([other.ws_url], 5) as going:
            async with publishing([other.url], 100) as publisher:
                await asyncio.sleep(0.5)
                one.send_signal(signal.SIGSTOP)
                before = len(publisher.acked)
                await asyncio.sleep(2.0)
                await until(lambda: len(publisher.acked) > before + 100)
                await until(lambda: all(len(f.numbers) > before + 100 for f in going))
                one.send_signal(signal.SIGCONT)
                await judge(publisher, [*stopped, *going])
        assert all(not f.losses for f in (*stopped, *going))
