"""An event loop that is held up, as by a pause of the machine, while Redis answers."""

import asyncio
import time

import pytest

from gateway.redis.deadlines import Deadline
from gateway.testing import draft
from tests.support.redis import RedisServer
from tests.support.redis_logs import redis_log

HELD_UP = 2.5
"""Seconds: more than any deadline of the log."""


async def test_a_deadline_expires_all_the_same() -> None:
    """Where no answer has come, soon after the loop goes on."""

    async def ask() -> None:
        async with Deadline(0.1):
            time.sleep(0.5)  # noqa: ASYNC251 - what is tested
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await ask()


@pytest.mark.timing
async def test_events_are_accepted(server: RedisServer, prefix: str) -> None:
    """Both the event that is under way and later ones."""
    async with redis_log(server.url, prefix=prefix) as subject:
        await subject.append("acme", 1)
        receipt = asyncio.ensure_future(subject.log.append("acme", draft(1)))
        for _ in range(3):
            await asyncio.sleep(0)  # it is sent
        time.sleep(HELD_UP)  # noqa: ASYNC251
        assert not (await receipt).duplicate
        await subject.log.append("acme", draft(2))


@pytest.mark.timing
async def test_the_first_client_of_a_tenant_is_let_in(server: RedisServer, prefix: str) -> None:
    """Its node has yet to read the log."""
    async with redis_log(server.url, prefix=prefix) as subject, redis_log(server.url, prefix=prefix) as other:
        await other.append("acme", 3)
        following = subject.log.follow("acme")
        assert following is not None
        await asyncio.sleep(0)
        time.sleep(HELD_UP)  # noqa: ASYNC251
        await following
        assert subject.log.window("acme").head == 3
