"""Publishers of events to a server: by a line to a server that publishes in process, over HTTP, or by its own
protocol."""

import json
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import IO, Any, Final, Protocol

TIMEOUT: Final = 10.0
"""Seconds that a server may take to accept what is published."""

_ANSWER: Final = b"HTTP/1.1 2"


class Publisher(Protocol):
    """Publishes events whose data is `{"at": "<20 digits>", "pad": "<pad characters>"}`."""

    def publish(self, order: "Order") -> None:
        """Have the events of an order published, all at once."""

    def poll(self) -> None:
        """Read the answers that have come, and raise PublishFailed where one is a refusal."""

    def close(self) -> None:
        """Close the connection to the server."""


@dataclass(frozen=True, slots=True)
class Order:
    """`count` events, each to all of `rooms`; `at` is the monotonic clock in nanoseconds when they fell due."""

    count: int
    pad: int
    rooms: Sequence[str]
    at: int

    @classmethod
    def now(cls, count: int, pad: int, rooms: Sequence[str]) -> "Order":
        return cls(count, pad, rooms, time.monotonic_ns())

    def event(self) -> dict[str, object]:
        """One of its events, as a publisher writes it."""
        return event(self.pad, self.rooms, self.at)


class PublishFailed(Exception):
    """The server refused an event."""


class LinePublisher:
    """Orders in-process publishing by a line on the server's standard input: `<count> <pad> <at> <room>...`.

    The server publishes the events of one line in one turn of its loop, and those of the next line in the next turn.
    """

    def __init__(self, stdin: IO[bytes]) -> None:
        self._stdin = stdin

    def publish(self, order: Order) -> None:
        self._stdin.write(f"{order.count} {order.pad} {order.at} {' '.join(order.rooms)}\n".encode())
        self._stdin.flush()

    def poll(self) -> None:
        """A line has no answer."""

    def close(self) -> None:
        """The server's to close."""


class SocketPublisher:
    """Sends what `encode` makes of an order over one connection, without waiting for the answers. It connects when it
    first sends: a server closes a connection without a request after some seconds.

    `answers` is how many HTTP answers `poll` has seen.
    """

    def __init__(self, port: int, encode: Callable[[Order], bytes], refusal: bytes, greeting: bytes = b"") -> None:
        """`refusal` is what an answer contains that refuses; `greeting` is sent first."""
        self._encode = encode
        self._refusal = refusal
        self._tail = b""
        self.answers = 0
        self._port, self._greeting = port, greeting
        self._socket: socket.socket | None = None

    def publish(self, order: Order) -> None:
        self.send(self._encode(order))

    def send(self, data: bytes) -> None:
        """Send something else than an order."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), TIMEOUT)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Not settimeout(): with it MSG_DONTWAIT waits all the same.
            self._socket.setblocking(True)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(TIMEOUT), 0))
            data = self._greeting + data
        self._socket.sendall(data)

    def wait(self) -> None:
        """Wait until there is something to `poll`, for at most `TIMEOUT`."""
        poll = select.poll()  # `select` takes no descriptor above 1,023
        if self._socket is not None:
            poll.register(self._socket, select.POLLIN)
        if self._socket is None or not poll.poll(TIMEOUT * 1_000):
            raise PublishFailed(f"no answer within {TIMEOUT:.0f} s")

    def poll(self) -> None:
        while self._socket is not None:
            try:
                data = self._socket.recv(1 << 18, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not data:
                raise PublishFailed("the server closed the publisher's connection")
            text = self._tail + data
            self.answers += text.count(_ANSWER) - self._tail.count(_ANSWER)
            if (at := text.find(self._refusal)) >= 0:
                raise PublishFailed(repr(text[at : at + 400]))
            self._tail = text[-max(len(self._refusal), len(_ANSWER)) + 1 :]

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


class Spread:
    """Several publishers that take turns, an order each."""

    def __init__(self, publishers: Sequence[Publisher]) -> None:
        self._publishers = publishers
        self._turn = cycle(publishers)

    def publish(self, order: Order) -> None:
        next(self._turn).publish(order)

    def poll(self) -> None:
        for publisher in self._publishers:
            publisher.poll()

    def close(self) -> None:
        for publisher in self._publishers:
            publisher.close()


def data(pad: int, at: int) -> dict[str, str]:
    """The data of an event that fell due at `at`."""
    return {"at": f"{at:020}", "pad": "x" * pad}


def ids(rooms: Sequence[str]) -> dict[str, Any]:
    """The fields that route an event to `rooms`: `circle:7` is `circle_id` 7."""
    return {f"{kind}_id": int(name) for kind, _, name in (room.partition(":") for room in rooms)}


def event(pad: int, rooms: Sequence[str], at: int) -> dict[str, object]:
    """An event as a publisher writes it."""
    return {"type": "task.completed", "data": data(pad, at), **ids(rooms)}


def post(path: str, body: bytes, headers: str = "") -> bytes:
    """An HTTP request on a connection that stays open."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def batch(order: Order, headers: str = "") -> bytes:
    """A `POST /events/batch` with the events of an order."""
    return post("/events/batch", compact({"events": [order.event()] * order.count}), headers)


def compact(value: object) -> bytes:
    """`value` as JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()
