"""The workloads, a module each: its docstring is the method that a report prints."""

from benchmarks.report import Workload
from benchmarks.workloads import connect, fanout

__all__ = ["all_workloads"]


def all_workloads() -> list[Workload]:
    """Every workload, in the order in which they run."""
    return [fanout.WORKLOAD, connect.WORKLOAD]
