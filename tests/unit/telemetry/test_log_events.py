"""Structured log events: their fields, what they may not hold, and how many of them there may be."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from auth.errors import TokenInvalid, TokenMissing
from auth.grants import Grants
from auth.identity import Identity
from gateway.core.connection import Connection
from gateway.core.errors import ConnectionRefused
from gateway.telemetry import log_events
from schemas.codes import CloseCode
from tests.documentation.pages import example
from tests.support.transports import FakeTransport

ROOT = Path(__file__).parents[3]

IDENTITY = Identity("ada", "acme", Grants.parse(["circle:*"]), frozenset({"admin"}), "jti-1", 0, 10)
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def connection() -> Connection:
    return Connection("con_1", IDENTITY, FakeTransport(), 0.0, "192.0.2.1")


def only(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    (record,) = caplog.records
    return record


def test_a_record_has_its_fields_as_text_and_as_attributes(caplog: pytest.LogCaptureFixture) -> None:
    """The text is for everybody, the attributes are for the formatters of other applications."""
    log_events.connection_closed(connection(), CloseCode.SLOW, "slow consumer")
    record = only(caplog)
    assert record.getMessage() == (
        "connection closed connection_id=con_1 tenant=acme user_id=ada address=192.0.2.1 "
        'reason="slow consumer" code=4408'
    )
    assert (record.name, record.levelname) == ("gateway.connection", "INFO")
    expected = {"event": "connection.closed", "connection_id": "con_1", "tenant": "acme", "user_id": "ada"}
    expected |= {"address": "192.0.2.1", "reason": "slow consumer"}
    assert {name: getattr(record, name) for name in expected} == expected
    assert repr(getattr(record, "code", None)) == "4408"


def test_an_invalid_token_is_explained_and_others_say_what_was_asked(caplog: pytest.LogCaptureFixture) -> None:
    """The word that is kept from the client."""
    log_events.connection_refused("192.0.2.1", TokenInvalid("signature"), 4401)
    log_events.connection_refused("192.0.2.1", TokenMissing(), 4401)
    limit = ConnectionRefused(CloseCode.USER_LIMIT, "at most 30 connections of one user", 30, holder=("acme", "ada"))
    log_events.connection_refused("192.0.2.1", limit, limit.close_code)
    first, second, third = (record.getMessage() for record in caplog.records)
    assert "reason=token_invalid detail=signature code=4401" in first
    assert "reason=token_missing" in second
    assert 'tenant=acme user_id=ada address=192.0.2.1 reason=rate_limited detail="at most 30' in third


@pytest.mark.parametrize(
    "origin",
    ["http://x\r\nINFO gateway: forged", "http://x\x1b[2J", "http://x\u2028y", "http://\u202ex", 'http://x" reason="y'],
)
def test_values_cannot_forge_lines_or_fields(origin: str, caplog: pytest.LogCaptureFixture) -> None:
    """Values chosen by a client are quoted, in printable ASCII."""
    log_events.handshake_refused("192.0.2.1", 403, "origin", origin=origin)
    text = only(caplog).getMessage()
    assert text.isascii()
    assert text.isprintable()
    assert text.count(" reason=") == (2 if "reason" in origin else 1)
    assert '\\" reason=' in text or "reason" not in origin


def test_values_are_short_and_hold_no_credentials(caplog: pytest.LogCaptureFixture) -> None:
    """Wherever a token was put."""
    log_events.origin_refused(
        "192.0.2.1",
        {
            b"origin": [f"http://x/?token=canary-token&{'x' * 9_000}".encode(), b"\xff"],
            b"host": [f"{TOKEN}.example".encode()],
        },
    )
    record = only(caplog)
    shown = f"{record.getMessage()} {vars(record)}"
    assert len(record.getMessage()) < 700
    assert "canary-token" not in shown
    assert not any(part in shown for part in TOKEN.split("."))


def test_a_flood_is_suppressed_and_counted_by_reason(caplog: pytest.LogCaptureFixture) -> None:
    """One stranger's flood hides no other kind of line, and the count says that there was one."""
    for _ in range(500):
        log_events.connection_refused("192.0.2.1", TokenMissing(), 4401)
    log_events.connection_refused("192.0.2.1", TokenInvalid("signature"), 4401)
    assert len(caplog.records) == 21
    caplog.clear()
    log_events.report_suppressed()
    log_events.report_suppressed()
    assert only(caplog).getMessage() == 'log lines suppressed kind="connection.refused token_missing 4401" count=480'


def test_audit_lines_are_never_suppressed(caplog: pytest.LogCaptureFixture) -> None:
    """They are a record of who did what."""
    for number in range(100):
        log_events.audited("token.issued", "token issued", IDENTITY, "192.0.2.1", jti=f"jti-{number}")
    assert {record.name for record in caplog.records} == {"gateway.audit"}
    assert caplog.records[-1].getMessage() == (
        "token issued by_user_id=ada by_tenant=acme by_jti=jti-1 address=192.0.2.1 jti=jti-99"
    )
    assert len(caplog.records) == 100


def test_a_level_that_is_off_costs_no_budget(caplog: pytest.LogCaptureFixture) -> None:
    """Lines of a disabled level are not counted as suppressed either."""
    caplog.set_level(logging.WARNING, "gateway.connection")
    for _ in range(100):
        log_events.connection_refused("192.0.2.1", TokenMissing(), 4401)
    log_events.report_suppressed()
    assert caplog.records == []


def test_the_document_has_every_event() -> None:
    """In its table, and no other."""
    source = "".join(path.read_text() for path in (ROOT / "gateway").rglob("*.py"))
    calls = r"_write\(\s*_\w+, [\w.]+|audit\.(?:attempt|record(?:_reading)?)\(\s*f?"
    words = set(re.findall(rf'(?:{calls})(?:, )?"([\w.{{}}]+)"', source))
    table = (ROOT / "docs/logs.md").read_text().partition("## Events")[2].partition("\n\nEach")[0]
    listed = set(re.findall(r"`(\w+\.\w+)`", "".join(row.split("|")[1] for row in table.splitlines() if "|" in row)))
    assert listed == words - {"{kind}.revoked"} | {"user.revoked", "tenant.revoked", "token.revoked"}


def test_the_documents_formatter_works(caplog: pytest.LogCaptureFixture) -> None:
    """On the records that an application gets."""
    names: dict[str, Any] = {}
    exec(example("Formatter"), names)  # noqa: S102 - the document's own lines
    log_events.stream_gap(connection(), "log_reset")
    assert names["Formatter"]().format(only(caplog)).startswith("stream.gap acme events lost connection_id=con_1")
