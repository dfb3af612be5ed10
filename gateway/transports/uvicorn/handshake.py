"""The opening handshake of a WebSocket (RFC 6455 section 4.2), as bytes in and bytes out."""

from binascii import a2b_base64, b2a_base64
from hashlib import sha1
from typing import Final

from gateway.core.headers import Headers, group_headers

MAX_TARGET: Final = 8 * 1024
"""Bytes of path and query."""

MAX_HEADERS: Final = 100

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)


def read_request(request: bytes) -> tuple[bytes, bytes, Headers]:
    """Method, target and headers, their names in lower case, of a request that an HTTP parser has accepted."""
    line, *rest = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    method, target, _ = line.split(b" ")
    pairs = (header.partition(b": ") for header in rest)
    return method, target, group_headers((name.lower(), value) for name, _, value in pairs)


def exceeds_limits(target: bytes, headers: Headers) -> bool:
    """Whether this is more than a client needs."""
    return len(target) > MAX_TARGET or sum(map(len, headers.values())) > MAX_HEADERS


def handshake_fault(method: bytes, headers: Headers) -> str | None:
    """What keeps the request from being an opening handshake (RFC 6455 section 4.2.1), or None."""
    if method != b"GET":
        return "a WebSocket is opened with GET"
    if len(headers.get(b"host", ())) != 1:
        return "Host is needed, once"
    if not any(word.strip() == b"upgrade" for word in b",".join(headers.get(b"connection", ())).lower().split(b",")):
        return "Connection: Upgrade is missing"
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


def accept(headers: Headers, subprotocol: str | None, extensions: bytes | None) -> bytes:
    """The answer to a request without a fault."""
    key = headers[b"sec-websocket-key"][0].strip()
    digest = sha1(key + _GUID, usedforsecurity=False).digest()
    answer = _SWITCHING + b2a_base64(digest, newline=False)
    if subprotocol is not None:
        answer += b"\r\nSec-WebSocket-Protocol: " + subprotocol.encode()
    if extensions is not None:
        answer += b"\r\nSec-WebSocket-Extensions: " + extensions
    return answer + b"\r\n\r\n"


def refuse(status: bytes, reason: str) -> bytes:
    """An answer that is no WebSocket; the connection is closed after it. `status` such as `b"403 Forbidden"`."""
    body = reason.encode()
    # Section 4.4: whoever speaks another version is told which one is spoken here.
    head = b"HTTP/1.1 %b\r\nSec-WebSocket-Version: 13\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
    return head % (status, len(body)) + b"Connection: close\r\n\r\n" + body
