"""What the Redis log costs Redis and a node: `python -m benchmarks.redis_log [redis://…]`.

Without an address it starts the redis-server of the PATH on a free port, with nothing on disk. Both nodes are in this
one process, so that events a second here are those of one core for two nodes.
"""

import asyncio
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from gateway.core.log import Draft
from gateway.core.window import Entry
from gateway.logs.redis import RedisLog

EVENTS = 20_000
IN_FLIGHT = 512


@asynccontextmanager
async def server() -> AsyncIterator[str]:
    if len(sys.argv) > 1:
        yield sys.argv[1]
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    binary = shutil.which("redis-server")
    assert binary is not None, "no redis-server on the PATH: name one, redis://…"
    command = [binary, "--port", str(port), "--save", "", "--appendonly", "no"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
    try:
        await asyncio.sleep(0.5)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def nodes(url: str, count: int) -> AsyncIterator[list[RedisLog]]:
    prefix = secrets.token_hex(4)
    logs = [RedisLog(url, (b"a key for cursors of a benchmark",), prefix=prefix) for _ in range(count)]
    for log in logs:
        await log.start()
    try:
        yield logs
    finally:
        for log in logs:
            await log.stop()


async def spent(redis: "Redis") -> float:
    """Seconds of CPU that Redis has used so far."""
    cpu = await redis.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


def event(n: int) -> Draft:
    body = b'{"type":"task.completed","data":{"n":%d,"filler":"%s"},"circle_id":1}' % (n, b"x" * 100)
    return Draft(("circle:1", "tenant"), body, "2026-01-15T10:30:00.000Z")


async def follow(log: RedisLog, tenants: list[str]) -> None:
    for tenant in tenants:
        if (following := log.follow(tenant)) is not None:
            await following


async def load(url: str, redis: "Redis", tenants: int) -> None:
    """One node publishes, one follows."""
    names = [f"t{i}" for i in range(tenants)]
    async with nodes(url, 2) as (writer, follower):
        heard = 0

        def sink(tenant: str, entry: Entry) -> None:
            nonlocal heard
            heard += 1

        follower.attach(sink)
        await follow(follower, names)
        await asyncio.sleep(1.5)
        await redis.config_resetstat()
        cpu, begun, own = await spent(redis), time.perf_counter(), time.process_time()
        for start in range(0, EVENTS, IN_FLIGHT):
            some = range(start, min(start + IN_FLIGHT, EVENTS))
            await asyncio.gather(*(writer.append(names[n % tenants], event(n)) for n in some))
        while heard < EVENTS:  # noqa: ASYNC110 - the sink is a plain function
            await asyncio.sleep(0.001)
        took = time.perf_counter() - begun
        stats = await redis.info("commandstats")
        script = stats["cmdstat_evalsha"]
        print(
            f"{tenants:>5} tenants: {(await spent(redis) - cpu) / EVENTS * 1e6:5.1f} us of Redis CPU an event"
            f" (scripts {script['usec'] / EVENTS:.1f}, {script['calls'] / EVENTS:.2f} calls),"
            f" {(time.process_time() - own) / EVENTS * 1e6:5.1f} us of both nodes', {EVENTS / took:7,.0f} events/s"
        )


async def latency(url: str) -> None:
    async with nodes(url, 2) as (writer, follower):
        sent: list[float] = []
        waits: list[float] = []
        follower.attach(lambda tenant, entry: waits.append(time.perf_counter() - sent[entry.offset - 1]))
        await follow(follower, ["t"])
        await asyncio.sleep(1.5)
        for n in range(2_000):
            sent.append(time.perf_counter())
            await writer.append("t", event(n))
            await asyncio.sleep(0.002)
        cuts = statistics.quantiles(waits, n=100)
        print(f"publish to receive: p50 {cuts[49] * 1e3:.2f} ms, p99 {cuts[98] * 1e3:.2f} ms ({len(waits)} events)")


async def crossing(url: str) -> None:
    """Two nodes publish to one tenant, and both follow it."""
    async with nodes(url, 2) as logs:
        heard = [0, 0]

        def count(which: int) -> None:
            def sink(tenant: str, entry: Entry) -> None:
                heard[which] += 1

            logs[which].attach(sink)

        for which in range(2):
            count(which)
            await follow(logs[which], ["t"])
        await asyncio.sleep(1.5)
        begun = time.perf_counter()
        for start in range(0, EVENTS, IN_FLIGHT):
            some = range(start, min(start + IN_FLIGHT, EVENTS))
            await asyncio.gather(*(logs[n % 2].append("t", event(n)) for n in some))
        while min(heard) < EVENTS:  # noqa: ASYNC110 - the sink is a plain function
            await asyncio.sleep(0.001)
        took = time.perf_counter() - begun
        print(f"two nodes publish and follow: {EVENTS / took:,.0f} events/s end to end")


async def idle(url: str, redis: "Redis", tenants: int) -> None:
    async with nodes(url, 1) as (log,):
        begun = time.perf_counter()
        await asyncio.gather(*(following for i in range(tenants) if (following := log.follow(f"t{i}")) is not None))
        took = time.perf_counter() - begun
        await asyncio.sleep(2)
        cpu, own = await spent(redis), time.process_time()
        await asyncio.sleep(10)
        print(
            f"{tenants:>5} tenants idle: {(await spent(redis) - cpu) * 100:.2f} ms of Redis CPU a second,"
            f" {(time.process_time() - own) * 100:.1f} ms of the node's; all followed in {took:.2f} s"
        )


async def main() -> None:
    async with server() as url, Redis.from_url(url) as redis:
        for tenants in (1, 10, 1_000):
            await load(url, redis, tenants)
        await crossing(url)
        await latency(url)
        for tenants in (0, 1_000):
            await idle(url, redis, tenants)


if __name__ == "__main__":
    asyncio.run(main())
