"""The check of `Origin` against cross-site WebSocket hijacking (RFC 6455 section 10.2)."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, urlsplit

from gateway.core.headers import Headers

_IMPLIED: Final = {"http": ":80", "https": ":443"}


class OriginPolicy:
    """The allowed origins of web pages; where none are configured, the gateway's own origin only.

    A request without `Origin` is not from a browser, and passes: the check protects the users of browsers from other
    sites' pages, tokens protect rooms from clients.
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
        # The scheme is ignored: behind a proxy that terminates TLS it is not known here.
        if len(hosts) != 1 or origin.partition("://")[0] not in ("http", "https"):
            return False
        host = _host(origin)
        return host is not None and host == _host(hosts[0])

    def page_of(self, headers: Headers) -> bytes | None:
        """The origin of the page that sent the request, as sent; None for pages that are not allowed, and without
        `Origin`."""
        return headers[b"origin"][0] if b"origin" in headers and self.allows(headers) else None


def origin_fault(text: str) -> str | None:
    """The problem with a configured origin, or None. An origin is a scheme and a host, with or without a port, or
    `*`."""
    if text == "*":
        return None
    parts = _split(_normal(text))
    if parts is None or not parts.scheme or not parts.hostname:
        return f"{text!a} is not an origin: write a scheme and a host, such as https://example.com"
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return f"{text!a} has more than a scheme, a host and a port: remove the rest"
    if "*" in parts.hostname:
        return f"{text!a} is a pattern: list each origin"
    if not text.isascii() or not text.isprintable() or " " in text:
        return f"{text!a} is not in the form of a browser: write it in ASCII, other letters as xn--…"
    return None


def _normal(origin: str) -> str:
    """An origin as browsers write it: in lower case, without the default port of the scheme (RFC 6454 section 6.1)."""
    origin = origin.strip().rstrip("/").lower()
    return origin.removesuffix(_IMPLIED.get(origin.partition("://")[0], ""))


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises for one that is not a number
    except ValueError:
        return None
    return parts


def _host(text: str) -> str | None:
    """`host:port` without the default port; None where there is user information or a path."""
    parts = _split(text if "://" in text else f"//{text}")
    if parts is None or parts.username is not None or parts.password is not None:
        return None
    if parts.path or parts.query or parts.fragment:
        return None
    host, port = parts.hostname, parts.port
    return host if host is None or port is None or port in (80, 443) else f"{host}:{port}"
