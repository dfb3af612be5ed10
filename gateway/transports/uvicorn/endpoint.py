"""The gateway as its transports under uvicorn find it, and the care for their clients."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from gateway.core.addresses import Network
from gateway.core.connection import Host
from gateway.core.origin import OriginPolicy

STATE_KEY: Final = "gateway.endpoint"
"""Where it is in the application's lifespan state."""

_SLICES: Final = 20

_LATE: Final = 0.5
"""Seconds by which a look may be late; more, and it was this process that did not run."""

logger = logging.getLogger("gateway.transport")


class Client(Protocol):
    """A transport, as its endpoint sees it. `slice` is the endpoint's."""

    slice: int

    def look(self, now: float, endpoint: "Endpoint") -> None:
        """Once a second."""

    def excuse(self, seconds: float) -> None:
        """For so long it was not the client that did nothing."""

    def abort(self) -> None: ...


@dataclass(slots=True, eq=False)
class Endpoint:
    """Where the gateway is to be found, for the protocols that uvicorn makes. Seconds and bytes.

    `bypassed` is what of the `application` stands before its route there: with anything, the ASGI route must serve.
    Looks after its clients in slices, each once a second: sends pings, and gives up those that answer none or read
    nothing while data waits.
    """

    path: str
    host: Host
    origins: OriginPolicy
    proxies: Sequence[Network]
    message_bytes: int
    ping_interval: float
    stall: float
    compression: bool = False
    application: object = None
    bypassed: str | None = None
    clients: list[set[Client]] = field(default_factory=lambda: [set() for _ in range(_SLICES)])
    _joined: int = 0
    _admits: bool | None = None
    _care: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, app_state: Mapping[str, Any], served: Any) -> "Endpoint | None":
        """The endpoint in the lifespan state of `served`, the application that uvicorn was given; None where there is
        none, or it must not be used."""
        endpoint: Endpoint | None = app_state.get(STATE_KEY)
        if endpoint is None:
            return None
        if endpoint._admits is None:
            endpoint._admits = endpoint._judge(served)
        return endpoint if endpoint._admits else None

    def _judge(self, served: Any) -> bool:
        while type(served).__module__.startswith("uvicorn."):  # such as for `--proxy-headers`
            served = served.app
        before = self.bypassed
        if before is None and served is not self.application:
            before = type(served).__name__
        if before is not None:
            logger.warning("WebSockets go through ASGI, not straight to the socket: %s must see them", before)
        return before is None

    def add(self, client: Client) -> None:
        client.slice = self._joined % _SLICES
        self._joined += 1
        self.clients[client.slice].add(client)

    def discard(self, client: Client) -> None:
        self.clients[client.slice].discard(client)

    async def start(self) -> None:
        self._care = asyncio.create_task(self._look_after())

    async def stop(self) -> None:
        if self._care is not None:
            self._care.cancel()
            await asyncio.gather(self._care, return_exceptions=True)

    async def _look_after(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for clients in self.clients:
                if (late := loop.time() - due) > _LATE:
                    for client in [client for some in self.clients for client in some]:
                        client.excuse(late)
                    await asyncio.sleep(1 / _SLICES)  # what they have answered meanwhile is read first
                now = loop.time()
                for client in list(clients):
                    try:
                        client.look(now, self)
                    except Exception:
                        logger.exception("a client could not be looked after and was given up")
                        client.abort()
                due = loop.time() + 1 / _SLICES
                await asyncio.sleep(1 / _SLICES)
