"""A blocking HTTP GET with one deadline for the whole exchange, for use in threads."""

import io
import socket
import time
from collections.abc import Mapping
from functools import partial
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from types import MappingProxyType
from typing import Any, Final
from urllib import request
from urllib.error import HTTPError

from gateway.core.version import VERSION

USER_AGENT: Final = f"gathering-gateway/{VERSION}"
"""The `User-Agent`; some firewalls refuse the default one of Python's library."""


def http_get(url: str, timeout: float, max_bytes: int, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """The body at `url`, of at most `max_bytes`, within `timeout` seconds. Only the name resolution has its own
    timeout.

    Raises the exceptions of urllib, `TimeoutError` and `ValueError`. Supports HTTP only: no file:, no ftp:, and no
    redirects, which could lead to another host.
    """
    sent = {"Accept": "application/json", "User-Agent": USER_AGENT, **headers}
    asked = request.Request(url, headers=sent)  # noqa: S310 - the opener below supports HTTP only
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        _HttpHandler(),
        _HttpsHandler(),
        request.HTTPErrorProcessor(),
        request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    body = bytearray()
    try:
        with opener.open(asked, timeout=timeout) as response:
            while chunk := response.read1(65_536):
                body += chunk
                if len(body) > max_bytes:
                    raise ValueError(f"the answer has more than {max_bytes} bytes")
    except HTTPError as error:
        error.close()  # it holds the connection
        raise
    return bytes(body)


def _left(deadline: float) -> float:
    """Seconds until `deadline`. Raises `TimeoutError` where there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the answer takes too long")
    return left


class _Reader(io.RawIOBase):
    """The reading side of a socket, with a deadline over all reads: a socket's own timeout restarts with each byte."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        try:
            return self._raw.readinto(buffer)
        except TimeoutError:
            raise TimeoutError("the answer takes too long") from None

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Readable:
    """The part of the socket interface that a response uses."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._deadline))


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, deadline: float, **options: Any) -> None:
        super().__init__(_Readable(sock, deadline), *arguments, **options)  # type: ignore[arg-type]


def _connect(deadline: float, address: tuple[str, int], *options: object) -> socket.socket:
    """A connection to the first of the host's addresses that answers."""
    failure = OSError(f"{address[0]} has no address")
    for family, kind, protocol, _, target in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(deadline))
            sock.connect(target)
            sock.settimeout(_left(deadline))  # for TLS
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


class _Deadline(HTTPConnection):
    """An HTTP connection whose timeout is a deadline."""

    def __init__(self, host: str, *, timeout: float = 0.0, **options: Any) -> None:
        super().__init__(host, timeout=timeout, **options)
        deadline = time.monotonic() + timeout
        self.response_class = partial(_Response, deadline=deadline)  # type: ignore[assignment]
        self._create_connection = partial(_connect, deadline)


class _DeadlineTls(_Deadline, HTTPSConnection):
    """An HTTPS connection whose timeout is a deadline."""


class _HttpHandler(request.HTTPHandler):
    def http_open(self, req: request.Request) -> HTTPResponse:
        return self.do_open(_Deadline, req)


class _HttpsHandler(request.HTTPSHandler):
    def https_open(self, req: request.Request) -> HTTPResponse:
        return self.do_open(_DeadlineTls, req)
