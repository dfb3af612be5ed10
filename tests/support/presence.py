"""Helpers of the presence tests."""

from tests.support.clients import Client
from tests.support.inprocess import RunningGateway
from tests.support.pauses import PATIENCE


async def present(client: Client, room: str = "circle:1") -> dict[str, int]:
    """The members of the room by user, by the presence command; frames before its answer are skipped."""
    answer = await client.ask(type="presence", room=room)
    assert answer["type"] == "presence", answer
    data = answer["data"]
    users = {user["user_id"]: user["connections"] for user in data["users"]}
    assert (data["room"], data["connections"], list(users)) == (room, sum(users.values()), sorted(users)), data
    return users


async def news(client: Client, timeout: float = PATIENCE) -> tuple[str, str, str]:
    """The next notification: joined or left, the room, the user."""
    frame = await client.next(timeout=timeout)
    assert frame["type"] in ("presence.joined", "presence.left"), frame
    assert set(frame["data"]) == {"room", "user_id"}
    return frame["type"].partition(".")[2], frame["data"]["room"], frame["data"]["user_id"]


def with_grace(gate: RunningGateway, seconds: float) -> RunningGateway:
    gate.service.gateway.presence.grace = seconds
    return gate
