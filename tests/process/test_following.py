"""`gateway subscribe` comes back by itself, and misses nothing meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.core.connection import Connection
from gateway.telemetry import counts
from tests.support.commands import started
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import until
from tests.support.process import Process
from tests.support.proxy import proxied
from tests.support.redis import RedisServer
from tests.support.settings import settings_for

PATIENCE = 60.0


@asynccontextmanager
async def following(
    gate: RunningGateway, folder: Path, *options: str, port: int | None = None
) -> AsyncIterator[Process]:
    """`gateway subscribe circle:1` at the gate, or at the proxy before it at `port`."""
    command = ["subscribe", "circle:1", *options, "--url", f"http://127.0.0.1:{port or gate.port}"]
    with started(*command, "--token", gate.token(), cwd=folder) as process:
        yield process
        assert process.process.poll() is None, process.err
        await asyncio.to_thread(process.stop)


async def publish(gate: RunningGateway, n: int) -> None:
    await gate.service.gateway.publish("acme", "a.b", {"n": n}, circle_id=1)


def numbers(process: Process) -> list[int]:
    return [json.loads(line)["data"]["n"] for line in process.out]


def members(gate: RunningGateway) -> set[Connection]:
    return set(gate.service.gateway.manager.of("acme").rooms.get("circle:1", ()))


def joined(gate: RunningGateway) -> bool:
    return bool(members(gate))


async def test_over_the_users_limit(tmp_path: Path) -> None:
    """4409: not before `retry_after`, and then it is let in."""
    async with (
        running(settings_for(max_connections_per_user=1)) as gate,
        proxied(gate.port) as network,
        gate.client() as occupying,
        following(gate, tmp_path, port=network.port) as process,
    ):
        await until(lambda: counts.refused_connects.total(), PATIENCE)
        await occupying.websocket.close()
        await until(lambda: joined(gate), PATIENCE)
        refused, *_, admitted = network.opened_at
        assert admitted - refused > 4.9
        await publish(gate, 1)
        await until(lambda: numbers(process) == [1], PATIENCE)


async def test_without_a_log(server: RedisServer, prefix: str, tmp_path: Path) -> None:
    """`broker_unavailable` with 1013, when it comes first and when it comes back."""
    async with (
        running(settings_for(log_url=server.url, redis_prefix=prefix)) as gate,
        proxied(gate.port) as network,
    ):
        server.stall()
        async with following(gate, tmp_path, port=network.port) as process:
            await until(lambda: network.opened >= 2, PATIENCE)
            server.go_on()
            await until(lambda: joined(gate), PATIENCE)
            await publish(gate, 1)
            await until(lambda: numbers(process) == [1], PATIENCE)
            assert [line for line in process.err if "connected to" not in line] == []


async def test_a_network_that_breaks_again_and_again(gate: RunningGateway, tmp_path: Path) -> None:
    """Every event, in order, each once."""
    sent = list(range(40))
    async with proxied(gate.port) as network, following(gate, tmp_path, port=network.port) as process:
        for n in sent:
            if n % 10 == 0:  # so often has it said that it is connected
                await until(lambda: len(process.err) == n // 10 + 1, PATIENCE)  # noqa: B023
            if n % 10 == 5:
                (before,) = members(gate)
                network.reset()
                # # Not before the server is gone: the client may be back at once.
                await until(lambda: before not in members(gate), PATIENCE)  # noqa: B023
            await publish(gate, n)
        await until(lambda: sent[-1] in numbers(process), PATIENCE)
        assert numbers(process) == sent
        assert len(process.err) == 5
        assert all(line.endswith(", resumed") for line in process.err[1:]), process.err
