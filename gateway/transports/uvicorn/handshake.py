"""The opening handshake of a WebSocket (RFC 6455 section 4.2), as a sans-I/O function of bytes."""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from hashlib import sha1
from typing import Final

from gateway.core.headers import Headers, group_headers

MAX_TARGET: Final = 8 * 1024
"""Bytes of path and query."""

MAX_HEADERS: Final = 100

_host = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[\w.~!$&'()*+,;=%-]*)(?::\d*)?", re.ASCII).fullmatch
"""RFC 3986 section 3.2.2, and a port. Empty is allowed."""

TOO_OLD: Final = "A WebSocket is opened with HTTP/1.1."  # RFC 6455 section 4.1; parsers take HTTP/1.0 too

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)


def read_request(request: bytes) -> tuple[bytes, bytes, Headers]:
    """Method, target and headers (names in lower case) of a request that an HTTP parser has accepted."""
    line, *rest = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    method, target, _ = line.split(b" ")
    pairs = (header.partition(b": ") for header in rest)
    return method, target, group_headers((name.lower(), value) for name, _, value in pairs)


def write_request(method: bytes, target: bytes, version: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The head of a request, serialised again."""
    lines = [b"%b %b HTTP/%b" % (method, target, version), *(b"%b: %b" % header for header in headers), b"", b""]
    return b"\r\n".join(lines)


def offers_websocket(headers: Headers) -> bool:
    """Whether a request asks for the protocol `websocket` and no other (RFC 9110 section 7.8)."""
    word = [b"websocket"]
    asked = headers.get(b"upgrade") == word or _options(headers, b"upgrade") == word
    return asked and b"upgrade" in _options(headers, b"connection")


def _options(headers: Headers, name: bytes) -> list[bytes]:
    """The elements of a list-valued header, in lower case, without empty ones (RFC 9110 section 5.6.1)."""
    elements = b",".join(headers.get(name, ())).lower().split(b",")
    return [option for element in elements if (option := element.strip())]


def head_fault(version: str, hosts: Sequence[bytes]) -> str | None:
    """The violation of RFC 9112 (sections 2.3 and 3.2) that HTTP parsers accept, or None."""
    if version not in ("1.1", "1.0"):
        return "HTTP/1.1 is spoken here"
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        return "Host is needed, once"
    return None if not hosts or _host(hosts[0].strip()) else "Host: a name or an address is needed, and a port at most"


def exceeds_limits(target: bytes, headers: Headers) -> bool:
    """Whether the target or the headers exceed the limits of a handshake."""
    return len(target) > MAX_TARGET or sum(map(len, headers.values())) > MAX_HEADERS


def handshake_fault(method: bytes, headers: Headers) -> str | None:
    """The violation of RFC 6455 section 4.2.1 in an opening handshake, or None."""
    if method != b"GET":
        return "a WebSocket is opened with GET"
    if fault := head_fault("1.1", headers.get(b"host", ())):
        return fault
    if not offers_websocket(headers):
        return "Upgrade: websocket and Connection: Upgrade are needed"
    if b"transfer-encoding" in headers or any(value.strip() != b"0" for value in headers.get(b"content-length", ())):
        return "an opening handshake has no body"
    if [value.strip() for value in headers.get(b"sec-websocket-version", ())] != [b"13"]:
        return "Sec-WebSocket-Version: 13 is needed"
    try:
        (key,) = headers[b"sec-websocket-key"]
        if len(a2b_base64(key.strip(), strict_mode=True)) == 16:
            return None
    except (KeyError, ValueError):
        pass
    return "Sec-WebSocket-Key: 16 bytes in base64 are needed, once"


def accept_response(headers: Headers, subprotocol: str | None, extensions: bytes | None) -> bytes:
    """The 101 response to a valid request."""
    key = headers[b"sec-websocket-key"][0].strip()
    digest = sha1(key + _GUID, usedforsecurity=False).digest()
    answer = _SWITCHING + b2a_base64(digest, newline=False)
    if subprotocol is not None:
        answer += b"\r\nSec-WebSocket-Protocol: " + subprotocol.encode()
    if extensions is not None:
        answer += b"\r\nSec-WebSocket-Extensions: " + extensions
    return answer + b"\r\n\r\n"
