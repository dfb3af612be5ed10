"""Log formatters: text for people, JSON for machines, both of bounded length."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Final

from gateway.telemetry.log_events import EventText

MAX_MESSAGE: Final = 2_000
MAX_TRACEBACK: Final = 16_000
"""Characters; the end of a longer traceback is kept, which has the exception."""

FORMATS: Final = ("text", "json")

_CONTROL: Final = re.compile(r"[^\n\x20-\x7e\xa1-\u2027\u2030-\ufffd\U00010000-\U0010ffff]")
"""Characters that could move a terminal's cursor or end a line: C0, C1, U+2028 and U+2029."""


class TextFormatter(logging.Formatter):
    """`2026-01-15T10:30:00.000Z INFO gateway.connection: connection refused reason=token_missing …`

    Further lines, those of a traceback, are indented: no client can have a line written that looks like another record.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = f"{_time(record)} {record.levelname} {_name(record)}: {_message(record)}"
        if traceback := _traceback(self, record):
            text = f"{text}\n{traceback}"
        return _CONTROL.sub(_escaped, text).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """One JSON object a line (RFC 8259, ASCII): `time`, `level`, `logger`, `message`, the fields of a log event, and
    `exception` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _time(record), "level": record.levelname.lower(), "logger": _name(record)}
        if isinstance(record.msg, EventText):
            line |= {"message": record.msg.summary, "event": getattr(record, "event", ""), **record.msg.fields}
        else:
            line["message"] = _message(record)
        if traceback := _traceback(self, record):
            line["exception"] = traceback
        return json.dumps(line)


def formatter_of(style: str) -> logging.Formatter:
    """The formatter for one of `FORMATS`."""
    return JsonFormatter() if style == "json" else TextFormatter()


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _name(record: logging.LogRecord) -> str:
    return "uvicorn" if record.name == "uvicorn.error" else record.name  # uvicorn's general logger


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage().rstrip("\n")
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}… ({len(text) - MAX_MESSAGE} characters more)"


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if record.exc_info and not record.exc_text:
        record.exc_text = formatter.formatException(record.exc_info)
    return (record.exc_text or "")[-MAX_TRACEBACK:]


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
