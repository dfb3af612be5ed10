"""HTTP requests to a gateway over persistent connections, thread-safe and fork-safe.

Built on `http.client` of the standard library, which is maintained with Python and handles TLS and chunked responses.
In asyncio the requests run in a thread: an HTTP parser for asyncio would be one more to keep secure.
"""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import NO_CONTENT, HTTPConnection, HTTPException, HTTPSConnection
from ssl import SSLContext, create_default_context
from typing import Any, Final

from gathering_client.address import Address
from gathering_client.dialing import USER_AGENT, reason_of
from gathering_client.drafts import refusal
from gathering_client.errors import GatewayError, Unreachable

MAX_IDLE: Final = 16
"""Idle connections that are kept for later requests."""


@dataclass(frozen=True, slots=True)
class Http:
    """Address, timeout in seconds and TLS context of the requests."""

    address: Address
    timeout: float
    ssl: SSLContext | None

    def connection(self) -> HTTPConnection:
        address = self.address
        if address.secure:
            context = self.ssl or create_default_context()
            return HTTPSConnection(address.host, address.port, timeout=self.timeout, context=context)
        return HTTPConnection(address.host, address.port, timeout=self.timeout)


class HttpPool:
    """A pool of persistent connections. Thread-safe. A forked process starts with an empty pool: two processes on one
    connection would read each other's responses."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._lock = threading.Lock()
        self._idle: list[HTTPConnection] = []
        self._pid = os.getpid()

    def request(self, method: str, path: str, token: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object of the response, empty for 204. Raises `Refused` for a refusal, `Unreachable` without one."""
        while True:
            connection, kept = self._take()
            try:
                return self._ask(connection, method, path, token, body)
            except (HTTPException, OSError) as error:
                # The gateway may have closed an idle connection: retry on another one.
                if not kept or isinstance(error, TimeoutError):
                    reason = f"no answer from {self._http.address}: {reason_of(error)}"
                    raise Unreachable("unreachable", reason) from None

    def _ask(
        self, connection: HTTPConnection, method: str, path: str, token: str, body: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}", "User-Agent": USER_AGENT, "Accept": "application/json"}
        content = None
        if body is not None:
            content = json.dumps(body, allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, self._http.address.path + path, content, headers)
            answer = connection.getresponse()
            text = answer.read()
        except BaseException:
            connection.close()
            raise
        self._give_back(connection, answer.will_close)
        return _object(answer.status, text, answer.headers.get("Retry-After"))

    def _take(self) -> tuple[HTTPConnection, bool]:
        """A connection, and whether it came from the pool."""
        if self._pid != os.getpid():
            self._begin_after_fork()
        with self._lock:
            if self._idle:
                return self._idle.pop(), True
        return self._http.connection(), False

    def _begin_after_fork(self) -> None:
        # Another thread of the parent may have held the lock. Closing ends the copies only, without a TLS alert.
        self._pid, self._lock = os.getpid(), threading.Lock()
        self.close()

    def _give_back(self, connection: HTTPConnection, ended: bool) -> None:
        with self._lock:
            if not ended and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def _object(status: int, text: bytes, retry_after: str | None) -> dict[str, Any]:
    try:
        value = {} if status == NO_CONTENT else json.loads(text)
        if 200 <= status < 300 and isinstance(value, dict):
            return value
        more = dict(value)
        if retry_after is not None and retry_after.isdigit():
            more.setdefault("retry_after", float(retry_after))
        error: GatewayError = refusal(more["code"], more["detail"], more, status)
    except (ValueError, TypeError, KeyError):
        # From a proxy, or from another server at this address
        error = Unreachable("unreachable", f"the answer is HTTP {status} and not the gateway's; check the URL")
    raise error
