"""The drain of a node under load (F16): all its clients resume at another node, without a loss."""

import asyncio
import signal
import socket
from pathlib import Path

import httpx
import pytest

from tests.faults.promise import ResumingClient, following, judge, publishing
from tests.support.clients import http_client
from tests.support.pauses import ran, until
from tests.support.process import GatewayProcess, gateway_processes
from tests.support.raw_client import handshake
from tests.support.redis import RedisServer
from tests.support.tokens import token


async def drained(folder: Path, server: RedisServer, prefix: str, *, clients: int, rate: float, drain: float) -> None:
    options = {"drain_seconds": drain, "stall_seconds": 60, "max_connections_per_tenant": 0}
    async with gateway_processes(folder, 2, log_url=server.url, redis_prefix=prefix, **options) as (ending, other):
        urls = [ending.ws_url, other.ws_url]
        async with following(urls, clients, 60.0, stride=0) as followers:
            async with publishing([ending.url, other.url], rate) as publisher:
                stuck = await never_reads(ending)
                await asyncio.sleep(2.0)
                signalled = ran()
                readiness = asyncio.create_task(ready_once_notified(ending, followers[:50]))
                ending.send_signal(signal.SIGTERM)
                status, _ = await ending.ended()
                took = ran() - signalled
                await judge(publisher, followers, seconds=30.0)
                stuck.close()
        away = [each[2] for follower in followers for each in follower.returns]
        slots = sorted(slot for follower in followers for slot in follower_slots(follower))
        tenths = {int(slot / (drain * 100)) for slot in slots}
        print(
            f"{clients} clients, {len(publisher.acked)} events ({len(publisher.again)} published again): ended "
            f"after {took:.2f} s of {drain:g}; away {max(away):.2f} s at most"
        )
        assert status == 0
        assert took < drain + 5
        assert not readiness.result(), "clients were sent away while the node said that it was ready"
        assert [follower.closes for follower in followers] == [[1012]] * clients
        assert [[each[0] for each in follower.returns] for follower in followers] == [[True]] * clients
        assert len(slots) == clients
        assert tenths >= set(range(10)), "the slots are not spread over the time"


def follower_slots(follower: ResumingClient) -> list[int]:
    return [frame["data"]["reconnect_after_ms"] for frame in follower.frames if frame["type"] == "server.draining"]


async def never_reads(node: GatewayProcess) -> socket.socket:
    """A client in the same room that takes nothing: its kernel takes 4 kB."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", node.port))
    await loop.sock_sendall(sock, handshake(f"/ws/dashboard?token={token('stuck')}&rooms=tenant"))
    return sock


async def ready_once_notified(node: GatewayProcess, followers: list[ResumingClient]) -> bool:
    """Whether `/readyz` says so as soon as one client has been notified of its slot."""
    async with http_client() as client:
        await client.get(f"{node.url}/healthz")  # or connecting would take its time when it is due
        await until(lambda: any(follower_slots(follower) for follower in followers))
        try:
            answer = await client.get(f"{node.url}/readyz")
        except httpx.TransportError:  # it has ended by now
            return False
        assert answer.status_code in (200, 503)
        return answer.status_code == 200


async def test_node_ends_under_load(tmp_path: Path, server: RedisServer, prefix: str) -> None:
    """F16: not ready before the first client is closed, a slot for each client, and every event at the other node."""
    await drained(tmp_path, server, prefix, clients=60, rate=50, drain=3)


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_node_with_two_thousand_clients_ends_under_load(tmp_path: Path, server: RedisServer, prefix: str) -> None:
    """F16: the row's 2,000 clients."""
    await drained(tmp_path, server, prefix, clients=2_000, rate=20, drain=10)
