"""Metrics of the process: its build, memory and CPU."""

import os
import platform
import time
from collections.abc import Iterator
from typing import Final

from gateway.core.metric import Metric
from gateway.core.version import VERSION

_STATM: Final = "/proc/self/statm"
"""proc(5): sizes in pages, the resident one second. Linux only."""


def process_metrics(started: float) -> Iterator[Metric]:
    """The metrics of a process that was started at a time, in seconds since the epoch."""
    build = (VERSION, platform.python_version())
    yield Metric(
        "build_info", "gauge", "Versions of the gateway and of Python.", lambda: {build: 1}, ("version", "python")
    )
    yield Metric("start_time_seconds", "gauge", "Start of the gateway, in seconds since the epoch.", lambda: started)
    yield Metric("process_cpu_seconds_total", "counter", "CPU time of the process.", time.process_time)
    if os.path.exists(_STATM):
        yield Metric("process_resident_memory_bytes", "gauge", "Resident memory of the process.", _resident_bytes)


def _resident_bytes() -> int:
    with open(_STATM) as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
