"""The JavaScript client where no WebSocket gets through: over Server-Sent Events it keeps the same promise."""

from tests.clients.pages import page, publish
from tests.support.inprocess import RunningGateway
from tests.support.nodejs import needs_websocket
from tests.support.pauses import until

pytestmark = needs_websocket


def rooms(gate: RunningGateway) -> list[set[str]]:
    """The rooms of each connection."""
    return [{*connection.rooms} for connection in gate.service.gateway.manager.connections()]


async def test_rooms_are_followed(gate: RunningGateway) -> None:
    """Rooms of the first stream and rooms opened later; a room that is left, and one that is refused."""
    token = gate.token(rooms=["circle:1", "circle:2"])
    async with page(gate, token=token, rooms=["circle:1"], blocked=True) as client:
        await client.subscribed("circle:1")
        await publish(gate, ["a"], circle_id=1)
        await client.until(lambda: client.numbers == ["a"])
        client.call("open", "circle:2")
        client.call("open", "circle:3")
        await client.live("circle:2")
        await client.until(lambda: ["circle:3", "closed", "room_forbidden"] in client.of("room"))
        await publish(gate, ["b"], circle_id=2)
        await publish(gate, ["c"], circle_id=1)
        await client.until(lambda: client.numbers == ["a", "b", "c"])
        client.call("leave", "circle:2")
        await until(lambda: {"circle:1", "user:ada"} in rooms(gate))
        await publish(gate, ["d"], circle_id=2)
        await publish(gate, ["e"], circle_id=1)
        await client.until(lambda: client.numbers == ["a", "b", "c", "e"])
        assert client.of("gap") == []
