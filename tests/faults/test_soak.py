"""Slow faults: memory under pressure (F20), and growth over time (F27)."""

import asyncio
import random
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.faults.promise import following, judge, publishing, seeded
from tests.support.process import GatewayProcess, gateway_processes
from tests.support.tokens import token

MIB = 2**20


async def fill(node: GatewayProcess, tenants: int, count: int, size: int) -> None:
    """So many events of so many bytes for each tenant, some tenants at a time."""
    events = [{"type": "task.created", "data": {"n": n, "filler": "x" * size}} for n in range(count)]

    async def one(client: httpx.AsyncClient, tenant: str) -> None:
        headers = {"Authorization": f"Bearer {token('publisher', tenant=tenant)}"}
        for start in range(0, count, 10):
            answer = await client.post("/events/batch", json={"events": events[start : start + 10]}, headers=headers)
            assert all("event_id" in result for result in answer.json()["results"]), answer.text

    async with httpx.AsyncClient(trust_env=False, base_url=node.url, timeout=30) as client:
        for start in range(0, tenants, 8):
            await asyncio.gather(*(one(client, f"t{i}") for i in range(start, min(start + 8, tenants))))


async def pressure(folder: Path, *, tenants: int, window: int, count: int, size: int) -> None:
    """Each tenant publishes four times what its window holds: what is kept is bounded by tenants times window."""
    async with gateway_processes(folder, 1, log_max_bytes=window) as (node,):
        await fill(node, 1, 10, size)  # the interpreter's own growth
        before = node.usage.memory_info().rss
        async with following([node.ws_url], 2) as followers, publishing([node.url], 20) as publisher:
            await fill(node, tenants, count, size)
            grown = node.usage.memory_info().rss - before
            await fill(node, tenants, count, size)
            again = node.usage.memory_info().rss - before
            await judge(publisher, followers)
        total = tenants * window
        print(
            f"{tenants} tenants, {tenants * count * size / MIB:.0f} MiB published twice, "
            f"{total / MIB:.1f} MiB of windows: RSS +{grown / MIB:.1f} MiB, then +{again / MIB:.1f} MiB"
        )
        assert tenants * count * size >= 4 * total
        assert again < 1.5 * total + 24 * MIB
        assert again - grown < 0.25 * total + 8 * MIB


async def test_windows_bound_the_memory_of_many_tenants(tmp_path: Path) -> None:
    """F20: there is no total of its own; it is the window of a tenant times the tenants."""
    await pressure(tmp_path, tenants=24, window=512 * 1024, count=70, size=30_000)


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_windows_bound_the_memory_of_hundreds_of_tenants(tmp_path: Path) -> None:
    """F20: 256 MiB in all, the row's cap."""
    await pressure(tmp_path, tenants=256, window=MIB, count=80, size=60_000)


async def churn(node: GatewayProcess, rate: float, ends: float, chance: random.Random) -> int:
    """Clients that come, follow for a moment and go, some without a word."""
    count = 0

    async def one() -> None:
        query = f"?token={token(f'u{chance.randrange(1_000)}')}&rooms=circle:{chance.randrange(10)},tenant"
        with suppress(OSError):
            async with connect(node.ws_url + query, compression=None) as websocket:
                async with asyncio.timeout(20):
                    await websocket.recv()
                    await asyncio.sleep(chance.random())
                if chance.random() < 0.3:
                    websocket.transport.abort()

    async with asyncio.TaskGroup() as group:
        due = time.monotonic()
        while time.monotonic() < ends:
            group.create_task(one())
            count += 1
            due = max(due + 1 / rate, time.monotonic() - 0.5)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
    return count


def slope(samples: list[tuple[float, int]]) -> float:
    """Bytes a second, by least squares."""
    mean_t = sum(t for t, _ in samples) / len(samples)
    mean_v = sum(v for _, v in samples) / len(samples)
    return sum((t - mean_t) * (v - mean_v) for t, v in samples) / sum((t - mean_t) ** 2 for t, _ in samples)


async def soak(folder: Path, *, seconds: float, warm: float, churned: float, rate: float, growth: float) -> None:
    chance = seeded()
    async with gateway_processes(folder, 1, log_max_events=500) as (node,):
        fds = node.usage.num_fds()
        async with following([node.ws_url], 10) as followers, publishing([node.url], rate) as publisher:
            ends = time.monotonic() + seconds
            churning = asyncio.create_task(churn(node, churned, ends, chance))
            curve: list[tuple[float, int]] = []
            begun = time.monotonic()
            while time.monotonic() < ends:
                await asyncio.sleep(0.5)
                curve.append((time.monotonic() - begun, node.usage.memory_info().rss))
            count = await churning
            threads = node.usage.num_threads()
            await judge(publisher, followers)
            assert not any(follower.returns for follower in followers)
        samples = [(t, rss) for t, rss in curve if t > warm]
        steep = slope(samples) * 600 / MIB
        print("RSS by the minute:", *(f"{rss / MIB:.1f}" for _, rss in curve[::120]))
        print(
            f"{seconds:.0f} s: {count} clients came and went, {len(publisher.acked)} events; RSS "
            f"{samples[-1][1] / MIB:.1f} MiB, {(samples[-1][1] - samples[0][1]) / MIB:+.2f} MiB since {warm:.0f} s, "
            f"slope {steep:+.2f} MiB/10 min"
        )
        assert steep < growth
        assert threads < 12
        async with asyncio.timeout(20):
            while node.usage.num_fds() > fds + 5:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)


async def test_memory_and_descriptors_stay_where_they_are(tmp_path: Path) -> None:
    """F27, in small: so short that only a leak of some kilobytes a client would show."""
    await soak(tmp_path, seconds=12.0, warm=5.0, churned=30, rate=100, growth=300.0)


@pytest.mark.chaos
@pytest.mark.timeout(700)
async def test_memory_and_descriptors_stay_for_five_minutes(tmp_path: Path) -> None:
    """F27: 50 clients a second come and go, 200 events a second. What fills by itself is full before it is measured:
    idempotency keys take 160 s, what Python and malloc keep at hand a minute more."""
    await soak(tmp_path, seconds=540.0, warm=240.0, churned=50, rate=200, growth=1.0)
