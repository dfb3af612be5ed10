"""uWebSockets (C++), through its Python binding socketify."""

from collections.abc import Sequence

from benchmarks.frames import upgrade
from benchmarks.load.fleet import Dialogue
from benchmarks.load.publisher import Order, Publisher, SocketPublisher
from benchmarks.peers.base import CACHE, INSTALL, package_version, python_server
from benchmarks.process import Server, free_port


def _order(order: Order) -> bytes:
    path = f"/publish/{order.count}/{order.pad}/{order.at}/{','.join(order.rooms)}"
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


class UWebSockets:
    """Its own topics. Ordered over HTTP, which costs it little; each order is published in one turn."""

    name = "uws"
    title = "uWebSockets (socketify)"
    unit_is_message = True
    has_rooms = True

    def missing(self) -> str | None:
        return None if (CACHE / "python" / "socketify").is_dir() else f"`{INSTALL}`"

    def version(self) -> str:
        return f"socketify {package_version('socketify')}"

    def start(self, core: int) -> Server:
        return python_server("uws", free_port(), core)

    def dialogue(self, server: Server, rooms: Sequence[str], number: int) -> Dialogue:
        return Dialogue(upgrade(f"/?rooms={','.join(rooms)}", server.port))

    def publisher(self, server: Server) -> Publisher:
        return SocketPublisher(server.port, _order, refusal=b"HTTP/1.1 4")
