"""What the kernel holds of a TCP connection, which no event loop tells."""

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

try:
    import fcntl
    import termios
except ImportError:  # Windows
    _can_ask = False
else:
    _can_ask = hasattr(termios, "TIOCOUTQ")

UNSENT_BYTES: Final = 128 * 1024
"""What the kernel takes ahead of what a client's window lets through. Left alone it takes up to 4 MB of a client that
does not read, and says that it has room again only once a third of it has gone: to a reader of 10 kB/s, never in time.
"""

_NO_LINGER: Final = struct.pack("ii", 1, 0) if sys.platform != "win32" else struct.pack("hh", 1, 0)


def limit_unsent(listener: socket.socket) -> None:
    """Make the kernel take less ahead, for every connection that the listener accepts."""
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with suppress(OSError):  # not TCP
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes that were given to the kernel and that the client's has not acknowledged; 0 where that cannot be known."""
    sock = transport.get_extra_info("socket")
    if not _can_ask or sock is None:
        return 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    except (OSError, ValueError):  # closed meanwhile
        return 0


def reset(transport: asyncio.Transport) -> None:
    """End the connection now. `abort` alone leaves what the kernel holds to be delivered for minutes, also to whom a
    token was revoked, and to a client that reads nothing it leaves the memory."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError, ValueError):  # not TCP, or closed meanwhile
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
