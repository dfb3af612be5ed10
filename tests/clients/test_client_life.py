"""The JavaScript client and the life of its connection at a real gateway: tokens, drain, marks."""

import asyncio
from pathlib import Path
from typing import Any

from tests.clients.pages import BOTH, page, page_at, publish
from tests.support.inprocess import RunningGateway, running
from tests.support.nodejs import needs_websocket
from tests.support.pauses import until
from tests.support.process import GatewayProcess
from tests.support.redis import RedisServer
from tests.support.settings import settings_for
from tests.support.tokens import token

pytestmark = needs_websocket


def expiries(gate: RunningGateway) -> list[float]:
    """When the token of each connection expires."""
    return [connection.identity.expires_at for connection in gate.service.gateway.manager.connections()]


@BOTH
async def test_a_token_that_expires_is_renewed_on_the_connection(gate: RunningGateway, blocked: bool) -> None:
    """By the function, with the command `auth`; the connection outlives the first."""
    async with page(
        gate, tokens=[gate.token(), gate.token(expires_in=1_200)], rooms=["circle:1"], blocked=blocked
    ) as client:
        await client.subscribed("circle:1")
        gate.later(570)
        (ends,) = expiries(gate)
        await until(lambda: min(expiries(gate), default=0) > ends)
        gate.later(60)
        await asyncio.sleep(1.2)  # expiries are looked at each second
        await publish(gate, ["later"], circle_id=1)
        await client.until(lambda: client.numbers == ["later"])
        assert client.of("state")[-1] == ["live", None]
        assert client.of("state").count(["live", None]) == 1


async def test_a_token_that_expired_is_replaced_once(gate: RunningGateway) -> None:
    """4401 asks the function for a fresh one; where that is no good either, it ends."""
    bad = gate.token()
    async with page(gate, tokens=[gate.token()[:-4], gate.token(), bad[:-4], bad[:-4]], rooms=["circle:1"]) as client:
        await client.subscribed("circle:1")
        assert ["reconnecting", "token_invalid"] in client.of("state")


@BOTH
async def test_a_revoked_user_is_not_tried_again(gate: RunningGateway, blocked: bool) -> None:
    """The client ends, and asks for no fresh token."""
    async with page(gate, tokens=[gate.token()] * 3, rooms=["circle:1"], blocked=blocked) as client:
        await client.subscribed("circle:1")
        await gate.service.gateway.administration.revoke_user("acme", "ada")
        await client.until(lambda: client.of("state")[-1] == ["closed", "token_revoked"])
        assert client.of("state").count(["live", None]) == 1


@BOTH
async def test_a_removed_member_loses_the_room_alone(gate: RunningGateway, blocked: bool) -> None:
    """The room is closed with the reason, the others go on."""
    async with page(gate, rooms=["circle:2"], blocked=blocked) as client:
        client.call("open", "circle:1")
        await client.live("circle:1")
        await gate.publish(type="circle.member.removed", data={"user_id": "ada"}, circle_id=1)
        await client.until(lambda: ["circle:1", "closed", "circle.member.removed"] in client.of("room"))
        await publish(gate, ["on"], circle_id=2)
        await client.until(lambda: client.numbers == [None, "on"])
        assert (await client.show())["rooms"] == ["circle:2"]


@BOTH
async def test_a_drain_costs_nothing(server: RedisServer, prefix: str, tmp_path: Path, blocked: bool) -> None:
    """The client comes back at its slot, and gets what it missed; no gap."""
    settings: dict[str, Any] = {"log_url": server.url, "redis_prefix": prefix, "drain_seconds": 1}
    async with (
        GatewayProcess(tmp_path / "one", **settings) as node,
        GatewayProcess(tmp_path / "other", **settings) as other,
        page_at(node.port, token=token(), rooms=["circle:1"], blocked=blocked) as client,
    ):
        await client.subscribed("circle:1")
        await other.publish([{"n": 1}], circle_id=1)
        await client.until(lambda: client.numbers == [1])
        assert await asyncio.to_thread(node.stop) == 0
        await client.until(lambda: client.of("state")[-1][0] == "reconnecting")
        await other.publish([{"n": n} for n in range(2, 12)], circle_id=1)
        await node.start()
        await client.until(lambda: client.numbers == list(range(1, 12)))
        assert client.of("gap") == []


async def test_marks_keep_a_quiet_room_fresh_and_in_reach() -> None:
    """The cursor moves without events, so a busy tenant does not push it out of a small log."""
    async with running(settings_for(mark_interval=1, log_max_events=20, log_min_seconds=1)) as gate:
        async with page(gate, rooms=["circle:1"]) as client:
            await client.subscribed("circle:1")
            assert (await client.show())["freshness"]["stale"] is True
            await publish(gate, [str(n) for n in range(50)], circle_id=2)
            await client.until(lambda: len(client.of("mark")) >= 2)
            fresh = (await client.show())["freshness"]
            assert fresh["stale"] is False
            assert fresh["age"] < 5_000
            client.call("cut", 0)
            await client.subscribed("circle:1", 2)
            assert client.of("subscribed")[-1][1:] == [True, 0]
            assert client.of("gap") == []
