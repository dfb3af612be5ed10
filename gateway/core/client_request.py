"""The client's request as passed to an application's `authenticate`: headers, cookies, query."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.core.headers import Headers, Query

_ESCAPED: Final = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")


class HeaderMap(Mapping[str, str]):
    """Headers by case-insensitive name; repeated ones are joined as a list (RFC 9110 section 5.3)."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Headers) -> None:
        self._headers = {
            name.decode("latin-1"): (b"; " if name == b"cookie" else b", ").join(values).decode("latin-1")
            for name, values in headers.items()
        }

    def __getitem__(self, name: str) -> str:
        return self._headers[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)

    def __repr__(self) -> str:  # credentials are among the values
        return f"HeaderMap({', '.join(self._headers)})"


@dataclass(frozen=True, slots=True, repr=False)
class ClientRequest:
    """A handshake or an HTTP request. The last of repeated cookies counts, as in Starlette, and the first of repeated
    parameters. `address` is the client's, also behind trusted proxies. The representation shows no value."""

    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    query: Mapping[str, str]
    address: str

    def __repr__(self) -> str:
        return f"ClientRequest(address={self.address!r}, headers={self.headers!r})"


def client_request(headers: Headers, query: Query, address: str) -> ClientRequest:
    """The `ClientRequest` with these headers and parameters."""
    mapped = HeaderMap(headers)
    return ClientRequest(mapped, read_cookies(mapped.get("cookie", "")), dict(reversed(query)), address)


def read_cookies(text: str) -> dict[str, str]:
    """The cookies in a `Cookie` header (RFC 6265 section 4.2.1), parsed as leniently as browsers write it."""
    cookies = {}
    for pair in text.split(";"):
        name, separator, value = pair.strip().partition("=")
        if separator and name:
            cookies[name.rstrip()] = _unquoted(value.lstrip())
    return cookies


def _unquoted(value: str) -> str:
    """The value without the quotes and escapes of `http.cookies`, which most Python frameworks write."""
    if len(value) < 2 or not value.startswith('"') or not value.endswith('"'):
        return value
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)) if found[1] else found[2], value[1:-1])
