"""Background logging: a thread writes the lines, so that a blocked output never blocks the event loop; excess lines are
dropped and counted."""

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
"""Maximum queued lines."""


class LogWriter(QueueListener):
    """Writes queued records to a file descriptor, which may block (a full disk, an unread pipe).

    Do not call `stop`: it joins the thread, which may be blocked in a write. The thread is a daemon, and ends with the
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
        """The number of dropped lines that are not reported yet."""
        return self._lost

    def lose(self, count: int) -> None:
        """Count dropped lines, to be reported with the next line that can be written."""
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
                # Not through sys.stderr, whose lock the interpreter needs at its exit.
                data = data[os.write(self._fd, data) :]
        except OSError:
            self.lose(lost + 1)

    def flush(self, seconds: float) -> None:
        """Wait up to `seconds` until the queue is written."""
        ends = time.monotonic() + seconds
        while self.lines.unfinished_tasks and time.monotonic() < ends:
            time.sleep(0.01)


class DroppingQueueHandler(QueueHandler):
    """Formats each record in the logging thread and queues it for a `LogWriter`; drops it if the queue is full."""

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
        """Count a record that cannot be formatted; the default would write to stderr."""
        self._writer.lose(1)


class CallSiteFilter(logging.Filter):
    """Limits the rate of lines of each call site, those of libraries included, so that no client can fill a disk.

    Log events have their own rate limits.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return hasattr(record, "event") or log_events.limiter.acquire(
            (record.name, f"{record.filename}:{record.lineno}")
        )


def start_background_logging(level: str, style: str) -> LogWriter | None:
    """Send the records of this process to stderr: of the gateway and uvicorn from `level` on, of other libraries from
    WARNING on. None where stderr has no descriptor: its lines are then written synchronously."""
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
