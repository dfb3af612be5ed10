"""Mistakes of the application: the error, or the log, says what is wrong and what to do."""

import logging
from http.client import BadStatusLine
from ssl import SSLCertVerificationError, SSLError

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import InvalidMessage, InvalidStatus
from websockets.http11 import Response

from gathering_client.actions import StateChange
from gathering_client.dialing import reason_of
from gathering_client.errors import TokenRefused
from gathering_client.log import report
from gathering_client.session import checked_token


@pytest.mark.parametrize("token", ["Bearer abc", "abc\n", "a" * 4_097, " abc"])
def test_a_token_with_more_around_it_is_named(token: str) -> None:
    with pytest.raises(TokenRefused, match="without Bearer, quotes, spaces and line ends"):
        checked_token(token)


def test_a_missing_token_says_where_it_goes() -> None:
    for nothing in ("", None):
        with pytest.raises(TokenRefused, match="pass a token, or a function that returns one, as `token`"):
            checked_token(nothing)


def wrong_version() -> SSLError:
    error = SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


def ended_without_a_response() -> InvalidMessage:
    error = InvalidMessage("did not receive a valid HTTP response")
    error.__cause__ = EOFError("connection closed while reading HTTP status line")
    return error


def answered(status: int, body: bytes) -> InvalidStatus:
    return InvalidStatus(Response(status, "", Headers(), body))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (wrong_version(), "[SSL: WRONG_VERSION_NUMBER] wrong version number (1); no TLS is spoken there: use http://"),
        (
            SSLCertVerificationError(1, "self-signed"),
            "self-signed; name its authority in SSL_CERT_FILE, or ",
        ),
        (BadStatusLine("\x15\x03"), "the answer is not HTTP: where TLS is spoken there, use https:// or wss://"),
        (InvalidMessage("no"), "no; the answer is not HTTP: where TLS is spoken there, use https:// or wss://"),
        (ended_without_a_response(), "HTTP response: the connection was closed before it"),
        (answered(404, b'{"detail": "connect to /ws"}'), "server rejected WebSocket connection: HTTP 404: connect to"),
        (answered(502, b"<html>"), "server rejected WebSocket connection: HTTP 502"),
        (answered(404, b'{"detail": 5}'), "server rejected WebSocket connection: HTTP 404"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_connection_that_failed_has_advice(error: Exception, reason: str) -> None:
    assert reason.replace(" (1)", "") in reason_of(error)


def test_a_gateway_that_does_not_answer_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """So it is seen without configuration; a close is ordinary life."""
    changes: list[StateChange] = []
    with caplog.at_level(logging.INFO, "gathering_client"):
        for code in (None, 1012):
            report(StateChange("reconnecting", "Connection refused", code, 1.0), "ws://x", changes.append)
    warning, closed = caplog.records
    assert (warning.levelname, closed.levelname) == ("WARNING", "INFO")
    assert warning.getMessage() == "ws://x: Connection refused; connecting again in 1.0 s"
    assert len(changes) == 2
