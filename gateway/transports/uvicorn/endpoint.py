"""The endpoint: the gateway's settings for its uvicorn transports, and the keepalive sweep over their clients."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from gateway.core.addresses import Proxy
from gateway.core.host import Host
from gateway.core.origin import OriginPolicy

STATE_KEY: Final = "gateway.endpoint"
"""The endpoint's key in the application's lifespan state."""

BODY_DEADLINE_KEY: Final = "gateway.body_deadline"
"""The key in the lifespan state of a server that closes connections whose request body takes longer than its value, in
seconds."""

_BUCKETS: Final = 20

CHECKED: Final = 50
"""Clients that are checked in one iteration of the event loop: 5 us each, and a ping takes as long again."""

MAX_LAG: Final = 0.5
"""Event loop lag in seconds above which a sweep extends all deadlines: this process was blocked, not the clients."""

logger = logging.getLogger("gateway.transport")


class Supervised(Protocol):
    """A protocol whose client is checked once a second. `bucket` is the endpoint's."""

    bucket: int

    def check_liveness(self, now: float, endpoint: "Endpoint") -> None:
        """Abort a client that is dead or reads nothing."""

    def extend_deadlines(self, seconds: float) -> None:
        """Extend the client's deadlines by the time that this process did not run."""

    def abort(self) -> None: ...


@dataclass(slots=True, eq=False)
class Endpoint:
    """The gateway's address and settings for the protocols that uvicorn makes. Seconds and bytes.

    `bypassed` names what the `application` has before its route there; if there is anything, the ASGI route must serve.
    `alone` means that the application has no other WebSocket. The keepalive sweep checks each client once a second, a
    twentieth of them at a time: it sends pings, and aborts clients that answer none or read nothing while data waits
    (slow consumers).
    """

    paths: tuple[str, ...]
    host: Host
    origins: OriginPolicy
    proxies: Sequence[Proxy]
    message_bytes: int
    ping_interval: float
    stall: float
    compression: bool = False
    application: object = None
    bypassed: str | None = None
    alone: bool = False
    clients: list[set[Supervised]] = field(default_factory=lambda: [set() for _ in range(_BUCKETS)])
    request_starts: tuple[bytes, ...] = ()
    """The first bytes of requests for its paths."""
    _joined: int = 0
    _usable: bool | None = None
    _sweep: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.request_starts = tuple(b"GET " + path.encode() for path in self.paths)

    @classmethod
    def of(cls, app_state: Mapping[str, Any], served: Any) -> "Endpoint | None":
        """The endpoint in the lifespan state of `served`, the application that uvicorn was given; None where there is
        none, or it must not be used."""
        endpoint: Endpoint | None = app_state.get(STATE_KEY)
        if endpoint is None:
            return None
        if endpoint._usable is None:
            endpoint._usable = endpoint._is_usable(served)
        return endpoint if endpoint._usable else None

    def _is_usable(self, served: Any) -> bool:
        while type(served).__module__.startswith(
            "uvicorn."
        ):  # uvicorn's own middleware, for example for `--proxy-headers`
            served = served.app
        before = self.bypassed
        if before is None and served is not self.application:
            before = type(served).__name__
        if before is not None:
            logger.warning("WebSockets go through ASGI, not straight to the socket: %s must see them", before)
        return before is None

    def serves(self, path: bytes) -> bool:
        """Whether a request's path is one of the gateway's. Decoded, since a percent-encoded path leads to the same
        route and must not bypass this transport."""
        return unquote_to_bytes(path).decode("latin-1") in self.paths

    def add(self, client: Supervised) -> None:
        client.bucket = self._joined % _BUCKETS
        self._joined += 1
        self.clients[client.bucket].add(client)

    def discard(self, client: Supervised) -> None:
        self.clients[client.bucket].discard(client)

    async def start(self) -> None:
        self._sweep = asyncio.create_task(self._keepalive_loop())

    async def stop(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            await asyncio.gather(self._sweep, return_exceptions=True)

    async def _keepalive_loop(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for clients in self.clients:
                if (late := loop.time() - due) > MAX_LAG:
                    for client in [client for some in self.clients for client in some]:
                        client.extend_deadlines(late)
                    await asyncio.sleep(1 / _BUCKETS)  # read the answers that arrived meanwhile first
                now = loop.time()
                for count, client in enumerate(list(clients), 1):
                    if count % CHECKED == 0:
                        await asyncio.sleep(0)
                    if client not in clients:  # it has gone meanwhile
                        continue
                    try:
                        client.check_liveness(now, self)
                    except Exception:
                        logger.exception("the liveness check of a client failed; the client was aborted")
                        client.abort()
                due = loop.time() + 1 / _BUCKETS
                await asyncio.sleep(1 / _BUCKETS)
