"""The check of events against the contract: its memory."""

from collections.abc import Iterable
from typing import Any

import pytest

from gateway.core.contract import Contract, ContractViolation
from gateway.core.drafts import draft_of
from schemas.contract.event_schema import EventSchema
from schemas.contract.json_schema import json_event_schema
from schemas.rooms import DEFAULT_KINDS
from tests.support.contracts import BAD, COMPLETED, GOOD


def drafted(contract: Contract | None, type: str = "task.completed", data: Any = GOOD) -> int:
    route = DEFAULT_KINDS.route(None, 7, 3)
    at = "2026-01-15T10:30:00.123Z"
    draft = draft_of(
        type, data, route=route, source_agent_id=None, timestamp=at, key=None, max_bytes=65_536, contract=contract
    )
    return len(draft.body)


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
    contract = Contract([json_event_schema("task.completed", 1, COMPLETED)])
    with pytest.raises(ContractViolation) as refused:
        drafted(contract, data={**GOOD, "note": ["x" * 30_000]})
    assert len(refused.value.mismatch.got) == 100
    assert len(str(refused.value)) < 300
