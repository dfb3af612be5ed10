"""The interface of a peer: a server that can be started, connected to and published to."""

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from benchmarks.load.fleet import Dialogue
from benchmarks.load.publisher import Publisher
from benchmarks.process import Server

FOLDER: Final = Path(__file__).resolve().parent.parent
CACHE: Final = FOLDER / ".cache"
"""The folder in which `python -m benchmarks --install` installs the peers."""
SERVERS: Final = FOLDER / "servers"
INSTALL: Final = "python -m benchmarks --install"


class Peer(Protocol):
    """A server in one configuration: production settings, no compression, no token but for the gateway itself.

    Rooms are `circle:<n>` and `project:<n>`; a peer maps them on what it has.
    """

    name: str
    """The name for `--peers`."""
    title: str
    """The title in tables, with the place of its publisher."""
    unit_is_message: bool
    """Whether every event is a WebSocket message of its own; else events are counted by their bytes."""
    has_rooms: bool
    """Whether an event reaches only the subscribers of its rooms."""

    def missing(self) -> str | None:
        """None, or how to install what it needs."""

    def version(self) -> str:
        """Name and version of what is measured."""

    def start(self, core: int) -> AbstractContextManager[Server]:
        """The server, pinned to a core."""

    def dialogue(self, server: Server, rooms: Sequence[str], number: int) -> Dialogue:
        """The dialogue in which client `number` connects and subscribes to `rooms`."""

    def publisher(self, server: Server) -> Publisher:
        """The cheapest way in that the peer offers."""


def python_server(module: str, port: int, core: int, env: Mapping[str, str] | None = None) -> Server:
    """One of the modules in `servers`, started with `port` by the Python that runs the benchmarks."""
    command = [sys.executable, "-m", f"benchmarks.servers.{module}", str(port)]
    path = os.pathsep.join([str(FOLDER.parent), str(CACHE / "python")])
    return Server(command, port, core, {"PYTHONPATH": path, **(env or {})})


def package_version(name: str) -> str:
    """The version of an installed Python distribution; also of one in the cache."""
    for found in importlib.metadata.distributions(name=name, path=[str(CACHE / "python"), *sys.path]):
        return found.version
    return "?"


def printed(*command: str) -> str:
    """The first line that a command prints, on either output."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return ((result.stdout or result.stderr).strip().splitlines() or [""])[0]
