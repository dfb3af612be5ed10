"""Publishing by code of the same process: what it may pass, and what is refused."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest

from tests.support.clients import fence, http
from tests.support.inprocess import RunningGateway

ID = UUID("12345678-1234-5678-1234-567812345678")


class Circle(IntEnum):
    SEVEN = 7


class Project(StrEnum):
    FIVE = "five"

    def __str__(self) -> str:
        return "a text of its own"


async def published(gate: RunningGateway, data: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The frame that a client of the whole tenant gets."""
    async with gate.client(query="&rooms=tenant") as client:
        await client.next("subscribed")
        await gate.service.gateway.publish("acme", "task.created", data or {}, **fields)
        return await client.next()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("circle_id", ID, str(ID)),
        ("project_id", ID, str(ID)),
        ("source_agent_id", ID, str(ID)),
        ("user_id", ID, str(ID)),
        ("user_id", 42, "42"),
        ("circle_id", Circle.SEVEN, 7),
        ("project_id", Project.FIVE, "five"),
    ],
)
async def test_ids_of_python_are_taken(gate: RunningGateway, name: str, value: Any, text: str | int) -> None:
    """UUIDs, members of enums and integers; the frame has plain JSON."""
    assert (await published(gate, **{name: value}))[name] == text


async def test_a_uuid_names_a_room(gate: RunningGateway) -> None:
    """Its text is the id."""
    async with gate.client(query=f"&rooms=circle:{ID}") as client:
        await client.next("subscribed")
        await gate.service.gateway.publish("acme", "task.created", {}, circle_id=ID)
        assert (await client.next())["circle_id"] == str(ID)


@pytest.mark.parametrize("value", [True, 1.0, b"7", ["7"], object()])
@pytest.mark.parametrize("name", ["circle_id", "project_id", "user_id", "source_agent_id"])
async def test_other_ids_are_refused_by_name(gate: RunningGateway, name: str, value: Any) -> None:
    """No event is appended, and the error names the argument and the rule."""
    with pytest.raises(ValueError, match=f"{name}: pass a str, an int or a UUID, not {type(value).__name__}"):
        await gate.service.gateway.publish("acme", "task.created", {}, **{name: value})
    assert gate.service.gateway.log.window("acme").head == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 1, 15, 10, 30, tzinfo=UTC), "2026-01-15T10:30:00.000Z"),
        (datetime(2026, 1, 15, 12, 30, 0, 5_000, timezone(timedelta(hours=2))), "2026-01-15T10:30:00.005Z"),
        ("2026-01-15T10:30:00Z", "2026-01-15T10:30:00.000Z"),
        ("2026-01-15t12:30:00.25+02:00", "2026-01-15T10:30:00.250Z"),
        (None, None),
    ],
)
async def test_timestamps_are_written_as_rfc_3339_in_utc(gate: RunningGateway, value: Any, text: str | None) -> None:
    """A `datetime` with a zone, or text; unless given, now."""
    timestamp = (await published(gate, timestamp=value))["timestamp"]
    assert timestamp == text if text else timestamp.endswith("Z")


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 15, 10, 30),
        *("", '2026"', "2026-01-15", "2026-01-15T10:30:00", "2026-01-15 10:30:00Z", "2026-W03-4T10:30:00Z"),
        *("2026-13-15T10:30:00Z", "2026-01-15T10:30:00Z\n", "2026-01-15T10:30:00.1234567890Z"),
        *(1_768_000_000, b"2026-01-15T10:30:00Z"),
    ],
)
async def test_other_timestamps_are_refused(gate: RunningGateway, value: Any) -> None:
    """A quote in one would make a frame that is no JSON."""
    async with gate.client(query="&rooms=tenant") as client:
        await client.next("subscribed")
        with pytest.raises(ValueError, match=r"^timestamp: |month must be"):
            await gate.service.gateway.publish("acme", "task.created", {}, timestamp=value)
        await fence(client)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
async def test_numbers_that_are_not_finite_are_refused(gate: RunningGateway, value: float) -> None:
    """JSON has no text for them."""
    with pytest.raises(ValueError, match="not finite"):
        await gate.service.gateway.publish("acme", "task.created", {"value": [value]})
    assert (await published(gate, {"text": "NaN Infinity"}))["data"] == {"text": "NaN Infinity"}


async def test_idempotency_keys_are_their_principals_own(gate: RunningGateway) -> None:
    """Equal keys of two users, and of code of this process, are different keys, however they are written."""
    event = {"type": "task.created", "circle_id": 1, "idempotency_key": "k"}
    ids = set()
    for user in ("ada", "bob"):
        async with http(gate, gate.token(user)) as api:
            for _ in range(2):
                answer = (await api.post("/events", json={**event, "data": {"user": user}})).json()
                ids.add(answer["event_id"])
    for key in ("k", "acme/ada k", " k", "ada k"):
        receipt = await gate.service.gateway.publish("acme", "task.created", {"of": key}, circle_id=1, key=key)
        assert not receipt.duplicate
        ids.add(receipt.event_id)
    assert len(ids) == 6
