"""Missing resources of a process: space for its log lines (F19), descriptors (F21), valid settings, Redis (F26)."""

import asyncio
import fcntl
import json
import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.faults.line import dial
from tests.faults.promise import following, judge, publishing
from tests.support.pauses import PATIENCE, ran, until
from tests.support.process import GatewayProcess
from tests.support.redis import redis_server
from tests.support.settings import SECRET
from tests.support.tokens import token

LINES = 100
"""More than the pipe holds, which is made a small one."""


async def say_much(node: GatewayProcess, count: int) -> None:
    """Have the node write a line for each of these: tokens, which are audited and never left out."""
    async with node.api(token("root", scope="subscribe admin")) as api:
        for number in range(count):
            body = {"user_id": f"user{number}", "rooms": []}
            assert (await api.post("/admin/tokens", json=body)).status_code == 201


async def slowest(node: GatewayProcess, during: "asyncio.Task[None]") -> float:
    """The longest that a ping took meanwhile."""
    most = 0.0
    async with connect(f"{node.ws_url}?token={token('pinger')}", compression=None) as websocket:
        await websocket.recv()
        while not during.done():
            begun = ran()
            await websocket.send('{"type": "ping"}')
            async with asyncio.timeout(PATIENCE):
                assert json.loads(await websocket.recv())["type"] == "pong"
            most = max(most, ran() - begun)
            await asyncio.sleep(0.01)
    await during
    return most


@pytest.mark.timing
@pytest.mark.parametrize("place", ["full", "pipe"])
async def test_log_lines_that_cannot_be_written(place: str, tmp_path: Path) -> None:
    """F19: a full disk, and a pipe without a reader: the loop keeps running, and the node ends on SIGTERM."""
    node = GatewayProcess(tmp_path)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4_096)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with os.fdopen(writing if place == "pipe" else full, "wb", closefd=False) as stderr:
            await node.start(stderr)
        talking = asyncio.create_task(say_much(node, LINES))
        most = await slowest(node, talking)
        async with following([node.ws_url], 3) as followers, publishing([node.url], 200) as publisher:
            await asyncio.sleep(0.5)
            await judge(publisher, followers)
        print(f"{LINES} lines to a {place} place: the slowest pong took {most * 1000:.0f} ms")
        assert most < 1.0
        if place == "pipe":
            assert waiting(reading) > 3_900, "nothing was tested: the pipe is not full"
        node.send_signal()
        assert (await node.ended(10))[0] == 0
    finally:
        node.close()
        for fd in (reading, writing, full):
            os.close(fd)


def waiting(fd: int) -> int:
    """Bytes in a pipe."""
    count = bytearray(4)
    fcntl.ioctl(fd, 0x541B, count)  # FIONREAD
    return int.from_bytes(count, "little")


FEW = 120
"""Descriptors that the node may have: a few dozen are its own."""


@asynccontextmanager
async def poor_node(folder: Path) -> AsyncIterator[GatewayProcess]:
    node = GatewayProcess(folder)
    try:
        await node.start(before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, FEW)))
        yield node
    finally:
        node.close()


@pytest.mark.timing
async def test_descriptors_run_out(tmp_path: Path) -> None:
    """F21: who is connected stays and gets every event; who comes is let in within 2 s of the release; few lines."""
    async with poor_node(tmp_path) as node:
        async with following([node.ws_url], 5) as followers, publishing([node.url], 100) as publisher:
            await asyncio.sleep(0.3)
            greedy = []
            for _ in range(2 * FEW):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", node.port))
                greedy.append(sock)
            await until(lambda: node.usage.num_fds() >= FEW - 2)
            exhausted = ran()
            had = len(publisher.acked)
            await asyncio.sleep(3.0)
            held = ran() - exhausted
            assert len(publisher.acked) > had + 50
            assert not await_soon(node)
            for sock in greedy:
                sock.close()
            released = ran()
            let_in: list[dict[str, Any]] = []
            while not let_in:
                # Without descriptors libuv takes the connections that wait and closes them at once, to empty the queue.
                with suppress(OSError):
                    line = await dial(node.ws_url, f"?token={token()}", let_in.append, 1.0)
                    line.abort()
                await asyncio.sleep(0.02)
            took = ran() - released
            assert took < 2.0
            await judge(publisher, followers)
        assert not any(follower.returns for follower in followers)
        written = node.log
        lines = written.count("\n")
        print(f"{FEW} descriptors: let in {took:.2f} s after the release; {lines} lines in {held:.1f} s without")
        assert lines < 30, written[-2_000:]


def await_soon(node: GatewayProcess) -> bool:
    """Whether the node takes a connection now."""
    return bool(node.usage.num_fds() < FEW - 5)


async def run(folder: Path, settings: dict[str, Any]) -> tuple[int, str, float]:
    """Exit code, stderr, and processor seconds of a node with these settings."""
    node = GatewayProcess(folder, **settings)
    try:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        node.launch()
        code, _ = await node.ended()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    finally:
        node.close()
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return code, node.log, spent


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"jwt_secret": None}, "GATEWAY_JWT_SECRET"),
        ({"jwt_secret": "short-canary"}, "GATEWAY_JWT_SECRET"),
        ({"jwt_secret": "canary" * 8}, "GATEWAY_JWT_SECRET"),
        ({"log_url": "redis://:canary@localhost:99999"}, "GATEWAY_LOG_URL"),
        ({"log_url": "redis://:canary@localhost:port"}, "GATEWAY_LOG_URL"),
        ({"log_url": "redis://:canary@localhost/?nonsense=1"}, "GATEWAY_LOG_URL"),
        ({"log_url": "http://:canary@localhost"}, "GATEWAY_LOG_URL"),
        ({"redis_prefix": "a b", "log_url": "redis://localhost"}, "GATEWAY_REDIS_PREFIX"),
    ],
    ids=["empty", "short", "plain", "port", "no-port", "option", "scheme", "prefix"],
)
async def test_node_that_cannot_be_does_not_start(settings: dict[str, Any], named: str, tmp_path: Path) -> None:
    """F26: not zero, within 2 s of the processor, with one line that names the setting and tells no secret."""
    code, written, spent = await run(tmp_path, settings)
    assert code not in (0, None)
    assert spent < 2.0
    assert len(written.splitlines()) == 1, written
    assert named in written
    assert "canary" not in written
    assert SECRET not in written


@pytest.mark.timing
async def test_node_starts_without_redis_and_recovers(tmp_path: Path) -> None:
    """F26: a Redis that is down is no wrong setting: the node runs, says that it is not ready, and then is."""
    async with redis_server(tmp_path / "redis", started=False) as redis:
        node = GatewayProcess(tmp_path / "node", log_url=redis.url, redis_prefix="late")
        try:
            await node.start(ready=False)
            assert not node.answers("/readyz")
            async with connect(f"{node.ws_url}?token={token()}&rooms=tenant", open_timeout=PATIENCE) as websocket:
                frames = []
                with suppress(ConnectionClosed):
                    while True:
                        frames.append(json.loads(await asyncio.wait_for(websocket.recv(), PATIENCE)))
            assert websocket.close_code == 1013
            assert {frame["type"] for frame in frames} <= {"error"}
            assert len(node.err) < 20, node.log
            await redis.start()
            begun = ran()
            await until(lambda: node.answers("/readyz"))
            print(f"ready {ran() - begun:.1f} s after Redis")
            assert ran() - begun < 5.0
            async with following([node.ws_url], 3) as followers, publishing([node.url], 100) as publisher:
                await asyncio.sleep(0.5)
                await judge(publisher, followers)
            node.assert_well()
        finally:
            node.close()
