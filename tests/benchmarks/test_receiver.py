"""The receivers in C and in Python count alike."""

import socket
import time
from collections.abc import Iterator

import pytest
from websockets.frames import Frame, Opcode

from benchmarks.load.receiver import PythonReceiver, Receiver, Receivers


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    with Receivers() as made:
        yield made


@pytest.fixture(params=["C", "Python"])
def receiver(request: pytest.FixtureRequest, receivers: Receivers) -> Iterator[Receiver]:
    if request.param == "C" and receivers.kind != "C":
        pytest.skip("there is no C compiler")
    one: Receiver = receivers.make(10) if request.param == "C" else PythonReceiver()
    yield one
    one.close()


@pytest.fixture
def peers() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def text(payload: bytes) -> bytes:
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


@pytest.mark.parametrize("step", [1, 3, 7, 100_000])
def test_messages_are_counted_however_they_are_cut(
    receiver: Receiver, peers: tuple[socket.socket, socket.socket], step: int
) -> None:
    ours, theirs = peers
    index = receiver.add(ours, sampled=False)
    receiver.watch(index, True)
    wire = b"".join(text(b"x" * size) for size in (0, 5, 125, 126, 300)) + text(b"y" * 70_000 if step > 7 else b"y")
    for at in range(0, len(wire), step):
        theirs.sendall(wire[at : at + step])
        receiver.drain(6, 0.0)
    assert receiver.drain(6, 5.0) == 6
    assert receiver.frames(index) == 6
    assert receiver.payload == 556 + (70_000 if step > 7 else 1)


def test_units_are_counted_across_messages(receiver: Receiver, peers: tuple[socket.socket, socket.socket]) -> None:
    """Chunks as nats-server sends them: 2.5 events of 4 bytes, then 1.5."""
    ours, theirs = peers
    receiver.watch(receiver.add(ours, sampled=False), True)
    receiver.reset(4)
    theirs.sendall(text(b"x" * 10))
    assert receiver.drain(2, 5.0) == 2
    theirs.sendall(text(b"x" * 6))
    assert receiver.drain(4, 5.0) == 4


def test_pings_are_answered_and_not_counted(receiver: Receiver, peers: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = peers
    receiver.watch(receiver.add(ours, sampled=False), True)
    theirs.sendall(Frame(Opcode.PING, b"1234").serialize(mask=False) + text(b"x"))
    assert receiver.drain(1, 5.0) == 1
    assert theirs.recv(100) == b"\x8a\x84\0\0\0\x001234"


@pytest.mark.parametrize("cut", [0, 3, 9, 17, 31])
def test_the_latency_of_each_event_is_kept(
    receiver: Receiver, peers: tuple[socket.socket, socket.socket], cut: int
) -> None:
    ours, theirs = peers
    receiver.watch(receiver.add(ours, sampled=True), True)
    sent = time.monotonic_ns() - 2_000_000_000
    wire = text(b'{"data":{"at":"%020d","pad":"xx"}}' % sent) * 2
    theirs.sendall(wire[:cut])
    receiver.drain(2, 0.01)
    theirs.sendall(wire[cut:])
    receiver.drain(2, 5.0)
    first, second = receiver.latencies()
    assert 2.0 <= first <= second <= (time.monotonic_ns() - sent) / 1e9


def test_a_closed_connection_is_counted(receiver: Receiver, peers: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = peers
    receiver.watch(receiver.add(ours, sampled=False), True)
    theirs.close()
    receiver.drain(1, 0.05)
    assert receiver.closed == 1


def test_bytes_read_elsewhere_are_counted_too(receiver: Receiver, peers: tuple[socket.socket, socket.socket]) -> None:
    index = receiver.add(peers[0], sampled=False)
    receiver.feed(index, text(b"abc")[:3])
    receiver.feed(index, text(b"abc")[3:])
    assert (receiver.total, receiver.payload) == (1, 3)
