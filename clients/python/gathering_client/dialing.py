"""Handshakes by the websockets library, for both faces."""

import json
import logging
from http.client import BadStatusLine
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import Any, Final, TypedDict

import websockets.asyncio.client
from websockets.exceptions import InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from gathering_client.connector import OPEN_TIMEOUT
from gathering_client.version import VERSION

SUBPROTOCOL: Final = Subprotocol("gateway.v1")
USER_AGENT: Final = f"gathering-gateway-client/{VERSION}"
MAX_FRAME: Final = 16 * 1024 * 1024
CLOSE_TIMEOUT: Final = 1.0
KEEPALIVE: Final = 20.0
"""Seconds between two pings, and for the pong: a half-open connection is found within twice as much."""


_wire_logger = logging.getLogger("gathering_client.websockets")
# At DEBUG, websockets logs the headers of the handshake, and the token is one.
_wire_logger.setLevel(logging.INFO)
# Its synchronous face logs a traceback for a half-open connection, which this package reports as a lost one.
_wire_logger.addFilter(lambda record: record.msg != "keepalive ping failed")


class Options(TypedDict):
    """Keyword arguments of `connect` in either face of websockets."""

    subprotocols: list[Subprotocol]
    additional_headers: dict[str, str]
    user_agent_header: str
    compression: None
    open_timeout: float
    close_timeout: float
    ping_interval: float
    ping_timeout: float
    max_size: int
    logger: logging.Logger
    ssl: SSLContext | None


def options(token: str, ssl: SSLContext | None, keepalive: float = KEEPALIVE) -> Options:
    """The options of a handshake. The token is in a header, since URLs are logged in more places."""
    return {
        "subprotocols": [SUBPROTOCOL],
        "additional_headers": {"Authorization": f"Bearer {token}"},
        "user_agent_header": USER_AGENT,
        "compression": None,
        "open_timeout": OPEN_TIMEOUT,
        "close_timeout": CLOSE_TIMEOUT,
        "ping_interval": keepalive,
        "ping_timeout": keepalive,
        "max_size": MAX_FRAME,
        "logger": _wire_logger,
        "ssl": ssl,
    }


class AsyncDial(websockets.asyncio.client.connect):
    """A handshake without redirects: before websockets 17, a redirect would send the token to another host. (Its
    synchronous `connect` follows redirects from 17 on only, without the token.)"""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def reason_of(error: Exception) -> str:
    """The text of a connection that failed, with advice where the cause is known."""
    text = str(error) or type(error).__name__
    if isinstance(error, InvalidStatus):
        return f"{text}: {detail}" if (detail := _detail(error.response.body)) else text
    if isinstance(error, SSLCertVerificationError):
        return f"{text}; name its authority in SSL_CERT_FILE, or pass a context as `ssl`"
    if isinstance(error, SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return f"{text}; no TLS is spoken there: use http:// or ws://"
    if isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError):
        return f"{text}: the connection was closed before it"
    if isinstance(error, BadStatusLine | InvalidMessage):
        return f"{text}; the answer is not HTTP: where TLS is spoken there, use https:// or wss://"
    return text


def _detail(body: bytes | bytearray | None) -> str | None:
    """The `detail` of a problem document, which the gateway answers with; None for other bodies."""
    try:
        detail = json.loads(body or b"")["detail"]
    except (ValueError, TypeError, KeyError):
        return None
    return detail if isinstance(detail, str) else None


def status_of(error: Exception) -> int | None:
    """The HTTP status of a failed handshake, or None without a response."""
    return error.response.status_code if isinstance(error, InvalidStatus) else None


def close_of(error: Any) -> tuple[int | None, str]:
    """Code and reason of the close frame in a `ConnectionClosed`; None without a close frame."""
    return (None, "") if error.rcvd is None else (error.rcvd.code, error.rcvd.reason)
