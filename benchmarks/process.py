"""Servers under test as processes: started on a core, measured, and always killed afterwards."""

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final

START_SECONDS: Final = 30.0
_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ServerFailed(Exception):
    """A server did not start, or went away; the text has the end of what it printed."""


class Server:
    """A running server. A context manager: what it started is killed on the way out."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        core: int,
        env: Mapping[str, str] | None = None,
        end_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        """`end_signal` is what ends it, also if this process dies first; one with workers of its own wants SIGTERM."""
        self.port = port
        self.core = core

        def prepare() -> None:  # runs in the child, before the command
            os.sched_setaffinity(0, {core})
            _libc.prctl(_PR_SET_PDEATHSIG, end_signal)

        self._end_signal = end_signal
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd="/",  # where no .env is
            start_new_session=True,
            preexec_fn=prepare,
        )
        self._pids = [self._process.pid]

    def __enter__(self) -> "Server":
        try:
            self._await_port()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def stdin(self) -> IO[bytes]:
        """The standard input, from which servers that publish in process read orders."""
        assert self._process.stdin is not None
        return self._process.stdin

    def cpu(self) -> float:
        """Seconds of CPU time so far, user and system, of all the processes that it had when it last settled."""
        # What clock_getcpuclockid(3) answers, which Python has for threads only.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self._pids)

    def memory(self) -> int:
        """Bytes: proportional set size of all its processes. What the kernel holds for sockets is not in it."""
        total = 0
        for pid in self._pids:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def settled_memory(self, seconds: float = 5.0) -> int:
        """`memory` once the server's CPU has been quiet for a moment, after `seconds` at the latest."""
        self.settle(seconds)
        return self.memory()

    def settle(self, seconds: float = 5.0) -> None:
        """Wait until the server does next to nothing: under 1 ms in 100, twice in a row.

        To be called once before anything is measured: workers may start after the port is open.
        """
        self._pids = [self._process.pid, *_descendants(self._process.pid)]
        deadline = time.monotonic() + seconds
        quiet = 0
        while quiet < 2 and time.monotonic() < deadline:
            before = self.cpu()
            time.sleep(0.1)
            quiet = quiet + 1 if self.cpu() - before < 0.001 else 0

    def failure(self, what: str) -> ServerFailed:
        """An error that carries the end of what the server printed."""
        self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, self._output.tell() - 2000))
        printed = self._output.read().decode(errors="replace").strip()
        return ServerFailed(f"{what}\n{printed}" if printed else what)

    def stop(self) -> None:
        """End it and all that it started."""
        self._process.send_signal(self._end_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):
            self.stdin.close()
        self._output.close()

    def _await_port(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise self.failure(f"the server ended with status {self._process.returncode}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise self.failure(f"the server did not listen within {START_SECONDS:.0f} s")


def free_port() -> int:
    """A free port below the ephemeral range of clients' sockets, which no other call gets while this process lives, not
    of another benchmark's either: UDP's port of that number stays bound."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(10_000, low), 1_000):
        with socket.socket() as probe, socket.socket(type=socket.SOCK_DGRAM) as mark, contextlib.suppress(OSError):
            mark.bind(("127.0.0.1", port))
            probe.bind(("127.0.0.1", port))
            mark.detach()
            return port
    raise OSError("no free port")


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found
