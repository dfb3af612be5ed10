"""The machine: the cores for server and load, limits, and a description for the report."""

import contextlib
import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for the server, one for the load; the same one where there is no other."""

    server: int
    load: int

    @classmethod
    def choose(cls) -> "Cores":
        """The last core that this process may use for the server, the first for the load."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(server=usable[-1], load=usable[0])

    @property
    def shared(self) -> bool:
        """Whether server and load share a core, which makes the figures meaningless."""
        return self.server == self.load


def raise_file_limit(wanted: int = 65_536) -> int:
    """Let this process, and those it starts, open many sockets. Returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(wanted, soft), hard):
        with contextlib.suppress(ValueError, OSError):  # above the hard limit only root may go, and not everywhere
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, hard)))
            return limit
    return soft


def describe() -> dict[str, str]:
    """Processor, memory and system, for the head of a report."""
    processor = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    return {
        "processor": f"{processor}, {os.cpu_count()} cores",
        "memory": f"{int(memory) / 1024**2:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }


def core_idle(core: int) -> float:
    """Seconds since boot that `core` had nothing to do; counted in steps of 10 ms."""
    for line in _lines("/proc/stat"):
        name, *ticks = line.split()
        if name == f"cpu{core}":
            return (int(ticks[3]) + int(ticks[4])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
