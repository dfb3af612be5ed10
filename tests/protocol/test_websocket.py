"""The WebSocket over a real socket, command by command and frame by frame."""

from tests.support.inprocess import RunningGateway


async def test_established_tells_who_and_what(gate: RunningGateway) -> None:
    """The first frame says who the client is, what it may follow, until when, and where the log stands."""
    async with gate.client(query="&client_id=desk") as client:
        data = client.established["data"]
        assert data["client_id"] == "desk"
        assert (data["user_id"], data["tenant"]) == ("ada", "acme")
        assert data["rooms"] == ["circle:*", "project:*", "tenant"]
        assert data["subscribed"] == ["user:ada"]
        assert data["cursor"].startswith("evt_")
        assert data["expires_at"].endswith("Z")
        assert client.established["timestamp"].endswith("Z")


async def test_ping_is_answered_with_its_id(gate: RunningGateway) -> None:
    """`ping` is answered with `pong`, and the reply echoes the command's id."""
    async with gate.client() as client:
        assert (await client.ask(type="ping", id=7))["type"] == "pong"
