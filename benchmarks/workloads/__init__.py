"""The workloads, a module each: its docstring is the method that a report prints."""

from benchmarks.report import Workload
from benchmarks.workloads import (
    connect,
    contract,
    dashboards,
    fairness,
    fanout,
    growth,
    ingest,
    keyed,
    marks,
    nodes,
    observability,
    publish,
    resume,
    slow,
    streams,
    stuck,
)

__all__ = ["all_workloads"]


def all_workloads() -> list[Workload]:
    """Every workload, in the order in which they run."""
    modules = (
        fanout,
        connect,
        marks,
        streams,
        dashboards,
        ingest,
        publish,
        keyed,
        resume,
        contract,
        nodes,
        fairness,
        observability,
        slow,
        stuck,
        growth,
    )
    return [module.WORKLOAD for module in modules]
