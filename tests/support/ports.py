"""Ports for servers that cannot choose one themselves, or must have the same one again."""

import socket
from types import TracebackType


class ReservedPort:
    """A port of loopback that nothing else is given: a socket is bound to it, which does not listen. A server can
    listen there all the same, for every one of them sets SO_REUSEADDR; without one, connecting is refused.
    A context manager."""

    def __init__(self, number: int = 0) -> None:
        self._socket = socket.socket()
        try:
            self._socket.bind(("127.0.0.1", number))
        except OSError:
            self._socket.close()
            raise
        # Not before: two reservations that both have it can be of one port.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> int:
        return self.number

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
