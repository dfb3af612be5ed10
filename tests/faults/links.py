"""Links between a client and a gateway, each end in a network namespace of its own: one that goes dead without a word,
and one with a round-trip time and a rate."""

import ctypes
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from tests.faults import carrier
from tests.support.pauses import PATIENCE

T = TypeVar("T")

_NEW_NET = 0x40000000
_SERVER, _CLIENT = "10.203.77.1", "10.203.77.2"
"""The addresses of two namespaces with nothing in them but a link between the two."""


class Link:
    """A link between two network namespaces that nothing else is in."""

    def __init__(self, here: str, there: str) -> None:
        self._here, self._there = here, there

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


class VethLink(Link):
    """A virtual Ethernet link."""

    def cut(self) -> None:
        _run("ip", "netns", "exec", self._there, "ip", "link", "set", f"{self._there}v", "down")

    def mend(self) -> None:
        _run("ip", "netns", "exec", self._there, "ip", "link", "set", f"{self._there}v", "up")


@contextmanager
def veth_link() -> Iterator[VethLink | None]:
    """None where this machine does not let us lay one."""
    with _namespaces() as (a, b):
        try:
            _add(a, b)
            _run("ip", "link", "add", f"{a}v", "netns", a, "type", "veth", "peer", "name", f"{b}v", "netns", b)
            _address(a, b)
        except (OSError, subprocess.CalledProcessError):
            yield None
            return
        yield VethLink(a, b)


@contextmanager
def long_link(rtt: float, rate: float, queue: int) -> Iterator[Link | None]:
    """A link with a round-trip time of `rtt` seconds, which carries `rate` bytes a second to the client and drops what
    comes while `queue` bytes wait. None where this machine does not let us lay one."""
    with _namespaces() as (a, b):
        try:
            _add(a, b)
            ends = [_within(each, partial(carrier.tun_device, f"{each}v")) for each in (a, b)]
            _address(a, b)
        except (OSError, subprocess.CalledProcessError):
            yield None
            return
        arguments = [str(each) for each in (*ends, rtt, rate, queue)]
        process = subprocess.Popen([sys.executable, carrier.__file__, *arguments], stdin=subprocess.PIPE, pass_fds=ends)
        try:
            yield Link(a, b)
        finally:
            process.communicate()
            for end in ends:
                os.close(end)


@contextmanager
def _namespaces() -> Iterator[tuple[str, str]]:
    """Two names for namespaces, which are removed in the end."""
    name = f"gw{os.getpid() % 100_000}"
    names = (f"{name}a", f"{name}b")
    try:
        yield names
    finally:
        for each in names:
            _quietly("ip", "netns", "del", each)


def _add(*namespaces: str) -> None:
    for each in namespaces:
        _run("ip", "netns", "add", each)


def _address(a: str, b: str) -> None:
    """Give the devices at both ends their addresses, and set them up."""
    for each, address in ((a, _SERVER), (b, _CLIENT)):
        _run("ip", "-n", each, "addr", "add", f"{address}/30", "dev", f"{each}v")
        _run("ip", "-n", each, "link", "set", f"{each}v", "up", "txqueuelen", "10000")
        _run("ip", "-n", each, "link", "set", "lo", "up")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)


def _quietly(*command: str) -> None:
    with suppress(OSError):
        subprocess.run(command, check=False, capture_output=True, timeout=PATIENCE)


def _within(namespace: str, make: Callable[[], T]) -> T:
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
    result: T = made[0]
    return result
