"""nats-server (Go), its WebSocket listener."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.frames import BINARY, masked, upgrade
from benchmarks.load.fleet import Dialogue
from benchmarks.load.publisher import Order, Publisher, SocketPublisher, compact
from benchmarks.peers.base import CACHE, INSTALL, printed
from benchmarks.process import Server, free_port

_CONFIG = """
listen: 127.0.0.1:{tcp}
max_connections: 65536
websocket {{ listen: "127.0.0.1:{port}", no_tls: true, compression: false }}
"""
_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"lang":"bench","version":"1"}\r\n'


def _subject(room: str) -> str:
    """The kind's first letter and the id: as long for circles as for projects, since events are counted by bytes."""
    kind, _, name = room.partition(":")
    return f"{kind[0]}.{name}"


def _publish(order: Order) -> bytes:
    body = compact(order.event())
    rooms = [_subject(room).encode() for room in order.rooms]
    return b"".join(b"PUB %s %d\r\n%s\r\n" % (room, len(body), body) for room in rooms) * order.count


class Nats:
    """Subjects for rooms; published over its TCP protocol, in one write. An event of two rooms is published twice.

    It joins what waits for a client into one WebSocket message, so its events are counted by their bytes, protocol line
    included.
    """

    name = "nats"
    title = "nats-server (WebSocket)"
    unit_is_message = False
    has_rooms = True

    def missing(self) -> str | None:
        return None if self._binary() else f"`{INSTALL}`"

    def version(self) -> str:
        return printed(str(self._binary()), "--version").replace(": v", " ")

    @contextlib.contextmanager
    def start(self, core: int) -> Iterator[Server]:
        port, tcp = free_port(), free_port()
        with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
            config = Path(folder, "nats.conf")
            config.write_text(_CONFIG.format(tcp=tcp, port=port))
            with Server([str(self._binary()), "--config", str(config)], port, core) as server:
                self._tcp_ports[server.port] = tcp
                yield server

    def dialogue(self, server: Server, rooms: Sequence[str], number: int) -> Dialogue:
        subscriptions = "".join(f"SUB {_subject(room)} {sid}\r\n" for sid, room in enumerate(rooms, 1))
        hello = _CONNECT + subscriptions.encode() + b"PING\r\n"
        return Dialogue(upgrade("/", server.port), masked(hello, BINARY), ready=b"PONG\r\n")

    def publisher(self, server: Server) -> Publisher:
        return SocketPublisher(self._tcp_ports[server.port], _publish, refusal=b"-ERR", greeting=_CONNECT)

    def __init__(self) -> None:
        self._tcp_ports: dict[int, int] = {}

    @staticmethod
    def _binary() -> Path | None:
        folders = [str(CACHE / "python" / "bin"), *os.get_exec_path()]
        return next((found for folder in folders if (found := Path(folder, "nats-server")).is_file()), None)
