"""A service that is stopped and started again, each time on another event loop: two `with TestClient(app)` over a
module's `app`, or two tasks of a worker that call `asyncio.run`."""

import asyncio
import logging
import sys
from pathlib import Path

import pytest

from gateway.api import create_service
from gateway.service.factory import Service
from tests.support.clients import Client
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import until
from tests.support.redis import RedisServer, redis_server
from tests.support.settings import SECRET, environment, settings_for


async def use(service: Service, since: str | None) -> str:
    """Use features with tasks and timers; returns a cursor to resume from."""
    async with running(service=service) as gate:
        await until(lambda: service.gateway.ready)
        query = "&rooms=circle:1" + (f"&since={since}" if since else "")
        async with gate.client(query=query) as client:
            subscribed = (await client.next("subscribed"))["data"]
            assert (subscribed["recovered"], subscribed["replayed"]) == ((True, 1) if since else (None, 0))
            if since:
                assert (await client.next("order.done"))["data"] == {"n": 2}
            await follow(gate, client)
            receipts = [
                await service.gateway.publish("acme", "order.done", {"n": n}, circle_id=1, key=f"{since}{n}")
                for n in range(3)
            ]
            assert [(await client.next("order.done"))["data"] for _ in receipts] == [{"n": n} for n in range(3)]
    assert not service.gateway.ready
    return receipts[1].event_id


async def follow(gate: RunningGateway, client: Client) -> None:
    """Presence, whose leave notice comes from a timer, and a ticket."""
    gate.service.gateway.presence.grace = 0.2
    answer = await client.ask(type="presence", room="circle:1")
    assert answer["data"]["connections"] == 1
    await client.ask(type="subscribe", rooms=["circle:2"], presence=True)
    token = gate.token("bob")
    ticket = await gate.service.gateway.tickets.issue(token)
    async with gate.client(token, f"&ticket={ticket}") as other:
        await other.ask(type="subscribe", rooms=["circle:2"])
        assert (await client.next("presence.joined"))["data"]["user_id"] == "bob"
    assert (await client.next("presence.left"))["data"]["user_id"] == "bob"


def use_three_times(service: Service) -> None:
    since = None
    for _ in range(3):
        since = asyncio.run(use(service, since))


def test_in_memory(caplog: pytest.LogCaptureFixture) -> None:
    """The log goes on where it was: it is as old as the service."""
    use_three_times(create_service(settings_for()))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.timing  # Redis answers each command within a second, or a warning says that it did not
def test_on_redis(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Connections to Redis belong to an event loop, so each start makes its own."""

    async def main() -> None:
        async with redis_server(tmp_path) as server:
            service = create_service(settings_for(log_url=server.url))
            await asyncio.to_thread(use_three_times, service)

    asyncio.run(main())
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


FORKED = """
import asyncio, os
from gateway import create_service

service = create_service()
os.fork()

async def main():
    async with service.running():
        print(service.gateway.cluster.members.node)

asyncio.run(main())
"""


async def test_two_processes_that_were_forked_are_two_nodes(server: RedisServer, tmp_path: Path) -> None:
    """Workers as of `gunicorn --preload`: the service is created in the first process, and each starts it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FORKED),
        cwd=tmp_path,
        env=environment(jwt_secret=SECRET, log_url=server.url),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert len(set(output.split())) == 2, output
