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
from benchmarks.load.publisher import LinePublisher, Order, Publisher, SocketPublisher, compact, post
from benchmarks.peers.base import package_version, python_server
from benchmarks.process import Server, free_port

TENANT: Final = "bench"
ROOMS: Final = ("circle:*", "project:*")

_secret = secrets.token_urlsafe(48)
_issuer = TokenIssuer(KeyRing([hmac_key(_secret)]), "gathering-gateway", "gathering-gateway")
_unlimited = (
    "MAX_CONNECTIONS_PER_USER",
    "MAX_CONNECTIONS_PER_ADDRESS",
    "MAX_CONNECTIONS_PER_TENANT",
    "HANDSHAKES_PER_MINUTE",
    "EVENTS_PER_SECOND",
)


def token(user: str, scope: Sequence[str], rooms: Sequence[str] = ROOMS) -> str:
    """A token of the benchmarks' tenant, good for an hour."""
    issued = _issuer.issue(user_id=user, tenant=TENANT, rooms=rooms, scope=scope, expires_in=3600, now=time.time())
    return issued.access_token


def batch_headers() -> str:
    """The headers of a publisher's requests, with its token."""
    return f"Authorization: Bearer {token('publisher', ['publish'])}\r\nContent-Type: application/json\r\n"


class _Gateway:
    """Every client has a token of its own, verified at connect; limits that a single address would meet are off."""

    unit_is_message = True
    has_rooms = True

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        return f"gathering-gateway {version('gathering-gateway')}, uvicorn {package_version('uvicorn')}, uvloop"

    def dialogue(self, server: Server, rooms: Sequence[str], number: int) -> Dialogue:
        bearer = token(f"user-{number}", ["subscribe"])
        path = f"/ws/dashboard?token={bearer}&rooms={','.join(rooms)}"
        return Dialogue(upgrade(path, server.port), ready=b'"type":"subscribed"')

    def _env(self, port: int) -> dict[str, str]:
        limits = {f"GATEWAY_{name}": "0" for name in _unlimited}
        return {"GATEWAY_JWT_SECRET": _secret, "GATEWAY_PORT": str(port), **limits}


class GatewayOverHttp(_Gateway):
    """`gateway serve`; events come in batches by `POST /events/batch` on one connection that stays open."""

    name = "gateway-http"
    title = "**this gateway**, over HTTP"

    def start(self, core: int) -> Server:
        port = free_port()
        return Server([sys.executable, "-m", "gateway", "serve"], port, core, self._env(port))

    def publisher(self, server: Server) -> Publisher:
        headers = batch_headers()

        def batch(order: Order) -> bytes:
            return post("/events/batch", compact({"events": [order.event()] * order.count}), headers)

        return SocketPublisher(server.port, batch, refusal=b'"code":')


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


class GatewayOnBus(GatewayEmbedded):
    """The same, its events taking the way over an EventBus and the bridge."""

    name = "gateway-bus"
    title = "**this gateway**, by EventBus"
    way = "bus"
