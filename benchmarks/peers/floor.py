"""The kernel's floor: a loop of bare `send`, in C where there is a compiler."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.frames import upgrade
from benchmarks.load.fleet import Dialogue
from benchmarks.load.publisher import LinePublisher, Publisher
from benchmarks.load.receiver import compile_c, compiler
from benchmarks.peers.base import SERVERS, printed, python_server
from benchmarks.process import Server, free_port


class Floor:
    """No protocol, no index, no backpressure: frames made once, one `send` a socket with all frames of an order."""

    name = "floor"
    title = "bare `send` loop, the floor"
    unit_is_message = True
    has_rooms = False

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        cc = compiler()
        return f"C, {printed(cc, '--version')}" if cc else "Python, for want of a C compiler"

    @contextlib.contextmanager
    def start(self, core: int) -> Iterator[Server]:
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
            program = Path(folder, "floor")
            built = compile_c(SERVERS / "floor.c", program, ("-Wall",))
            with (
                Server([str(program), str(port)], port, core) if built else python_server("floor", port, core) as server
            ):
                yield server

    def dialogue(self, server: Server, rooms: Sequence[str], number: int) -> Dialogue:
        return Dialogue(upgrade("/", server.port))

    def publisher(self, server: Server) -> Publisher:
        return LinePublisher(server.stdin)
