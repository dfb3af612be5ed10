"""Socket options and TCP_INFO that asyncio does not expose."""

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from gateway.core.addresses import UNIX_PEER
from gateway.core.connection import Connection
from gateway.core.frame import Batch

try:
    import fcntl
    import termios
except ImportError:  # Windows
    _can_ask = False
else:
    _can_ask = hasattr(termios, "TIOCOUTQ")

UNSENT_BYTES: Final = 4 * 1024
"""Unsent bytes that the kernel buffers for a new connection (TCP_NOTSENT_LOWAT): 0.4 s of a line of 10 kB/s. By
default it buffers up to 4 MB for a client that does not read, and reports the socket writable again only once a third
of that has gone."""

_ACKNOWLEDGED: Final = struct.Struct("120x Q")
"""The position of `bytes_acked` in Linux's `struct tcp_info` (include/uapi/linux/tcp.h), since 4.1."""

_MIN_RTT: Final = struct.Struct("148x I")
"""The position of `min_rtt` in it, in microseconds, since 4.7."""

_SO_BUF_LOCK: Final = 72
"""Linux's, since 5.15: 0 lets the kernel choose the size of a buffer again, after a SO_SNDBUF."""

_NO_LINGER: Final = struct.pack("ii", 1, 0) if sys.platform != "win32" else struct.pack("hh", 1, 0)


def limit_unsent(sock: Any, size: int) -> None:
    """Bound the kernel's buffer of unsent bytes of a socket; that of a listener is for every connection that it
    accepts."""
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with suppress(OSError, ValueError):  # not TCP, or closed meanwhile
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)


def limit_outstanding(sock: Any, size: int | None) -> None:
    """Bound what the kernel keeps of a socket's bytes, unsent or not acknowledged. None: no bound but the kernel's
    own."""
    if sys.platform == "linux":
        with suppress(OSError, ValueError):  # closed meanwhile, or an old kernel, which would not forget the bound
            sock.setsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK, 0)
            if size is not None:  # the kernel doubles it, for what it needs besides
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def fd_of(transport: asyncio.Transport) -> int | None:
    """The descriptor of a socket that plain bytes may be written to; None for TLS."""
    sock = transport.get_extra_info("socket")
    if sys.platform == "win32" or sock is None or transport.get_extra_info("sslcontext") is not None:
        return None
    fd: int = sock.fileno()
    return fd


def peer_of(transport: asyncio.Transport) -> str:
    """The peer's address; `UNIX_PEER` for a Unix socket, "unknown" once the socket is closed."""
    if peer := transport.get_extra_info("peername"):
        address: str = peer[0]
        return address
    sock = transport.get_extra_info("socket")
    unix = sock is not None and sock.family == getattr(socket, "AF_UNIX", None)
    return UNIX_PEER if unix else "unknown"


def peer_of_socket(sock: socket.socket) -> str:
    """The peer's address of a connected socket without a transport."""
    try:
        peer = sock.getpeername()
    except OSError:  # reset meanwhile
        return "unknown"
    address: str = peer[0] if isinstance(peer, tuple) else UNIX_PEER
    return address


def write_batch_to_fds(batch: Batch, by_fd: Mapping[int, Connection]) -> None:
    """A `BatchWriter` that writes to the sockets directly; after a short write the transport gets the rest.

    The loop is minimal, since little Python fits into the instruction cache beside the kernel's write(). Each
    os.write() releases the GIL; a CPU-bound thread would then hold it for up to 5 ms (the switch interval), so this is
    for processes without such threads.
    """
    wire, size, write = batch.wire, len(batch.wire), os.write
    short: list[tuple[int, int]] = []
    for fd in by_fd:
        try:
            if (sent := write(fd, wire)) != size:
                short.append((fd, sent))
        except OSError:  # full; or broken, which the transport will notice
            short.append((fd, 0))
    for fd, sent in short:
        by_fd[fd].write(batch.rest(sent))


def send_record(fd: int, data: bytes | memoryview) -> int:
    """Send bytes to which the kernel appends no later ones (MSG_EOR); returns how many it took. It appends up to 64 KiB
    to what is unsent, and only then looks at its limits."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fd)
    try:
        return sock.send(data, socket.MSG_EOR | socket.MSG_DONTWAIT)
    except OSError:  # full; or broken, which the transport will notice
        return 0
    finally:
        sock.detach()


def unacked_bytes(transport: asyncio.Transport) -> int:
    """Bytes that the kernel holds and the peer has not acknowledged; 0 where that is unknown."""
    return known_unacked_bytes(transport) or 0


def known_unacked_bytes(transport: asyncio.Transport) -> int | None:
    """The same; None where it is unknown. After a reset by the peer it is still right."""
    sock = transport.get_extra_info("socket")
    if not _can_ask or sock is None:
        return None
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    except (OSError, ValueError):  # closed meanwhile
        return None


def acked_bytes(transport: asyncio.Transport) -> int:
    """Bytes that the peer's kernel has acknowledged since the beginning; 0 where that is unknown."""
    return _of_tcp_info(transport, _ACKNOWLEDGED)


def min_rtt(transport: asyncio.Transport) -> float:
    """The recent minimum of the round-trip time, in seconds; 0 where that is unknown."""
    return _of_tcp_info(transport, _MIN_RTT) / 1e6


def _of_tcp_info(transport: asyncio.Transport, member: struct.Struct) -> int:
    sock = transport.get_extra_info("socket")
    if sock is None or sys.platform != "linux":
        return 0
    try:
        (value,) = member.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, member.size))
    except (OSError, ValueError, struct.error):  # not TCP, closed meanwhile, or an old kernel
        return 0
    return int(value)


def abort_with_rst(transport: asyncio.Transport) -> None:
    """Abort the connection with a RST. Without it the kernel goes on to deliver its buffer for minutes, also to a
    client whose token was revoked, and keeps the memory of one that reads nothing."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError, ValueError):  # not TCP, or closed meanwhile
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
