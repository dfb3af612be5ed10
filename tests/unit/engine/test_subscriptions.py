"""Replays of many clients at once, in the turns of their tenants."""

import asyncio

from tests.support.lab import GatewayLab


async def test_replays_asked_for_by_command_wait_for_turns_as_well() -> None:
    """A hundred clients of one tenant ask at once, and one of another is not the last to get its answer."""
    lab = GatewayLab()
    for tenant in ("evil", "good"):
        await lab.happen(2_000, tenant)
        await lab.happen(100, tenant, circle=8)
    clients = [lab.join(lab.token(f"u{number}", "evil")) for number in range(100)]
    good, tape = lab.join(lab.token("ada", "good"))
    await lab.settle()
    for connection, _ in (*clients, (good, tape)):
        lab.say(connection, type="subscribe", rooms=["circle:7", "circle:8"], history=100)
    while "subscribed" not in tape.kinds:  # noqa: ASYNC110 - an iteration at a time
        await asyncio.sleep(0)
    assert sum("subscribed" in other.kinds for _, other in clients) < 50
    for _ in range(500):
        await asyncio.sleep(0)
    assert all(len(other.events) == 100 for _, other in clients)
    assert len(tape.events) == 100
