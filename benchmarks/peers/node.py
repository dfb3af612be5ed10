"""`ws` and Socket.IO on Node.js."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.frames import masked, upgrade
from benchmarks.load.fleet import Dialogue
from benchmarks.load.publisher import LinePublisher, Publisher
from benchmarks.peers.base import CACHE, INSTALL, SERVERS, printed
from benchmarks.process import Server, free_port


class _Node:
    """A server script run by Node, which publishes from inside."""

    unit_is_message = True
    has_rooms = True
    package: str
    script: str

    def missing(self) -> str | None:
        if shutil.which("node") is None:
            return "install Node.js 18 or newer with npm"
        return None if self._manifest().is_file() else f"`{INSTALL}`"

    def version(self) -> str:
        version = json.loads(self._manifest().read_text())["version"]
        return f"{self.package} {version}, Node {printed('node', '--version').lstrip('v')}"

    def start(self, core: int) -> Server:
        port = free_port()
        command = ["node", str(SERVERS / self.script), str(port)]
        return Server(command, port, core, {"NODE_PATH": str(CACHE / "node_modules"), "NODE_ENV": "production"})

    def publisher(self, server: Server) -> Publisher:
        return LinePublisher(server.stdin)

    def _manifest(self) -> Path:
        return CACHE / "node_modules" / self.package / "package.json"


class Ws(_Node):
    """The `ws` package: rooms are a Map of Sets, an event is encoded once and sent to each socket of the set."""

    name = "ws"
    title = "`ws` (Node)"
    package = "ws"
    script = "ws.js"

    def dialogue(self, server: Server, rooms: Sequence[str], number: int) -> Dialogue:
        return Dialogue(upgrade(f"/?rooms={','.join(rooms)}", server.port))


class SocketIO(_Node):
    """Socket.IO, WebSocket only, with its own rooms and broadcast."""

    name = "socketio"
    title = "Socket.IO (Node)"
    package = "socket.io"
    script = "socketio.js"

    def dialogue(self, server: Server, rooms: Sequence[str], number: int) -> Dialogue:
        path = f"/socket.io/?EIO=4&transport=websocket&rooms={','.join(rooms)}"
        return Dialogue(upgrade(path, server.port), hello=masked(b"40"), ready=b'40{"sid"')
