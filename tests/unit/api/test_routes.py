"""The deadline of a body where the server has none: it is the client's."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.api import routes
from gateway.api.body import Body
from gateway.api.problems import BodyError
from gateway.engine.fair_share import FairShare
from gateway.engine.ingest import IngestScheduler


class BusyScheduler(IngestScheduler):
    """A scheduler in which each piece waits for longer than the deadline."""

    async def piece(self, tenant: str, size: int) -> None:
        await asyncio.sleep(2 * routes.BODY_SECONDS)


async def read(receive: Callable[[], Any]) -> bytes | Body:
    return await routes.read_body({"headers": []}, receive, 100, BusyScheduler(FairShare(lambda: 0.0)), "acme")


async def test_the_time_in_which_a_request_waits_for_its_turn_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "BODY_SECONDS", 0.1)
    chunks = [b"one", b"two", b"three"]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    assert bytes(await read(receive)) == b"onetwothree"


async def test_a_client_that_does_not_end_its_body_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "BODY_SECONDS", 0.1)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    with pytest.raises(BodyError) as refused:
        await read(receive)
    assert refused.value.status_code == 408
