"""This build, as `gateway serve` runs it, published to over HTTP or from inside."""

import secrets
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from auth.keys import KeyRing, hmac_key
from auth.tokens import TokenIssuer
from benchmarks.frames import upgrade
from benchmarks.load.fleet import Dialogue
from benchmarks.load.publisher import LinePublisher, Order, Publisher, SocketPublisher, batch, compact, post
from benchmarks.peers.base import package_version, printed, python_server
from benchmarks.peers.cluster import OnRedis, redis_server
from benchmarks.process import Server, free_port

TENANT: Final = "bench"
ROOMS: Final = ("circle:*", "project:*")
REFUSAL: Final = b'"code":'
"""A text in every answer that refuses an event, also in a batch."""

_secret = secrets.token_urlsafe(48)
_issuer = TokenIssuer(KeyRing([hmac_key(_secret)]), "gathering-gateway", "gathering-gateway")
_unlimited = (
    "MAX_CONNECTIONS_PER_USER",
    "MAX_CONNECTIONS_PER_ADDRESS",
    "MAX_CONNECTIONS_PER_TENANT",
    "HANDSHAKES_PER_MINUTE",
    "EVENTS_PER_SECOND",
    "PUBLISH_PER_SECOND",
)


def token(user: str, scope: Sequence[str], tenant: str = TENANT) -> str:
    """A token for all rooms of a tenant, good for an hour."""
    issued = _issuer.issue(user_id=user, tenant=tenant, rooms=ROOMS, scope=scope, expires_in=3600, now=time.time())
    return issued.access_token


def batch_headers(scope: Sequence[str] = ("publish",), tenant: str = TENANT) -> str:
    """The headers of a publisher's requests, with its token."""
    return f"Authorization: Bearer {token('publisher', scope, tenant)}\r\nContent-Type: application/json\r\n"


def dialogue(server: Server, rooms: Sequence[str], number: int, tenant: str = TENANT) -> Dialogue:
    """The dialogue in which client `number`, with a token of its own, subscribes to `rooms` of a tenant."""
    bearer = token(f"user-{number}", ["subscribe"], tenant)
    path = f"/ws/dashboard?token={bearer}&rooms={','.join(rooms)}"
    return Dialogue(upgrade(path, server.port), ready=b'"type":"subscribed"')


class _Gateway:
    """Every client has a token of its own, verified at connect; limits that a single address would meet are off."""

    unit_is_message = True
    has_rooms = True

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        return f"gathering-gateway {version('gathering-gateway')}, uvicorn {package_version('uvicorn')}, uvloop"

    def dialogue(self, server: Server, rooms: Sequence[str], number: int) -> Dialogue:
        return dialogue(server, rooms, number)

    def _env(self, port: int) -> dict[str, str]:
        limits = {f"GATEWAY_{name}": "0" for name in _unlimited}
        return {"GATEWAY_JWT_SECRET": _secret, "GATEWAY_PORT": str(port), **limits}


class _Served(_Gateway):
    """`gateway serve`; events come by `POST /events`, or in batches, on one kept connection."""

    def publisher(self, server: Server) -> Publisher:
        headers = batch_headers()

        def encode(order: Order) -> bytes:
            if order.count == 1:
                return post("/events", compact(order.event()), headers)
            return batch(order, headers)

        return SocketPublisher(server.port, encode, refusal=REFUSAL)

    def _serve(self, core: int, **settings: str) -> Server:
        port = free_port()
        return Server([sys.executable, "-m", "gateway", "serve"], port, core, {**self._env(port), **settings})


class GatewayOverHttp(_Served):
    """One node with its log in memory."""

    name = "gateway-http"
    title = "**this gateway**, over HTTP"

    def start(self, core: int, **settings: str) -> Server:
        return self._serve(core, **settings)


class GatewayUnshared(GatewayOverHttp):
    """The same without fair shares, to compare it with."""

    def start(self, core: int, **settings: str) -> Server:
        port = free_port()
        return python_server("unshared", port, core, {**self._env(port), **settings})


class GatewayOnRedis(OnRedis, _Served):
    """Two nodes with their log on one Redis."""

    name = "gateway-redis"
    title = "**this gateway**, 2 nodes on Redis"

    def node(self, core: int, redis: str) -> Server:
        return self._serve(core, GATEWAY_LOG_URL=redis)

    def version(self) -> str:
        server = printed(str(redis_server()), "--version").partition(" sha=")[0]
        return f"{super().version()}, redis-py {package_version('redis')}, {server}"


class GatewayEmbedded(_Gateway):
    """The same application with a publisher in its process, as the other servers that publish from inside have one."""

    name = "gateway"
    title = "**this gateway**"
    way = "directly"

    def start(self, core: int) -> Server:
        port = free_port()
        return python_server("embedded", port, core, {**self._env(port), "BENCH_PUBLISH": self.way})

    def publisher(self, server: Server) -> Publisher:
        return LinePublisher(server.stdin)


class GatewayObserved(GatewayEmbedded):
    """The same, with what observes it switched by orders."""

    def start(self, core: int) -> Server:
        port = free_port()
        return python_server("observed", port, core, self._env(port))


class GatewayOnBus(GatewayEmbedded):
    """The same, its events taking the way over an EventBus and the bridge."""

    name = "gateway-bus"
    title = "**this gateway**, by EventBus"
    way = "bus"
