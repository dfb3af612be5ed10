"""HTTP responses to what is refused before the application: problem documents (RFC 9457), like those of the API."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from schemas.codes import ErrorCode
from schemas.problem import MEDIA_TYPE, Problem

_TLS: Final = b"\x16\x03"
"""The first bytes of a TLS handshake (RFC 8446 section 5.1)."""

HeaderList = Sequence[tuple[bytes, bytes]]


def error_response(status: int, detail: str, headers: HeaderList, code: ErrorCode = ErrorCode.BAD_MESSAGE) -> bytes:
    """An error response, after which the connection is closed. `headers` are the server's own, such as `Date`."""
    body = Problem.of(status, code, detail).model_dump_json(exclude_none=True).encode()
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(),
        *(b"%b: %b" % header for header in headers),
        f"Content-Type: {MEDIA_TYPE}".encode(),
        b"Content-Length: %d" % len(body),
        b"Cache-Control: no-store",
        b"Connection: close",
    ]
    return b"\r\n".join((*lines, b"", body))


def malformed(data: bytes) -> str:
    """The text of the answer to bytes that are no valid request of HTTP/1.1."""
    if data.startswith(_TLS):
        return "a TLS handshake on a port of plain HTTP: use http:// or ws://, or the proxy that ends TLS"
    return "not a valid HTTP request"
