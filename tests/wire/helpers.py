"""What the tests of the wire share: clocks that stand, gateways that use them, HTTP, and fences instead of sleeps."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from gateway.core.log import Log
from gateway.service.factory import Service, create_service
from gateway.transports.uvicorn.sockets import write_batch_to_fds
from tests.support import Client, Gate, settings_for


class Clock:
    """A clock that moves when it is told to. Seconds."""

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def service_with(
    clock: Callable[[], float] = time.time,
    timer: Callable[[], float] = time.monotonic,
    log: Log | None = None,
    **values: Any,
) -> Service:
    """A service as `settings_for(**values)` makes it, but for its clocks and its log."""
    return create_service(settings_for(**values), log=log, clock=clock, timer=timer, batch_writer=write_batch_to_fds)


async def fence(client: Client) -> None:
    """Fail if anything was sent to the client before the answer to a ping that is asked now."""
    await client.send(type="ping", id="fence")
    frame = await client.next()
    assert (frame["type"], frame.get("id")) == ("pong", "fence"), frame


async def until_fence(client: Client) -> list[dict[str, Any]]:
    """All that was sent to the client before the answer to a ping that is asked now."""
    await client.send(type="ping", id="fence")
    frames: list[dict[str, Any]] = []
    while True:
        frame = await client.next()
        if frame["type"] == "pong" and frame.get("id") == "fence":
            return frames
        frames.append(frame)


async def publish(gate: Gate, tenant: str = "acme", type: str = "task.completed", **fields: Any) -> str:
    """Publish as code of the same process does; returns the event's id."""
    receipt = await gate.service.gateway.publish(tenant, type, fields.pop("data", {}), **fields)
    return receipt.event_id


@asynccontextmanager
async def http(gate: Gate, token: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the gate that sends `token`."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=gate.url, headers=headers, trust_env=False, verify=False) as client:  # noqa: S501 - plain HTTP; spares loading the certificates
        yield client


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is an RFC 9457 problem document of this status and code; returns it."""
    assert response.status_code == status, (response.status_code, response.text)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    body: dict[str, Any] = response.json()
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["type"].endswith(code)
    assert body["title"]
    assert body["detail"]
    assert ("www-authenticate" in response.headers) == (status == 401)
    if status in (429, 503):
        assert int(response.headers["retry-after"]) >= 1
    return body
