"""Logging that never blocks the event loop: a thread writes the lines, and drops and counts what it cannot write."""

import logging
import os
import sys
import threading
import time
from logging.handlers import QueueHandler, QueueListener
from queue import Full, Queue
from typing import Any, Final

from gateway.server.log_format import formatter_of
from gateway.telemetry import log_events
from gateway.telemetry.redaction import RedactingFilter

CAPACITY: Final = 1_000
"""Lines that may wait to be written."""


class LogWriter(QueueListener):
    """Writes records to a file descriptor: that of a full disk, or of a pipe that nothing reads, as well.

    Do not call `stop`: it joins the thread, which may be stuck in a write. The thread is a daemon, and ends with the
    process.
    """

    def __init__(self, fd: int, formatter: logging.Formatter, capacity: int = CAPACITY) -> None:
        self.lines: Queue[Any] = Queue(capacity)
        super().__init__(self.lines)
        self._fd = fd
        self._formatter = formatter
        self._lost = 0
        self._lock = threading.Lock()

    @property
    def lost(self) -> int:
        """Lines that were not written and are not reported yet."""
        return self._lost

    def lose(self, count: int) -> None:
        """Count lines that were not written, for a line that says so as soon as one can be written."""
        with self._lock:
            self._lost += count

    def handle(self, record: logging.LogRecord) -> None:
        with self._lock:
            lost, self._lost = self._lost, 0
        line = str(record.msg)
        if lost:
            notice = logging.LogRecord("gateway.server", logging.WARNING, "", 0, "%d log lines dropped", (lost,), None)
            line = f"{self._formatter.format(notice)}\n{line}"
        data = f"{line}\n".encode(errors="backslashreplace")
        try:
            while data:
                # Past sys.stderr: its lock would be held for as long as this waits, and the interpreter's end wants it.
                data = data[os.write(self._fd, data) :]
        except OSError:
            self.lose(lost + 1)

    def flush(self, seconds: float) -> None:
        """Give the lines that wait so long to be written."""
        ends = time.monotonic() + seconds
        while self.lines.unfinished_tasks and time.monotonic() < ends:
            time.sleep(0.01)


class DroppingQueueHandler(QueueHandler):
    """Formats each record where it is logged and hands it to a `LogWriter`; drops it where too many wait already."""

    def __init__(self, writer: LogWriter, formatter: logging.Formatter) -> None:
        super().__init__(writer.lines)
        self.setFormatter(formatter)
        self._writer = writer

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except Full:
            self._writer.lose(1)

    def handleError(self, record: logging.LogRecord) -> None:
        """A record that cannot be formatted; logging's own answer would write to stderr."""
        self._writer.lose(1)


class CallSiteFilter(logging.Filter):
    """Limits the lines of each call site, those of libraries included: whatever a client does, it cannot fill a disk.

    Log events have limits of their own.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return hasattr(record, "event") or log_events.limiter.acquire(
            (record.name, f"{record.filename}:{record.lineno}")
        )


def start_background_logging(level: str, style: str) -> LogWriter | None:
    """Send the records of this process to stderr: those of the gateway and of uvicorn from `level` on, those of other
    libraries from WARNING on. None where stderr is no file: its lines are then written at once."""
    formatter = formatter_of(style)
    writer: LogWriter | None = None
    handler: logging.Handler
    try:
        writer = LogWriter(sys.stderr.fileno(), formatter)
    except (AttributeError, OSError, ValueError):
        handler = logging.StreamHandler()
        handler.setFormatter(formatter)
    else:
        handler = DroppingQueueHandler(writer, formatter)
        writer.start()
    handler.addFilter(CallSiteFilter())
    handler.addFilter(RedactingFilter())
    root, number = logging.getLogger(), logging.getLevelNamesMapping()[level.upper()]
    root.handlers = [handler]
    root.setLevel(max(logging.WARNING, number))
    for name in ("gateway", "uvicorn"):
        logging.getLogger(name).setLevel(number)
    logging.captureWarnings(True)
    return writer
