"""Links between a client and a gateway that go dead without a word."""

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.support.pauses import PATIENCE

_NEW_NET = 0x40000000
_SERVER, _CLIENT = "10.203.77.1", "10.203.77.2"
"""The addresses of two namespaces with nothing in them but a link between the two."""


class VethLink:
    """A virtual Ethernet link between two network namespaces that nothing else is in."""

    def __init__(self, name: str) -> None:
        self._here, self._there = f"{name}a", f"{name}b"

    def listener(self) -> socket.socket:
        def make() -> socket.socket:
            listener = socket.socket(proto=socket.IPPROTO_TCP)
            listener.bind((_SERVER, 0))
            return listener

        return _within(self._here, make)

    def connect(self, port: int) -> socket.socket:
        """A connection over the link."""
        return _within(self._there, lambda: socket.create_connection((_SERVER, port), 5))

    def connect_beside(self, port: int) -> socket.socket:
        """A connection that does not take the link."""
        return _within(self._here, lambda: socket.create_connection((_SERVER, port), 5))

    def cut(self) -> None:
        _run("ip", "netns", "exec", self._there, "ip", "link", "set", f"{self._there}v", "down")

    def mend(self) -> None:
        _run("ip", "netns", "exec", self._there, "ip", "link", "set", f"{self._there}v", "up")


@contextmanager
def veth_link() -> Iterator[VethLink | None]:
    """None where this machine does not let us lay one."""
    name = f"gw{os.getpid() % 100_000}"
    a, b = f"{name}a", f"{name}b"
    try:
        try:
            for each in (a, b):
                _run("ip", "netns", "add", each)
            _run("ip", "link", "add", f"{a}v", "netns", a, "type", "veth", "peer", "name", f"{b}v", "netns", b)
            for each, address in ((a, _SERVER), (b, _CLIENT)):
                _run("ip", "-n", each, "addr", "add", f"{address}/30", "dev", f"{each}v")
                _run("ip", "-n", each, "link", "set", f"{each}v", "up")
                _run("ip", "-n", each, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError):
            yield None
        else:
            yield VethLink(name)
    finally:
        for each in (a, b):
            _quietly("ip", "netns", "del", each)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)


def _quietly(*command: str) -> None:
    with suppress(OSError):
        subprocess.run(command, check=False, capture_output=True, timeout=PATIENCE)


def _within(namespace: str, make: Callable[[], socket.socket]) -> socket.socket:
    """The result of `make`, called in a thread inside the namespace: it belongs to the namespace on any thread; this
    one ends with the call."""
    made: list[Any] = []

    def work() -> None:
        try:
            with open(f"/var/run/netns/{namespace}") as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _NEW_NET):
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(make())
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    sock: socket.socket = made[0]
    return sock
