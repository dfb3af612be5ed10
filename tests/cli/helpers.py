"""The `gateway` command as a process of its own, in a folder of its own."""

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from queue import Empty, Queue

from typer.testing import CliRunner, Result

from gateway.cli.main import app
from tests.support import SECRET

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE = 20.0
"""Seconds until a test gives up; far more than anything here takes."""

ROOMY = {
    "GATEWAY_HANDSHAKES_PER_MINUTE": "0",
    "GATEWAY_MAX_CONNECTIONS_PER_USER": "0",
    "GATEWAY_MAX_CONNECTIONS_PER_ADDRESS": "0",
    "GATEWAY_SHUTDOWN_DELAY_SECONDS": "0",
}


def environment(**values: str) -> dict[str, str]:
    """Nothing of whoever runs the tests but the path, and the command on it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": "/nonexistent", **values}


def run(
    *command: str, cwd: Path, env: Mapping[str, str] | None = None, module: str = "gateway"
) -> subprocess.CompletedProcess[str]:
    """Run `gateway …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", module, *command],
        cwd=cwd,
        env=environment(**(env or {})),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def invoke(*command: str, cwd: Path, env: Mapping[str, str] | None = None, input: str | None = None) -> Result:
    """Run `gateway …` to its end within this process: a tenth of a second where `run` takes one."""
    nothing = dict.fromkeys(name for name in os.environ if name.startswith("GATEWAY_"))
    with chdir(cwd):
        return CliRunner().invoke(app, command, input, {**nothing, **(env or {})})


@contextmanager
def processor_seconds(limit: float) -> Iterator[None]:
    """Fail if the processes that end within this took more of the processor; the clock says little when it is busy."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    yield
    assert spent() - before < limit


class Process:
    """A process that runs on, with what it has written so far."""

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.out, self.err = list[str](), list[str]()
        self._news: Queue[None] = Queue()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=arguments, daemon=True)
            for arguments in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Iterator[str], lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            self._news.put(None)
        self._news.put(None)

    def wait_for(self, met: Callable[[], bool]) -> None:
        """Return when what it has written meets this."""
        end = time.monotonic() + DEADLINE
        while not met():
            try:
                self._news.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                raise AssertionError(f"in vain: out {self.out}, err {self.err}") from None
            assert met() or self.process.poll() is None or any(r.is_alive() for r in self._readers), self.err

    def line(self, pattern: str) -> str:
        """The first group, or the whole, of the first line in either output that matches, once there is one."""
        found: list[re.Match[str]] = []

        def met() -> bool:
            found[:] = [match for line in (*self.out, *self.err) if (match := re.search(pattern, line))]
            return bool(found)

        self.wait_for(met)
        return found[0].group(1) if found[0].groups() else found[0].group()

    def stop(self, with_signal: int = signal.SIGINT) -> int:
        """Ask it to end; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            code = self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            for reader in self._readers:
                reader.join(DEADLINE)
            for stream in (self.process.stdout, self.process.stderr):
                assert stream is not None
                stream.close()
        return code


@contextmanager
def started(
    *command: str, cwd: Path, env: Mapping[str, str] | None = None, module: str = "gateway"
) -> Iterator[Process]:
    """Run `gateway …` until the block is left."""
    process = Process([sys.executable, "-m", module, *command], cwd, environment(**(env or {})))
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def serving(cwd: Path, *options: str, port: int = 0, **values: str) -> Iterator[tuple[Process, int]]:
    """A `gateway serve`, and its port once it listens."""
    env = {"GATEWAY_JWT_SECRET": SECRET, **ROOMY, **values}
    with started("serve", "--port", str(port), *options, cwd=cwd, env=env) as process:
        yield process, int(process.line(r"Listening on http://\S+:(\d+)"))
