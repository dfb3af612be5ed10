"""python-socketio with its Redis manager."""

from collections.abc import Sequence

from benchmarks.frames import masked, upgrade
from benchmarks.load.fleet import Dialogue
from benchmarks.load.publisher import Publisher, SocketPublisher, batch
from benchmarks.peers.base import CACHE, INSTALL, package_version, python_server
from benchmarks.peers.cluster import OnRedis
from benchmarks.process import Server, free_port


class PythonSocketIO(OnRedis):
    """WebSocket only, without tokens; a bare ASGI route beside it emits what is posted, with its own rooms."""

    name = "python-socketio"
    title = "python-socketio, 2 nodes on Redis"
    unit_is_message = True
    has_rooms = True

    def missing(self) -> str | None:
        return super().missing() or (None if (CACHE / "python" / "socketio").is_dir() else f"`{INSTALL}`")

    def version(self) -> str:
        versions = [f"{name} {package_version(name)}" for name in ("python-socketio", "uvicorn")]
        return ", ".join([*versions, "uvloop", f"redis-py {package_version('redis')}"])

    def node(self, core: int, redis: str) -> Server:
        return python_server("pysocketio", free_port(), core, {"BENCH_REDIS": redis})

    def dialogue(self, server: Server, rooms: Sequence[str], number: int) -> Dialogue:
        path = f"/socket.io/?EIO=4&transport=websocket&rooms={','.join(rooms)}"
        return Dialogue(upgrade(path, server.port), hello=masked(b"40"), ready=b'40{"sid"')

    def publisher(self, server: Server) -> Publisher:
        return SocketPublisher(server.port, batch, refusal=b"HTTP/1.1 5")
