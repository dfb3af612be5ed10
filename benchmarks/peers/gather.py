"""The ordinary way: FastAPI, and `asyncio.gather` over `send_json` to every client."""

from collections.abc import Sequence

from benchmarks.frames import upgrade
from benchmarks.load.fleet import Dialogue
from benchmarks.load.publisher import LinePublisher, Publisher
from benchmarks.peers.base import package_version, python_server
from benchmarks.process import Server, free_port


class Gather:
    """Published from inside its process; no rooms, every client gets everything."""

    name = "gather"
    title = "FastAPI `gather(send_json)`"
    unit_is_message = True
    has_rooms = False

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        return f"FastAPI {package_version('fastapi')}, uvicorn {package_version('uvicorn')}, uvloop"

    def start(self, core: int) -> Server:
        return python_server("gather", free_port(), core)

    def dialogue(self, server: Server, rooms: Sequence[str], number: int) -> Dialogue:
        path = f"/ws/dashboard?client_id=client-{number}"
        return Dialogue(upgrade(path, server.port), ready=b"connection.established")

    def publisher(self, server: Server) -> Publisher:
        return LinePublisher(server.stdin)
