"""The event contract: the CPU time of checking an event of 250 bytes, in process, without sockets.

20,000 events are drafted in turn without a contract, and against one whose schema is JSON Schema, or a pydantic model.
Measured is the CPU time of the process; the least of five turns counts.
"""

import time
from collections.abc import Iterator
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from benchmarks.measure import Bench, Figure
from benchmarks.peers import Peer
from benchmarks.report import Column, Workload
from gateway.core.contract import Contract
from gateway.core.drafts import draft_of
from schemas.contract.json_schema import json_event_schema
from schemas.contract.models import model_event_schema
from schemas.rooms import DEFAULT_KINDS

CASE: Final = "an event of 250 bytes"
_TYPE: Final = "task.completed"
_TURNS: Final = 5
_DATA: Final[dict[str, Any]] = {"task_id": 7, "result": "ok", "note": "x" * 150}
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["task_id", "result"],
    "properties": {
        "task_id": {"type": "integer"},
        "result": {"enum": ["ok", "failed"]},
        "note": {"type": "string", "maxLength": 2_000},
    },
}


class _Completed(BaseModel):
    """The same schema as a model."""

    model_config = ConfigDict(extra="forbid")

    task_id: int
    result: Literal["ok", "failed"]
    note: str | None = None


def run(bench: Bench, peer: Peer) -> Iterator[Figure]:
    count = bench.count(20_000)
    contracts = {
        "schema": Contract([json_event_schema(_TYPE, 1, _SCHEMA)]),
        "model": Contract([model_event_schema(_TYPE, 1, _Completed)]),
    }
    plain = min(_drafted(count, None) for _ in range(_TURNS))
    yield Figure(CASE, "plain", plain * 1e6)
    for name, contract in contracts.items():
        checked = min(_drafted(count, contract) for _ in range(_TURNS))
        yield Figure(CASE, name, (checked - plain) * 1e6)


def _drafted(count: int, contract: Contract | None) -> float:
    """Seconds of CPU time for each event."""
    route = DEFAULT_KINDS.route(None, 7, 3)
    at = "2026-01-15T10:30:00.123Z"
    begun = time.process_time()
    for _ in range(count):
        draft_of(
            _TYPE, _DATA, route=route, source_agent_id=None, timestamp=at, key=None, max_bytes=65_536, contract=contract
        )
    return (time.process_time() - begun) / count


WORKLOAD: Final = Workload(
    name="contract",
    title="The event contract",
    method=__doc__,
    run=run,
    columns=(
        Column("plain", "µs of CPU to draft, without a contract", "{:.1f}"),
        Column("schema", "µs more, JSON Schema", "{:.1f}"),
        Column("model", "µs more, pydantic model", "{:.1f}"),
    ),
    suits=lambda peer: peer.name == "gateway",
)
