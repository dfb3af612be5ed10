"""Counts what thousands of connections receive: in C, built at run time where there is a compiler, else in Python.

Both do the same: epoll, `recv` into one buffer, walk the frames' headers, count, answer pings. The C one adds little to
what the kernel takes for each chunk that arrives, so that the load's core has time to spare while the server's is full.
"""

import ctypes
import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from benchmarks.frames import masked, server_header

LATENCIES: Final = 4_000_000
"""The number of latencies that are kept until the next reset; later ones are dropped."""

_source = Path(__file__).with_name("receiver.c")
_mark = re.compile(rb'"at":"(\d{20})')
_BUFFER: Final = 1 << 20
_PONG: Final = 0xA
_PING: Final = 0x9


class Receiver(Protocol):
    """Connections are known by the numbers that `add` gives out, from 0.

    What is counted depends on `reset(unit)`: with 0 the messages; otherwise the units of so many payload bytes, for a
    server that puts several events into one frame.
    """

    kind: str

    def add(self, connection: socket.socket, sampled: bool) -> int:
        """Take in a connection past its handshake. Of a sampled one the latencies are kept: of each `"at":"<20 digits>`
        that it receives, which is the monotonic clock at publishing, in nanoseconds."""

    def watch(self, index: int, on: bool) -> None:
        """Read from a connection, or leave it unread."""

    def feed(self, index: int, data: bytes) -> None:
        """Count bytes that other code read from a connection."""

    def reset(self, unit: int) -> None:
        """Count from 0 again, in units of so many bytes, or messages; forget the latencies."""

    def drain(self, target: int, seconds: float) -> int:
        """Receive until `target` are counted in all, or for `seconds`. Returns the count."""

    @property
    def total(self) -> int:
        """The count so far."""

    @property
    def payload(self) -> int:
        """The payload bytes of all messages so far."""

    @property
    def closed(self) -> int:
        """The number of connections that the server has closed."""

    def frames(self, index: int) -> int:
        """The messages that one connection received."""

    def latencies(self) -> list[float]:
        """Seconds from publishing to receipt, sorted."""

    def close(self) -> None:
        """Release its resources, but not the connections."""


class CReceiver:
    """The receiver in C."""

    kind = "C"

    def __init__(self, library: ctypes.CDLL, capacity: int) -> None:
        self._library = library
        self._r = ctypes.c_void_p(library.receiver_new(capacity, ctypes.c_uint64(LATENCIES)))

    def add(self, connection: socket.socket, sampled: bool) -> int:
        index = int(self._library.receiver_add(self._r, connection.fileno(), int(sampled)))
        assert index >= 0, "more connections than the receiver was made for"
        return index

    def watch(self, index: int, on: bool) -> None:
        self._library.receiver_watch(self._r, index, int(on))

    def feed(self, index: int, data: bytes) -> None:
        self._library.receiver_feed(self._r, index, data, ctypes.c_size_t(len(data)))

    def reset(self, unit: int) -> None:
        self._library.receiver_reset(self._r, ctypes.c_uint64(unit))

    def drain(self, target: int, seconds: float) -> int:
        timeout = ctypes.c_int64(int(seconds * 1e9))
        return int(self._library.receiver_drain(self._r, ctypes.c_uint64(target), timeout))

    @property
    def total(self) -> int:
        return int(self._library.receiver_total(self._r))

    @property
    def payload(self) -> int:
        return int(self._library.receiver_payload(self._r))

    @property
    def closed(self) -> int:
        return int(self._library.receiver_closed(self._r))

    def frames(self, index: int) -> int:
        return int(self._library.receiver_frames(self._r, index))

    def latencies(self) -> list[float]:
        count = self._library.receiver_latency_count(self._r)
        return sorted(value / 1e9 for value in self._library.receiver_latencies(self._r)[:count])

    def close(self) -> None:
        if self._r:
            os.close(self._library.receiver_epoll(self._r))
            self._library.receiver_free(self._r)
            self._r = ctypes.c_void_p()


class _Counted:
    """The counts of one connection in the Python receiver."""

    __slots__ = ("frames", "payload", "rest", "sampled", "socket", "tail")

    def __init__(self, connection: socket.socket, sampled: bool) -> None:
        self.socket = connection
        self.sampled = sampled
        self.frames = 0
        self.payload = 0
        self.rest = b""
        self.tail = b""


class PythonReceiver:
    """The receiver in Python, for machines without a C compiler."""

    kind = "Python"

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._counted: list[_Counted] = []
        self._by_fd: dict[int, _Counted] = {}
        self._unit = 0
        self._latencies: list[float] = []
        self.total = 0
        self.payload = 0
        self.closed = 0

    def add(self, connection: socket.socket, sampled: bool) -> int:
        counted = _Counted(connection, sampled)
        self._counted.append(counted)
        self._by_fd[connection.fileno()] = counted
        return len(self._counted) - 1

    def watch(self, index: int, on: bool) -> None:
        fd = self._counted[index].socket.fileno()
        if on:
            self._epoll.register(fd, select.EPOLLIN)
        else:
            self._epoll.unregister(fd)

    def feed(self, index: int, data: bytes) -> None:
        self._take(self._counted[index], data)

    def reset(self, unit: int) -> None:
        self._unit = unit
        self._latencies = []
        self.total = self.payload = 0
        for counted in self._counted:
            counted.frames = counted.payload = 0

    def drain(self, target: int, seconds: float) -> int:
        deadline = time.monotonic() + seconds
        while self.total < target:
            left = max(0.0, deadline - time.monotonic())
            for fd, _ in self._epoll.poll(left, 512):
                counted = self._by_fd[fd]
                try:
                    size = counted.socket.recv_into(self._buffer)
                except BlockingIOError:
                    continue
                except OSError:
                    size = 0
                if size:
                    self._take(counted, bytes(self._view[:size]))
                else:
                    self._epoll.unregister(fd)
                    self.closed += 1
            if not left:
                break
        return self.total

    def frames(self, index: int) -> int:
        return self._counted[index].frames

    def latencies(self) -> list[float]:
        return sorted(self._latencies)

    def close(self) -> None:
        self._epoll.close()

    def _take(self, counted: _Counted, data: bytes) -> None:
        if counted.sampled:
            self._sample(counted, data)
        buffer = counted.rest + data if counted.rest else data
        at, before = 0, counted.payload
        while header := server_header(buffer, at):
            start, size = header
            if len(buffer) < start + size:
                break
            opcode = buffer[at] & 0x0F
            if opcode < 8:
                counted.payload += size
                if buffer[at] & 0x80:
                    counted.frames += 1
                    self.total += not self._unit
            elif opcode == _PING:
                counted.socket.send(masked(buffer[start : start + size], _PONG))
            at = start + size
        counted.rest = buffer[at:]
        self.payload += counted.payload - before
        if self._unit:
            self.total += counted.payload // self._unit - before // self._unit

    def _sample(self, counted: _Counted, data: bytes) -> None:
        received = time.monotonic_ns()
        text, end = counted.tail + data, 0
        for match in _mark.finditer(text):
            end = match.end()
            if len(self._latencies) < LATENCIES:
                self._latencies.append((received - int(match[1])) / 1e9)
        counted.tail = text[max(end, len(text) - 25) :]


class Receivers:
    """Makes receivers of the best kind there is. A context manager, since the built library is a file."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-bench-")
        self._library = _build(Path(self._folder.name))

    def __enter__(self) -> "Receivers":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @property
    def kind(self) -> str:
        """`C` or `Python`."""
        return CReceiver.kind if self._library else PythonReceiver.kind

    def make(self, capacity: int) -> Receiver:
        """A receiver for at most `capacity` connections."""
        return CReceiver(self._library, capacity) if self._library else PythonReceiver()


def compiler() -> str | None:
    """The path of a C compiler."""
    return shutil.which("cc") or shutil.which("gcc")


def compile_c(source: Path, target: Path, options: Sequence[str] = ()) -> bool:
    """Whether `source` could be made into `target`."""
    cc = compiler()
    return cc is not None and subprocess.run([cc, "-O2", *options, "-o", target, source], check=False).returncode == 0


def _build(folder: Path) -> ctypes.CDLL | None:
    target = folder / "receiver.so"
    if not compile_c(_source, target, ("-shared", "-fPIC", "-Wall")):
        return None
    library = ctypes.CDLL(str(target))
    library.receiver_new.restype = ctypes.c_void_p
    for name in ("drain", "total", "payload", "closed", "frames", "latency_count"):
        getattr(library, f"receiver_{name}").restype = ctypes.c_uint64
    library.receiver_latencies.restype = ctypes.POINTER(ctypes.c_int64)
    return library
