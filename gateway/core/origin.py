"""Which web pages may connect: the `Origin` check (RFC 6455 section 10.2)."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from gateway.core.headers import Headers


class OriginPolicy:
    """Which web pages may connect: `allowed` ones, or, where that is empty, those of the gateway's own origin.

    A client that sends no `Origin` is not a browser, and passes. This is what stands between a page of somebody else
    and a user's browser (RFC 6455 section 10.2); tokens are what stands between clients and rooms.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(_normal(origin) for origin in allowed)

    def allows(self, headers: Headers) -> bool:
        origins = headers.get(b"origin")
        if not origins:
            return True
        if len(origins) > 1:
            return False
        origin = _normal(origins[0].decode("latin-1"))
        if self._allowed:
            return origin in self._allowed or "*" in self._allowed
        hosts = [value.decode("latin-1").lower() for value in headers.get(b"host", ())]
        # The scheme is left out: behind a proxy that ends TLS it is not known here, and the host is what counts.
        if len(hosts) != 1 or origin.partition("://")[0] not in ("http", "https"):
            return False
        host = _host(origin)
        return host is not None and host == _host(hosts[0])


def _normal(origin: str) -> str:
    return origin.strip().rstrip("/").lower()


def _host(text: str) -> str | None:
    """`host:port` without the port that its scheme implies; None for what has user information or a path in it."""
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        port = parts.port
    except ValueError:
        return None
    if parts.username is not None or parts.password is not None or parts.path or parts.query or parts.fragment:
        return None
    host = parts.hostname
    return host if host is None or port is None or port in (80, 443) else f"{host}:{port}"
