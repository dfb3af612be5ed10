"""The client of a request: its address, and its verified identity."""

from collections.abc import MutableMapping, Sequence
from typing import Any, Final

from auth.identity import Identity
from gateway.core.addresses import UNIX_PEER, Proxy, client_address
from gateway.core.headers import group_headers

Scope = MutableMapping[str, Any]

_IDENTITY: Final = "gateway.principal"


def address_of(scope: Scope, proxies: Sequence[Proxy]) -> str:
    """The client's address; `X-Forwarded-For` is trusted from these proxies only."""
    if scope.get("client"):
        peer = scope["client"][0]
    else:  # ASGI: the server on a Unix socket is its path, without a port
        peer = UNIX_PEER if (scope.get("server") or ("", 0))[1] is None else "unknown"
    return client_address(peer, group_headers(scope["headers"]), proxies)


def traceparent_in(scope: Scope) -> str | None:
    """The header `traceparent` of a request; None where there is not exactly one."""
    found = [value for name, value in scope["headers"] if name == b"traceparent"]
    return found[0].decode("latin-1") if len(found) == 1 else None


def identity_of(scope: Scope) -> Identity | None:
    """The identity of the request's token; None before its verification."""
    # In the scope, which is per request; not every server copies the state.
    identity: Identity | None = scope.get(_IDENTITY)
    return identity


def set_identity(scope: Scope, identity: Identity) -> None:
    scope[_IDENTITY] = identity
