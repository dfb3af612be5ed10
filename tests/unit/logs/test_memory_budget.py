"""The memory of all tenants' logs together: what was trimmed for it is reported to clients as a gap."""

import pytest

from tests.support.lab import GatewayLab

ROOM = "circle:7"
TOTAL = 100_000


async def fill(lab: GatewayLab, tenant: str, count: int = 50) -> None:
    """Some 1,000 bytes for each event."""
    await lab.happen(count, tenant, pad="x" * 800)


async def test_clients_of_an_idle_tenant_get_a_gap(caplog: pytest.LogCaptureFixture) -> None:
    """One that resumes and one that is behind; those of the busy tenant miss nothing."""
    lab = GatewayLab(log_max_total_bytes=TOTAL)
    publish = lab.gateway.publish
    start = {tenant: (await publish(tenant, "a.b", {}, circle_id=7)).event_id for tenant in ("idle", "busy")}
    behind, tape = lab.join(lab.token("ada", "idle"), capacity=3, rooms=ROOM)
    await fill(lab, "idle", 3)
    await lab.settle()
    assert not behind.live
    await fill(lab, "idle", 17)
    await fill(lab, "busy", 90)
    assert sum(window.bytes for window in lab.gateway.log.windows()) <= TOTAL
    tape.capacity = None
    lab.gateway.on_writable(behind)
    await lab.settle()
    assert tape.last("stream.gap")["data"]["reason"] == "history_trimmed"
    assert lab.gateway.manager.of("idle").connections[behind.id].live
    _, missed = lab.join(lab.token("bob", "idle"), rooms=ROOM, since=start["idle"])
    assert missed.last("subscribed")["data"]["recovered"] is False
    _, kept = lab.join(lab.token("bob", "busy"), rooms=ROOM, since=start["busy"])
    assert kept.last("subscribed")["data"]["recovered"] is True
    assert "GATEWAY_LOG_MAX_TOTAL_BYTES is reached" in caplog.text


async def test_state_of_an_idle_tenant_is_not_complete() -> None:
    """Items count; a client that asks for them is notified that some are gone. The busy tenant keeps its own."""
    lab = GatewayLab(log_max_total_bytes=TOTAL)
    for tenant in ("idle", "busy"):
        for number in range(40):
            await lab.gateway.publish(tenant, "a.b", {"pad": "x" * 800}, circle_id=7, item_key=f"k{number}")
    await fill(lab, "busy", 20)
    states = {tenant: lab.join(lab.token("ada", tenant), rooms=ROOM, state="1")[1] for tenant in ("idle", "busy")}
    idle, busy = (states[tenant].last("subscribed")["data"] for tenant in ("idle", "busy"))
    assert idle["items"] < 40
    assert idle["complete"] is False
    assert (busy["items"], busy["complete"]) == (40, True)


async def test_a_tenant_whose_clients_connect_is_in_use() -> None:
    """Its window outlives that of a tenant without clients."""
    lab = GatewayLab(log_max_total_bytes=TOTAL)
    for tenant in ("first", "second"):
        await fill(lab, tenant, 30)
    lab.join(lab.token("ada", "first"), rooms=ROOM)
    await fill(lab, "busy", 50)
    first, second = (lab.gateway.log.window(tenant) for tenant in ("first", "second"))
    assert len(first) == 30
    assert len(second) < 30


async def test_without_a_bound_every_log_has_its_own() -> None:
    lab = GatewayLab(log_max_total_bytes=0)
    for number in range(20):
        await fill(lab, f"t{number}", 10)
    assert [len(window) for window in lab.gateway.log.windows()] == [10] * 20
