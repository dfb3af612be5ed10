"""The check of events against the contract: its cost, and what it keeps."""

from collections.abc import Callable, Iterable
from time import thread_time
from timeit import repeat
from typing import Any

import pytest

from gateway.core.contract import Contract, ContractViolation
from gateway.core.drafts import draft_of
from schemas.contract.event_schema import EventSchema
from schemas.contract.json_schema import json_event_schema
from schemas.contract.models import model_event_schema
from schemas.rooms import DEFAULT_KINDS
from tests.support.contracts import BAD, COMPLETED, GOOD, Completed

DATA = {**GOOD, "note": "x" * 150}
"""Data of an event of 250 bytes."""

SCHEMAS: dict[str, Callable[[], EventSchema]] = {
    "json schema": lambda: json_event_schema("task.completed", 1, COMPLETED),
    "model": lambda: model_event_schema("task.completed", 1, Completed),
}


def drafted(contract: Contract | None, type: str = "task.completed", data: Any = DATA) -> int:
    route = DEFAULT_KINDS.route(None, 7, 3)
    at = "2026-01-15T10:30:00.123Z"
    draft = draft_of(
        type, data, route=route, source_agent_id=None, timestamp=at, key=None, max_bytes=65_536, contract=contract
    )
    return len(draft.body)


@pytest.mark.timing
@pytest.mark.parametrize("kind", SCHEMAS)
def test_check_takes_five_microseconds(kind: str) -> None:
    """More CPU than without a contract, for an event of 250 bytes; the best of several measurements."""
    contract = Contract([SCHEMAS[kind]()])
    assert 240 <= drafted(None) <= 260

    def seconds(contract: Contract | None) -> float:
        return min(repeat(lambda: drafted(contract), timer=thread_time, number=200, repeat=200)) / 200

    assert seconds(contract) - seconds(None) <= 5e-6


def schemas(count: int) -> Iterable[EventSchema]:
    return [json_event_schema(f"task.number{n}", 1, COMPLETED) for n in range(count)]


def test_memory_does_not_grow_with_violations() -> None:
    """One entry for each type of the contract, and one for all other types."""
    contract = Contract(schemas(3), unknown="refuse")
    for n in range(100):
        with pytest.raises(ContractViolation):
            drafted(contract, f"client.made{n}")
        with pytest.raises(ContractViolation):
            drafted(contract, f"task.number{n % 3}", BAD)
    recent = list(contract.take_recent())
    assert sorted(each.count for each in recent) == [33, 33, 34, 100]
    assert contract.violations == 200
    assert list(contract.take_recent()) == []


def test_got_is_cut() -> None:
    """100 characters of the refused value, however large it is."""
    contract = Contract([SCHEMAS["json schema"]()])
    with pytest.raises(ContractViolation) as refused:
        drafted(contract, data={**GOOD, "note": ["x" * 30_000]})
    assert len(refused.value.mismatch.got) == 100
    assert len(str(refused.value)) < 300
