"""The application of docs/sessions.md, as it stands: session cookies, and membership in a database."""

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.transports.uvicorn import HttpProtocol, SocketTransport
from tests.documentation.pages import example
from tests.embedding.application import client, established
from tests.support.clients import assert_problem, http_client, until_fence
from tests.support.inprocess import RunningGateway, served
from tests.support.settings import SECRET

OPTIONS: dict[str, dict[str, Any]] = {
    "socket": {"ws": SocketTransport, "http": HttpProtocol, "ws_per_message_deflate": False},
    "asgi": {},
}


@pytest.fixture(params=OPTIONS)
async def board(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RunningGateway]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_JWT_SECRET", SECRET)
    (tmp_path / "board.py").write_text(example("board.py"))
    spec = importlib.util.spec_from_file_location("board", tmp_path / "board.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    async with served(module.app, **OPTIONS[request.param]) as port:
        yield RunningGateway(module.service, port)


@asynccontextmanager
async def visitor(board: RunningGateway, user: str) -> AsyncIterator[tuple[str, httpx.AsyncClient]]:
    """The session of a user who has logged in, and a client that sends its cookie."""
    async with http_client(board.url) as api:
        cookie = (await api.post(f"/login/{user}")).headers["set-cookie"]
        assert {"Secure", "HttpOnly", "SameSite=lax"} <= set(cookie.split("; "))
        session = cookie.partition(";")[0].partition("=")[2]
        api.headers["Cookie"] = f"session={session}"
        yield session, api


async def test_only_members_follow_their_circles(board: RunningGateway) -> None:
    async with visitor(board, "ada") as (session, api):
        async with established(board, session, "?rooms=circle:7") as ada:
            assert (await ada.next("error"))["data"]["code"] == "room_forbidden"
        assert (await api.put("/circles/7/members/ada")).status_code == 200
        async with established(board, session, "?rooms=circle:7") as ada:
            await ada.next("subscribed")
            await board.publish(circle_id=7, data={"n": 1})
            cursor = (await ada.next("task.completed"))["event_id"]
            assert (await api.get("/rooms/circle:7/presence")).json()["users"] == [{"user_id": "ada", "connections": 1}]
            assert_problem(await api.get("/rooms/circle:8/presence"), 403, "room_forbidden")
            assert (await api.delete("/circles/7/members/ada")).status_code == 200
            await ada.next("circle.member.removed")
            assert (await ada.next("subscription.revoked"))["data"]["rooms"] == ["circle:7"]
        await board.publish(circle_id=7, data={"n": 2})
        async with established(board, session, f"?rooms=circle:7&since={cursor}") as ada:
            assert (await ada.next("error"))["data"]["code"] == "room_forbidden"
            assert not [frame for frame in await until_fence(ada) if "event_id" in frame]


async def test_a_logout_ends_connections_and_sessions(board: RunningGateway) -> None:
    async with visitor(board, "ada") as (session, api), visitor(board, "bob") as (other, _):
        async with established(board, session) as ada, established(board, other) as bob:
            assert (await api.post("/logout-everywhere")).status_code == 200
            assert await ada.closed() == (4401, "token_revoked")
            await until_fence(bob)
        async with client(board, session) as ada:
            assert await ada.closed() == (4401, "token_missing")
        async with client(board, "forged") as stranger:
            assert await stranger.closed() == (4401, "token_missing")
    async with visitor(board, "ada") as (session, _):
        async with established(board, session) as ada:  # within the second of the logout
            await until_fence(ada)
