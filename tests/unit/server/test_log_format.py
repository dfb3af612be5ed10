"""Formats of log lines: text and JSON."""

import json
import logging
import re
import sys
from typing import Any

import pytest

from gateway.server.log_format import JsonFormatter, TextFormatter
from gateway.telemetry.log_events import EventText

HOSTILE = "GET /\r\n2026-01-15T10:30:00.000Z INFO gateway.audit: forged\x1b[2J\x85\u2028\x00\x7f end"


def record(message: object, *args: Any, name: str = "gateway.server", **more: Any) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, "file.py", 1, message, args, more.pop("exc_info", None))
    vars(made).update(more)
    return made


def failed(text: str) -> Any:
    try:
        raise ValueError(text)
    except ValueError:
        return sys.exc_info()


def test_text_has_time_level_and_logger() -> None:
    """In UTC, so that lines of several nodes can be put beside each other."""
    made = record("listening on %s", "http://x")
    made.created = 1_768_473_000.25
    assert TextFormatter().format(made) == "2026-01-15T10:30:00.250Z WARNING gateway.server: listening on http://x"


def test_a_text_line_cannot_be_forged() -> None:
    """Control characters are escaped; further lines are indented, in a message and in a traceback alike."""
    text = TextFormatter().format(record("refused %s", HOSTILE, exc_info=failed(HOSTILE)))
    assert not re.search(r"^(?! )(?!.*refused)", text, re.MULTILINE)
    assert not re.search(r"[^\n\x20-\x7e]", text)
    assert "ValueError" in text
    assert "forged\\x1b[2J\\x85\\u2028\\x00\\x7f end" in text


def test_json_is_one_object_a_line() -> None:
    """The message may hold any text."""
    line = JsonFormatter().format(record("refused %s", HOSTILE, exc_info=failed(HOSTILE)))
    assert line.isascii()
    assert line.isprintable()
    content = json.loads(line)
    assert (content["level"], content["logger"]) == ("warning", "gateway.server")
    assert content["message"] == f"refused {HOSTILE}"
    assert content["exception"].rstrip().endswith("end")


def test_json_has_the_fields_of_an_event() -> None:
    """The fields are members, beside a message that does not repeat them."""
    made = record(EventText("connection closed", {"code": 4408, "reason": "slow"}), event="connection.closed")
    content = json.loads(JsonFormatter().format(made))
    assert content.pop("time").endswith("Z")
    assert content == {
        "level": "warning",
        "logger": "gateway.server",
        "message": "connection closed",
        "event": "connection.closed",
        "code": 4408,
        "reason": "slow",
    }


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_line_has_a_bounded_length(formatter: logging.Formatter) -> None:
    """A URL has up to 64 kB, a traceback can be without end."""
    assert len(formatter.format(record("%s", "\x01" * 100_000, exc_info=failed("\x01" * 100_000)))) < 120_000
    assert len(formatter.format(record("%s", "a" * 100_000))) < 2_200
