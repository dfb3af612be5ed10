"""A wall clock that jumps (F18): places, rates and timers do not notice; tokens are judged by it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from auth.errors import TokenRevoked
from gateway.core.control import ControlMessage
from gateway.engine.gateway import Gateway
from gateway.logs.redis import RedisLog
from gateway.service.factory import create_service
from gateway.testing import CURSOR_KEY
from tests.faults.promise import TENANT
from tests.support.clients import Client
from tests.support.clocks import AdjustableClock
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import ran
from tests.support.redis import RedisServer
from tests.support.settings import settings_for


@asynccontextmanager
async def gate_by(
    clock: AdjustableClock, redis: RedisServer | None = None, prefix: str = "", **values: Any
) -> AsyncIterator[RunningGateway]:
    """A gateway whose wall clock this is; its timer is the real one."""
    settings = settings_for(max_token_lifetime=20_000, **values)
    # The Redis log asks no wall clock: Redis dates the entries.
    log = RedisLog(redis.url, (CURSOR_KEY,), prefix=prefix) if redis else None
    async with running(settings, create_service(settings, log=log, clock=clock)) as gate:
        yield gate


async def events(client: Client, count: int) -> list[int]:
    return [(await client.next("task.created"))["data"]["n"] for _ in range(count)]


@pytest.mark.parametrize("engine", ["memory", "redis"])
@pytest.mark.parametrize("jump", [3_600.0 * 2, -3_600.0, -600.0])
async def test_places_and_window_survive_a_jump(engine: str, jump: float, server: RedisServer, prefix: str) -> None:
    """A client that was away meanwhile gets exactly what it missed; the live one stays in order; nothing expires."""
    clock = AdjustableClock()
    async with gate_by(clock, server if engine == "redis" else None, prefix) as gate:
        gateway = gate.service.gateway
        for n in range(20):
            await gateway.publish(TENANT, "task.created", {"n": n})
        day = gate.token(expires_in=10_000)
        async with gate.client(day, "&rooms=tenant") as client:
            cursor = (await client.next("subscribed"))["data"]["cursor"]
            for n in range(20, 40):
                await gateway.publish(TENANT, "task.created", {"n": n})
            assert await events(client, 20) == [*range(20, 40)]
        await gateway.publish(TENANT, "task.created", {"n": 40}, key="k")
        clock.offset = jump
        await asyncio.sleep(1.2)  # two looks at what is due
        assert (await gateway.publish(TENANT, "task.created", {"n": 40}, key="k")).duplicate
        for n in range(41, 50):
            await gateway.publish(TENANT, "task.created", {"n": n})
        fresh = gate.token(now=clock(), expires_in=10_000)
        async with gate.client(fresh, f"&rooms=tenant&since={cursor}") as client:
            reply = (await client.next("subscribed"))["data"]
            assert (reply["recovered"], reply["replayed"]) == (True, 30)
            assert await events(client, 30) == [*range(20, 50)]
            clock.offset = 0.0
            await asyncio.sleep(0.6)
            await gateway.publish(TENANT, "task.created", {"n": 50})
            assert await events(client, 1) == [50]


async def test_rates_know_no_wall_clock() -> None:
    """An hour ahead fills no bucket, an hour back empties none; pings go on."""
    clock = AdjustableClock()
    async with gate_by(clock, commands_per_second=5, command_burst=10, ping_interval=0.5) as gate:
        async with gate.client(gate.token(expires_in=3_600)) as client:
            for offset in (0.0, -3_600.0, 1_800.0):
                clock.offset = offset
                for _ in range(5):
                    # All at once: in a pause between two, as of the machine, there is more to have.
                    await asyncio.gather(*(client.send(type="ping") for _ in range(15)))
                    if "error" in [(await client.next())["type"] for _ in range(15)]:
                        break
                else:
                    pytest.fail("it is not limited at its burst")
                await asyncio.sleep(2.1)
                assert (await client.ask(type="ping"))["type"] == "pong"
            assert client.websocket.close_code is None


async def test_tokens_are_judged_by_the_wall_clock() -> None:
    """Ahead they expire, at once; back they are from the future, and 5 s of leeway are forgiven."""
    clock = AdjustableClock()
    async with gate_by(clock) as gate:
        token = gate.token(expires_in=600)
        async with gate.client(token) as client:
            clock.offset = 3_600.0
            begun = ran()
            assert await client.closed() == (4401, "token_expired")
            assert ran() - begun < 2.0
        with pytest.raises((ConnectionClosed, AssertionError)):
            async with gate.client(token):
                pass
        clock.offset = -4.0
        async with gate.client(token) as client:
            assert client.established["data"]["tenant"] == TENANT
            # # The clock goes back while it is connected: it stays connected, and expires.
            clock.offset = -3_600.0
            await asyncio.sleep(1.1)
            assert (await client.ask(type="ping"))["type"] == "pong"
            clock.offset = 601.0
            assert await client.closed() == (4401, "token_expired")
        clock.offset = -3_600.0
        with pytest.raises((ConnectionClosed, AssertionError)):
            async with gate.client(token):
                pass


@pytest.mark.parametrize("engine", ["memory", "redis"])
async def test_revocations_and_removals_survive_a_jump(engine: str, server: RedisServer, prefix: str) -> None:
    """A day ahead for a second and back: nothing that was revoked is good again, here, or on a node that starts while
    its clock is wrong, or afterwards."""
    clock = AdjustableClock()
    shared: dict[str, Any] = {"log_url": server.url, "redis_prefix": prefix} if engine == "redis" else {}
    async with gate_by(clock, **shared) as gate:
        gateway = gate.service.gateway
        tokens = {user: gate.token(user, expires_in=15_000) for user in ("ada", "bob", "eve")}
        await gateway.administration.revoke_token(TENANT, gateway.connections.verify(tokens["ada"]).token_id)
        await gateway.administration.revoke_user(TENANT, "bob")
        await gateway.publish(TENANT, "circle.member.removed", {"user_id": "eve"}, circle_id=7)

        def judge(by: Gateway) -> None:
            for user in ("ada", "bob"):
                with pytest.raises(TokenRevoked):
                    by.connections.verify(tokens[user])
            assert by.connections.verify(tokens["eve"]).revoked_rooms == {"circle:7"}

        judge(gateway)
        for jump in (86_500.0, -86_500.0):
            clock.offset = jump
            await asyncio.sleep(1.2)  # two sweeps
            if engine == "redis":
                async with gate_by(clock, **shared) as late:
                    await asyncio.sleep(0.6)
                    clock.offset = 0.0
                    judge(late.service.gateway)
                    judge(gateway)
                    clock.offset = jump
        clock.offset = 0.0
        await asyncio.sleep(1.2)
        judge(gateway)
        if engine == "redis":
            async with gate_by(clock, **shared) as late:
                judge(late.service.gateway)


async def test_a_connection_to_be_closed_is_closed_by_a_node_whose_clock_is_wrong(
    server: RedisServer, prefix: str
) -> None:
    """A control message applies, whatever date the receiving node has."""
    wrong, right = AdjustableClock(), AdjustableClock()
    shared: dict[str, Any] = {"log_url": server.url, "redis_prefix": prefix}
    async with gate_by(wrong, **shared) as one, gate_by(right, **shared) as other:
        wrong.offset = 3_600.0
        async with one.client(one.token(now=wrong(), expires_in=600)) as client:
            id = client.established["data"]["connection_id"]
            await other.service.gateway.revocation.publish(
                ControlMessage("connection_closed", TENANT, id, right(), seconds=120.0)
            )
            assert await client.closed() == (4403, "closed by an administrator")
