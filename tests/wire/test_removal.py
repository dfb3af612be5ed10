"""Members who are removed: `circle.member.removed` and `project.member.removed` are policy as well as news."""

import pytest

from tests.support import Gate


@pytest.mark.parametrize("kind", ["circle", "project"])
async def test_a_removed_member_gets_the_removal_and_nothing_after_it(gate: Gate, kind: str) -> None:
    """In one turn: an event, the removal, another event. The removed user sees the first two, others all."""
    room = f"{kind}:7"
    publish, ids = gate.service.gateway.publish, {f"{kind}_id": 7}
    async with (
        gate.client(gate.token("ada"), f"&rooms={room}") as ada,
        gate.client(gate.token("bob"), f"&rooms={room}") as bob,
    ):
        await ada.next("subscribed")
        await bob.next("subscribed")
        await publish("acme", "task.created", {"n": 1}, **ids)  # type: ignore[arg-type]
        await publish("acme", f"{kind}.member.removed", {"user_id": "ada"}, **ids)  # type: ignore[arg-type]
        await publish("acme", "task.created", {"n": 2}, **ids)  # type: ignore[arg-type]
        assert [(await ada.next())["type"] for _ in range(3)] == [
            "task.created",
            f"{kind}.member.removed",
            "subscription.revoked",
        ]
        assert [(await bob.next())["data"].get("n") for _ in range(3)] == [1, None, 2]
        await ada.quiet()


async def test_the_room_is_barred_to_tokens_from_before(gate: Gate) -> None:
    """The token grants circle:* and yet not circle:7 any more, on whatever connection; a later one does."""
    token = gate.token("ada")
    async with gate.client(token, "&rooms=circle:7") as ada:
        await ada.next("subscribed")
        await gate.service.gateway.publish("acme", "circle.member.removed", {"user_id": "ada"}, circle_id=7)
        await ada.next("circle.member.removed")
        revoked = await ada.next("subscription.revoked")
        assert revoked["data"] == {"rooms": ["circle:7"], "reason": "circle.member.removed"}
        refused = await ada.ask(type="subscribe", rooms=["circle:7"])
        assert refused["data"]["code"] == "room_forbidden"
        event = {"type": "task.created", "data": {}, "circle_id": 7}
        assert (await ada.ask(type="publish", event=event))["data"]["code"] == "room_forbidden"
        assert (await ada.ask(type="subscribe", rooms=["circle:8"]))["type"] == "subscribed"
    async with gate.client(token) as again:
        assert (await again.ask(type="subscribe", rooms=["circle:7"]))["data"]["code"] == "room_forbidden"
    later = gate.token("ada", not_before_iat=int(gate.service.gateway.clock()) + 1)
    async with gate.client(later) as anew:
        assert (await anew.ask(type="subscribe", rooms=["circle:7"]))["type"] == "subscribed"


async def test_a_removal_concerns_its_user_room_and_tenant_only(gate: Gate) -> None:
    """The same user id in another tenant, and other users of the room, notice nothing."""
    async with gate.client(gate.token("ada", tenant="globex"), "&rooms=circle:7") as foreign:
        await foreign.next("subscribed")
        async with gate.client(gate.token("ada"), "&rooms=circle:7,circle:8") as ada:
            await ada.next("subscribed")
            await gate.service.gateway.publish("acme", "circle.member.removed", {"user_id": "ada"}, circle_id=7)
            await gate.service.gateway.publish("acme", "task.created", {}, circle_id=8)
            assert [(await ada.next())["type"] for _ in range(3)][-1] == "task.created"
        await gate.service.gateway.publish("globex", "task.created", {}, circle_id=7)
        assert (await foreign.next())["type"] == "task.created"


async def test_a_removal_without_a_user_is_an_event_like_any_other(gate: Gate) -> None:
    """Data that names nobody, or in no form that a user has, removes nobody and harms nobody."""
    async with gate.client(query="&rooms=circle:7") as ada:
        await ada.next("subscribed")
        for data in ({}, {"user_id": None}, {"user_id": ["ada"]}, {"user_id": "no one"}, {"user_id": True}):
            await gate.service.gateway.publish("acme", "circle.member.removed", data, circle_id=7)
            await ada.next("circle.member.removed")
        await ada.quiet()
