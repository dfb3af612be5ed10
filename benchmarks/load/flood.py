"""Floods of one tenant, each from a process of its own beside the measurement: more than the server can do.

The process has the lowest priority, so that it never delays the quiet tenant's client on the same core.
"""

import contextlib
import json
import multiprocessing
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Final

from benchmarks.load.fleet import ConnectFailed, Dialogue, Fleet
from benchmarks.load.publisher import Order, batch
from benchmarks.load.receiver import Receivers

ALL: Final = 1 << 62
CONNECT: Final = 1_000
SUBSCRIBERS: Final = 5_000
BATCH: Final = 1_000
_REFUSED: Final = b'"code":'

Flood = Callable[[int, Receivers, Connection], None]
"""A flood of the server at a port. It sends one message once it flows, and runs until its process is ended."""


@contextlib.contextmanager
def flooding(core: int, flood: Flood, port: int, receivers: Receivers) -> Iterator[Connection]:
    """A flood in a process of its own on `core`, from the moment at which it flows. Yields what it sends afterwards."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=_run, args=(core, flood, port, receivers, theirs), daemon=True
    )
    process.start()
    theirs.close()
    try:
        if not ours.poll(60.0):
            raise ConnectFailed("the flood does not flow")
        ours.recv()
        yield ours
    finally:
        process.kill()
        process.join()
        ours.close()


def _run(core: int, flood: Flood, port: int, receivers: Receivers, pipe: Connection) -> None:
    os.sched_setaffinity(0, {core})
    os.nice(19)
    flood(port, receivers, pipe)


class Batches:
    """A flood of batches: of each tenant, its requests over so many connections, each after the answer to the last.

    Sends the number of events accepted of each tenant, second by second.
    """

    def __init__(self, tenants: dict[str, tuple[int, bytes, int]]) -> None:
        """By tenant: its connections, its request, and the events in it."""
        self._tenants = tenants
        self._accepted = dict.fromkeys(tenants, 0)

    def __call__(self, port: int, receivers: Receivers, pipe: Connection) -> None:
        for tenant, (connections, request, events) in self._tenants.items():
            for _ in range(connections):
                threading.Thread(target=self._post, args=(port, tenant, request, events), daemon=True).start()
        time.sleep(0.5)
        before = dict(self._accepted)
        pipe.send(None)
        while True:
            time.sleep(1.0)
            now = dict(self._accepted)
            pipe.send({tenant: now[tenant] - before[tenant] for tenant in now})
            before = now

    def _post(self, port: int, tenant: str, request: bytes, events: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            while True:
                connection.sendall(request)
                head, _, body = _head(connection)
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
                while len(body) < length:
                    body += connection.recv(1 << 18)
                if b" 202 " in head[:16] and _REFUSED not in body:
                    self._accepted[tenant] += events


def _head(connection: socket.socket) -> tuple[bytes, bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed a publisher's connection")
        received += data
    return received.partition(b"\r\n\r\n")


class Connects:
    """A flood of connections: a thousand at once, read for `seconds`, aborted, and again."""

    def __init__(self, dialogue: Callable[[int, int], Dialogue], seconds: float) -> None:
        """`dialogue` gets the port and the number of a connection."""
        self._dialogue = dialogue
        self._seconds = seconds

    def __call__(self, port: int, receivers: Receivers, pipe: Connection) -> None:
        dialogues = [self._dialogue(port, number) for number in range(CONNECT)]
        pipe.send(None)
        while True:
            with contextlib.closing(receivers.make(CONNECT)) as receiver, Fleet(port, receiver) as fleet:
                fleet.connect(CONNECT, dialogues.__getitem__, in_flight=CONNECT)
                receiver.drain(ALL, self._seconds)


class Room:
    """A flood of one room: events to all of its subscribers, as fast as they are taken."""

    def __init__(self, dialogue: Callable[[int, int], Dialogue], headers: str, rooms: Sequence[str]) -> None:
        self._dialogue = dialogue
        self._headers = headers
        self._rooms = rooms

    def __call__(self, port: int, receivers: Receivers, pipe: Connection) -> None:
        with contextlib.closing(receivers.make(SUBSCRIBERS)) as receiver, Fleet(port, receiver) as fleet:
            fleet.connect(SUBSCRIBERS, lambda number: self._dialogue(port, number))
            threading.Thread(target=self._publish, args=(port,), daemon=True).start()
            receiver.drain(ALL, 1.0)
            pipe.send(None)
            receiver.drain(ALL, 3600.0)

    def _publish(self, port: int) -> None:
        request = batch(Order.now(16, 80, self._rooms), self._headers)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            while True:
                connection.sendall(request)
                _head(connection)


def oldest_cursor(port: int, room: str, token: str) -> str:
    """The cursor of the oldest event that is kept of a room."""
    url = f"http://127.0.0.1:{port}/rooms/{room}/events?limit=1"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - of the server under test
        return str(json.load(answer)["cursor"])
