"""The load client's RFC 6455, held against the websockets library."""

import pytest
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from benchmarks.frames import masked, split, upgrade


def served() -> ServerProtocol:
    """A server's protocol that has answered our handshake."""
    server = ServerProtocol()
    server.receive_data(upgrade("/ws?rooms=circle:7", 8000, {"Origin": "http://localhost"}))
    [request] = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]
    assert server.state.name == "OPEN", server.handshake_exc
    server.data_to_send()
    return server


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_server_takes_our_frames(size: int) -> None:
    server = served()
    server.receive_data(masked(b"x" * size))
    [frame] = server.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, frame.data) == (Opcode.TEXT, b"x" * size)


@pytest.mark.parametrize("cut", range(0, 140, 7))
def test_a_servers_frames_are_split_and_the_rest_is_kept(cut: int) -> None:
    wire = Frame(Opcode.TEXT, b"a" * 10).serialize(mask=False) + Frame(Opcode.BINARY, b"b" * 126).serialize(mask=False)
    frames, rest = split(wire[:cut])
    whole = [(1, b"a" * 10), (2, b"b" * 126)]
    assert frames == whole[: len(frames)]
    assert split(rest + wire[cut:])[0] == whole[len(frames) :]
