"""Clients of a gateway, over WebSocket and HTTP; `tests.support.raw_client` is one that sends any bytes."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import httpx
from websockets.asyncio.client import ClientConnection

from tests.support.pauses import PATIENCE, within


class Client:
    """A WebSocket client that reads frames as dictionaries."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.established: dict[str, Any] = {}

    async def send(self, **command: Any) -> None:
        await self.websocket.send(json.dumps(command))

    async def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command with an id and return the frame that echoes it; what comes before it must be events."""
        command.setdefault("id", f"c{time.monotonic_ns()}")
        await self.send(**command)
        while True:
            frame = await self.next()
            if frame.get("id") == command["id"]:
                return frame

    async def next(self, kind: str | None = None, timeout: float = PATIENCE) -> dict[str, Any]:
        """The next frame, which must be of type `kind` where that is given."""
        async with within(timeout):
            frame: dict[str, Any] = json.loads(await self.websocket.recv())
        assert kind is None or frame["type"] == kind, frame
        return frame

    async def quiet(self, seconds: float = 0.15) -> None:
        """Fail if a frame comes within `seconds`."""
        try:
            frame = await self.next(timeout=seconds)
        except TimeoutError:
            return
        raise AssertionError(f"unexpected: {frame}")

    async def closed(self, timeout: float = PATIENCE) -> tuple[int, str]:
        """The code and reason with which the server closes; frames before it are read away."""
        async with within(timeout):
            await self.websocket.wait_closed()
        assert self.websocket.close_code is not None
        return self.websocket.close_code, self.websocket.close_reason or ""


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


class HasUrl(Protocol):
    @property
    def url(self) -> str: ...


def http_client(url: str = "", **options: Any) -> httpx.AsyncClient:
    """An HTTP client of what is served at `url`, with the patience of the tests. For plain HTTP: loading the
    certificates would take 30 ms."""
    return httpx.AsyncClient(**{"base_url": url, "timeout": PATIENCE, "trust_env": False, "verify": False, **options})


@asynccontextmanager
async def http(gate: HasUrl, token: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the gate that sends `token`."""
    async with http_client(gate.url, headers={} if token is None else {"Authorization": f"Bearer {token}"}) as client:
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
