"""Logging by a background thread: what is dropped, and that it is counted."""

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.server.background_logging import CallSiteFilter, DroppingQueueHandler, LogWriter
from gateway.server.log_format import JsonFormatter, TextFormatter
from gateway.telemetry import log_events
from tests.support.pauses import PATIENCE, until
from tests.support.settings import environment


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def logger_to(
    fd: int, capacity: int = 10, formatter: logging.Formatter | None = None
) -> tuple[logging.Logger, LogWriter]:
    """A logger of its own that writes there."""
    formatter = formatter or TextFormatter()
    writer = LogWriter(fd, formatter, capacity)
    writer.start()
    logger = logging.Logger("test", logging.INFO)
    logger.addHandler(DroppingQueueHandler(writer, formatter))
    return logger, writer


def _all_of(reading: int, writer: LogWriter) -> str:
    """The bytes in a pipe, until no more are waiting."""
    text = b""
    while True:
        done = not writer.lines.unfinished_tasks
        with suppress(BlockingIOError):
            while True:
                text += os.read(reading, 65_536)
        if done:
            return text.decode()
        time.sleep(0.001)


def test_lines_are_dropped_and_counted_while_nothing_reads(pipe: tuple[int, int]) -> None:
    """The caller never waits; once there is room again, a line says how many are missing."""
    reading, writing = pipe
    logger, writer = logger_to(writing)
    for _ in range(1_000):
        logger.info("x" * 1_000)
    assert writer.lines.full()
    os.set_blocking(reading, False)
    text = _all_of(reading, writer)
    logger.info("last")
    text += _all_of(reading, writer)
    dropped = [int(count) for count in re.findall(r"WARNING gateway.server: (\d+) log lines dropped\n", text)]
    assert sum(dropped) + text.count("xx\n") == 1_000
    assert dropped
    assert text.endswith(": last\n")


async def test_a_full_disk_is_counted_as_well() -> None:
    """Notices that could not be written are counted with it."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        logger, writer = logger_to(full)
        for _ in range(5):
            logger.info("x")
            writer.flush(5)
        await until(lambda: writer.lost == 5)
    finally:
        os.close(full)


def test_a_record_that_cannot_be_formatted_is_counted(pipe: tuple[int, int], capfd: pytest.CaptureFixture[str]) -> None:
    """The failure raises nothing, and writes nothing to stderr."""
    reading, writing = pipe
    logger, writer = logger_to(writing, formatter=JsonFormatter())
    logger.info("%d", "no number")
    logger.info("next")
    writer.flush(5)
    notice, following = os.read(reading, 65_536).decode().splitlines()
    assert "1 log lines dropped" in notice
    assert '"next"' in following
    assert capfd.readouterr().err == ""


def test_a_process_ends_while_its_writer_is_stuck(tmp_path: Path) -> None:
    """`logging.shutdown` and the interpreter's end wait for no lock that the writer holds."""
    code = """if True:
        import logging, os, sys
        from gateway.server.background_logging import start_background_logging
        writer = start_background_logging("info", "text")
        for _ in range(2_000):
            logging.getLogger("gateway.audit").info("x" * 1_000, extra={"event": "x"})
        writer.flush(0.2)
        print("ends", flush=True)
    """
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=writing,
            timeout=PATIENCE,
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert (done.returncode, done.stdout) == (0, b"ends\n")


def test_lines_of_libraries_are_limited_by_call_site() -> None:
    """A client that makes uvicorn warn of each of its requests gets no more than a line a second."""
    passed = CallSiteFilter()

    def made(line: int, **more: object) -> logging.LogRecord:
        record = logging.LogRecord("uvicorn.error", logging.WARNING, "/x/h11_impl.py", line, "%s", ("x",), None)
        vars(record).update(more)
        return record

    assert [passed.filter(made(1)) for _ in range(100)].count(True) == 20
    assert passed.filter(made(2))
    assert all(passed.filter(made(1, event="token.issued")) for _ in range(100))
    assert log_events.limiter.take_suppressed() == {("uvicorn.error", "h11_impl.py:1"): 80}
