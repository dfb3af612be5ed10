"""The client of a request: its address, and its identity once that is verified."""

from collections.abc import MutableMapping, Sequence
from typing import Any, Final

from auth.identity import Identity
from gateway.core.addresses import UNIX_PEER, Proxy, client_address
from gateway.core.headers import group_headers

Scope = MutableMapping[str, Any]

_IDENTITY: Final = "gateway.principal"


def address_of(scope: Scope, proxies: Sequence[Proxy]) -> str:
    """The client's address, `X-Forwarded-For` believed from these proxies only."""
    if scope.get("client"):
        peer = scope["client"][0]
    else:  # ASGI: on a Unix socket the server is its path, without a port
        peer = UNIX_PEER if (scope.get("server") or ("", 0))[1] is None else "unknown"
    return client_address(peer, group_headers(scope["headers"]), proxies)


def identity_of(scope: Scope) -> Identity | None:
    """The holder of the request's token; None before it was verified."""
    # In the scope, which is this request's own: not every server copies the state for each.
    identity: Identity | None = scope.get(_IDENTITY)
    return identity


def set_identity(scope: Scope, identity: Identity) -> None:
    scope[_IDENTITY] = identity
