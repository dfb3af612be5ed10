"""Frames are what RFC 6455 says, judged by another's parser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame as Parsed
from websockets.frames import Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from gateway.core.frame import Batch, Frame


def parsed(wire: bytes) -> list[Parsed]:
    """The frames that a client reads in `wire`."""
    client = Protocol(CLIENT, state=OPEN, max_size=None)
    client.receive_data(wire)
    assert client.parser_exc is None
    return [event for event in client.events_received() if isinstance(event, Parsed)]


@pytest.mark.parametrize("size", [0, 1, 124, 125, 126, 127, 65_534, 65_535, 65_536, 65_537, 1_000_000])
def test_header_at_every_boundary(size: int) -> None:
    """Each of the three forms of the length, to the byte; final, text, not masked."""
    frame = Frame(b"x" * size)
    (got,) = parsed(frame.wire)
    assert (got.opcode, got.fin, bytes(got.data)) == (Opcode.TEXT, True, b"x" * size)
    assert frame.wire == Parsed(Opcode.TEXT, b"x" * size).serialize(mask=False)
    assert frame.payload == b"x" * size
    assert len(frame) == len(frame.wire)


@given(st.lists(st.text(max_size=200), min_size=1, max_size=20))
def test_batch_is_its_frames_in_order(texts: list[str]) -> None:
    """The joined bytes are the frames, one after the other."""
    frames = [Frame(text.encode()) for text in texts]
    assert [bytes(frame.data).decode() for frame in parsed(bytes(Batch(frames).wire))] == texts
    assert [frame.text for frame in frames] == texts


def test_batch_is_joined_once() -> None:
    """Every writer of a batch writes the same bytes, and a single frame is not copied."""
    batch = Batch([Frame(b"one"), Frame(b"two")])
    assert batch.wire is batch.wire
    frame = Frame(b"alone")
    assert Batch([frame]).wire is frame.wire
