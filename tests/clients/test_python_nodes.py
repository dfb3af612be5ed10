"""The Python client before two nodes with one log: a node that ends costs no event and is no gap."""

import asyncio
import signal
from pathlib import Path

import pytest

from gathering_client import Event, Gap, StateChange, Subscription, connect
from tests.support.pauses import until
from tests.support.process import gateway_processes
from tests.support.proxy import proxied
from tests.support.redis import RedisServer
from tests.support.tokens import token


async def collect(subscription: Subscription[Event[dict[str, int]] | Gap], came: list[object]) -> None:
    async for item in subscription:
        number = item.data["n"] if isinstance(item, Event) else item
        came.append(number)


@pytest.mark.parametrize("ends_by", ["drain", "crash"])
async def test_a_node_that_ends(server: RedisServer, prefix: str, tmp_path: Path, ends_by: str) -> None:
    """A drained node gives each client a slot: it gets events until then, and then returns to the other node at once.
    After a crash it returns with backoff. Either way it resumes from its cursor."""
    settings = {"log_url": server.url, "redis_prefix": prefix, "drain_seconds": 3}
    changes: list[StateChange] = []
    came: list[object] = []
    async with (
        gateway_processes(tmp_path, 2, **settings) as (one, other),
        proxied(one.port) as network,
        connect(other.url, token=token("publisher")) as publisher,
        connect(f"http://127.0.0.1:{network.port}", token=token()) as client,
    ):
        reading = asyncio.create_task(collect(client.subscribe("circle:1", on_state=changes.append), came))
        await until(lambda: any(change.state == "live" for change in changes))
        await publisher.publish("a.b", {"n": 0}, circle_id=1)
        await until(lambda: came == [0])
        network.target = other.port  # as a balancer does for a node that is not ready
        if ends_by == "drain":
            one.send_signal(signal.SIGTERM)
        else:
            one.kill()
        for n in range(1, 40):
            await publisher.publish("a.b", {"n": n}, circle_id=1)
            await asyncio.sleep(0.1)
        await until(lambda: came == list(range(40)))
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    (lost,) = [change for change in changes if change.state == "reconnecting"]
    assert lost.code == (1012 if ends_by == "drain" else 1006)
    assert lost.retry_in is not None
    assert lost.retry_in < (0.1 if ends_by == "drain" else 0.6)
    assert [change.recovered for change in changes if change.state == "live"] == [None, True]
