"""Redaction of credentials in log records."""

import logging
import re
from typing import Final


def _percent_encoded(word: str) -> str:
    """A pattern that matches `word` in any percent-encoding."""
    return "".join(f"(?:{letter}|%{ord(letter):02x}|%{ord(letter.upper()):02x})" for letter in word)


_CREDENTIAL: Final = re.compile(
    # A parameter, a cookie or a member of JSON by such a name; a header or a subprotocol; a JWT by its looks.
    rf"(?i)((?:{_percent_encoded('token')}|{_percent_encoded('ticket')})s?(?:=|%3d|['\"]?\s*:)[\s'\"\[]*)[^&\s'\"]+"
    r"|(\bauthorization\b\W+|\bbearer[. ]\s*)[^\r\n'\",\]]+"
    r"|()eyj[\w-]{8,}(?:(?:\.|%2e)[\w-]*)*"
)
MAX_ARGUMENT: Final = 1_000
"""Maximum characters of a message argument: a URL may have 64 kB, all searched and written."""

_formatter: Final = logging.Formatter()


class RedactingFilter(logging.Filter):
    """Removes credentials from a server's log records: URLs, scopes, texts of exceptions.

    Frames and headers that the websockets library logs at DEBUG are dropped: they may have a credential anywhere, and
    tenants' events.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG and str(record.msg).startswith(("< ", "> ")):
            return False
        if isinstance(record.args, tuple):  # separately: uvicorn's access log formatter reads the arguments
            record.args = tuple(redacted(_cut(part)) if isinstance(part, str) else part for part in record.args)
        try:
            text = record.getMessage()
        except Exception:  # else it would be raised in the logging code
            record.msg, record.args = f"a record of {record.filename}:{record.lineno} cannot be formatted", ()
            return True
        if (clean := redacted(text)) != text:
            record.msg, record.args = clean, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = redacted(_formatter.formatException(record.exc_info))
        return True


def _cut(text: str) -> str:
    return text if len(text) <= MAX_ARGUMENT else f"{text[:MAX_ARGUMENT]}…"


def redacted(text: str) -> str:
    """`text` without anything that is, or could be, a credential."""
    return _CREDENTIAL.sub(lambda found: f"{found[1] or found[2] or ''}***", text)


def redact_server_logs() -> None:
    """Filter uvicorn's loggers, which write the URL of a WebSocket at INFO to `uvicorn.error`, with or without access
    log; and the gateway's existing loggers, for exceptions that quote their input."""
    ours = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "gateway"]
    for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi", *ours):
        target = logging.getLogger(name)
        if not any(isinstance(known, RedactingFilter) for known in target.filters):
            target.addFilter(RedactingFilter())
