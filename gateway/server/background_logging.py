"""Log lines that hold up nobody: a thread writes them, and what it cannot write in time is dropped and counted."""

import logging
import os
import sys
import threading
import time
from queue import Full, Queue
from typing import Final

WAITING: Final = 1_000
"""Lines that may wait to be written."""

_PLAIN: Final = logging.Formatter("%(levelname)s: %(message)s")


class Lines:
    """Writes to a file descriptor that may be full, or a pipe that nobody reads."""

    def __init__(self, fd: int, most: int = WAITING) -> None:
        self.dropped = 0
        self._fd = fd
        self._queue: Queue[str] = Queue(most)
        self._lock = threading.Lock()
        # Not waited for when the process ends: it may be stuck.
        threading.Thread(target=self._write_all, name="log lines", daemon=True).start()

    def put(self, line: str) -> None:
        try:
            self._queue.put_nowait(line)
        except Full:
            self._drop(1)

    def flush(self, seconds: float) -> None:
        """Give what waits that long to be written."""
        ends = time.monotonic() + seconds
        while self._queue.unfinished_tasks and time.monotonic() < ends:
            time.sleep(0.01)

    def _drop(self, count: int) -> None:
        with self._lock:
            self.dropped += count

    def _write_all(self) -> None:
        while True:
            line = self._queue.get()
            with self._lock:
                dropped, self.dropped = self.dropped, 0
            if dropped:
                line = f"WARNING:  {dropped} log lines could not be written and were dropped\n{line}"
            try:
                self._write(f"{line}\n".encode(errors="backslashreplace"))
            except OSError:
                self._drop(dropped + 1)
            finally:
                self._queue.task_done()

    def _write(self, data: bytes) -> None:
        while data:
            # Past sys.stderr: its lock would be held for as long as this waits, and the end of the process wants it.
            data = data[os.write(self._fd, data) :]


class LineHandler(logging.Handler):
    """Formats as the handler did that it stands in for."""

    def __init__(self, lines: Lines, formatter: logging.Formatter, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.setFormatter(formatter)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # logging's own answer is to write to stderr
            line = f"{record.levelname}: a line of {record.name} could not be formatted"
        self._lines.put(line)


def write_lines_aside() -> Lines | None:
    """From here on what uvicorn and the gateway log to stderr is written by a thread; None where stderr is no file."""
    try:
        lines = Lines(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return None
    server = logging.getLogger("uvicorn")
    formatters = [handler.formatter for handler in server.handlers if handler.formatter is not None]
    formatter = formatters[0] if formatters else _PLAIN
    server.handlers = [LineHandler(lines, formatter)]
    root = logging.getLogger()
    if not root.handlers:  # where logging has a last resort, which writes at once
        root.addHandler(LineHandler(lines, formatter, logging.WARNING))
    return lines
