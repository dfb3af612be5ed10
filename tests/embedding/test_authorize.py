"""`create_service(authorize=…)`: rooms that the application lets an identity join."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from auth.identity import Identity
from gateway.engine import access
from gateway.testing import until
from tests.embedding.application import TRANSPORTS, Sessions, application, established
from tests.embedding.application import client as connected
from tests.support.clients import Client, assert_problem, fence, http_client, until_fence
from tests.support.inprocess import RunningGateway

both_transports = pytest.mark.parametrize("transport", TRANSPORTS)


class Membership:
    """The rooms of each user, as in a database. `asked` are the questions, `error` is raised."""

    def __init__(self, *rooms: str) -> None:
        self.rooms = set(rooms)
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.error: Exception | None = None
        self.opened = asyncio.Event()
        self.opened.set()

    def plain(self, identity: Identity, rooms: Sequence[str]) -> set[str]:
        self.asked.append((identity.user_id, tuple(rooms)))
        if self.error is not None:
            raise self.error
        return self.rooms.intersection(rooms)

    async def coroutine(self, identity: Identity, rooms: Sequence[str]) -> list[str]:
        answer = self.plain(identity, rooms)
        await self.opened.wait()
        return sorted(answer)


def code_of(frame: dict[str, Any]) -> tuple[str, list[str]]:
    return frame["data"]["code"], frame["data"].get("rooms", [])


def joined(gate: RunningGateway) -> set[str]:
    (connection,) = gate.service.manager.connections()
    return set(connection.rooms)


# ---- subscribing


@both_transports
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_rooms_are_joined_that_the_application_allows(transport: str, kind: str) -> None:
    """All or nothing, as ever; the refusal names the rooms. A token's holder is asked about as a session's."""
    membership = Membership("circle:1", "circle:2")
    async with application(transport, Sessions().plain, getattr(membership, kind)) as gate:
        for session, query in (("a", ""), (None, f"?token={gate.token('bob')}")):
            async with established(gate, session, query) as client:
                assert (await client.ask(type="subscribe", rooms=["circle:1", "circle:2"]))["type"] == "subscribed"
                refused = await client.ask(type="subscribe", rooms=["circle:1", "circle:3", "circle:4"])
                assert code_of(refused) == ("room_forbidden", ["circle:3", "circle:4"])
                await gate.publish(circle_id=2)
                assert (await client.next())["circle_id"] == 2
        assert {user for user, _ in membership.asked} == {"ada", "bob"}


async def test_the_application_narrows_and_is_not_asked_what_is_refused_anyway() -> None:
    """A malformed room, or one beyond the patterns, is refused before; the user's own room needs no permission."""
    membership = Membership("project:1", "circle:1")
    async with application(authenticate=Sessions().plain, authorize=membership.plain) as gate:
        async with established(gate) as ada:
            for rooms, code in ((["project:1"], "room_forbidden"), (["circle"], "room_invalid")):
                assert code_of(await ada.ask(type="subscribe", rooms=rooms)) == (code, rooms)
            many = [f"circle:{n}" for n in range(101)]
            assert (await ada.ask(type="subscribe", rooms=many))["data"]["code"] == "too_many_rooms"
            assert (await ada.ask(type="subscribe", rooms=["user:ada"]))["type"] == "subscribed"
            assert membership.asked == []
            await ada.ask(type="subscribe", rooms=["circle:1", "user:ada", "circle:1"])
            assert membership.asked == [("ada", ("circle:1",))]


@both_transports
async def test_it_is_asked_at_connect_and_again_at_resume(transport: str) -> None:
    """A room that was lost meanwhile is not resumed; the user's own room is."""
    membership = Membership("circle:1", "circle:2")
    async with application(transport, Sessions().plain, membership.coroutine) as gate:
        async with established(gate, query="?rooms=circle:1,circle:2") as ada:
            assert (await ada.next("subscribed"))["data"]["rooms"] == ["circle:1", "circle:2"]
            cursor = await gate.publish(circle_id=1)
            await ada.next("task.completed")
        await gate.publish(circle_id=1, data={"secret": 1})
        await gate.publish(user_id="ada", data={"own": 1})
        membership.rooms = {"circle:2"}
        async with established(gate, query=f"?rooms=circle:1,circle:2&since={cursor}") as ada:
            assert code_of(await ada.next("error")) == ("room_forbidden", ["circle:1"])
            assert (await ada.next("subscribed"))["data"]["rooms"] == ["user:ada"]
            assert [frame["data"] for frame in await until_fence(ada)] == [{"own": 1}]
            refused = await ada.ask(type="subscribe", rooms=["circle:1"], since=cursor)
            assert code_of(refused) == ("room_forbidden", ["circle:1"])
            answer = await ada.ask(type="subscribe", rooms=["circle:2"], since=cursor)
            assert (answer["data"]["recovered"], answer["data"]["replayed"]) == (True, 0)
        assert [rooms for _, rooms in membership.asked].count(("circle:1", "circle:2")) == 2


@both_transports
async def test_all_named_rooms_are_those_that_it_allows(transport: str) -> None:
    """`rooms=*` leaves the others out; a room named beside it is refused as ever."""
    membership = Membership("circle:1", "tenant")
    async with application(transport, authorize=membership.plain) as gate:
        token = gate.token(rooms=["circle:1", "circle:2", "tenant", "project:*"])
        async with established(gate, None, f"?token={token}&rooms=*") as client:
            assert client.established["data"]["subscribed"] == ["user:ada", "circle:1", "tenant"]
            assert (await client.next("subscribed"))["data"]["rooms"] == ["circle:1", "tenant"]
        async with established(gate, None, f"?token={token}&rooms=*,project:5") as client:
            assert code_of(await client.next("error")) == ("room_forbidden", ["project:5"])
            assert joined(gate) == {"user:ada"}


async def test_publishing_is_ruled_by_grants_alone() -> None:
    """The application is not asked: it is for rooms that are joined."""
    membership = Membership()
    async with application(authenticate=Sessions().plain, authorize=membership.plain) as gate:
        async with established(gate) as ada:
            event = {"type": "task.created", "data": {}, "circle_id": 1}
            assert (await ada.ask(type="publish", event=event))["type"] == "published"
        assert membership.asked == []


# ---- presence


@both_transports
async def test_presence_is_for_those_who_may_join(transport: str) -> None:
    """Over the WebSocket and HTTP; one's own room is one's own."""
    membership = Membership("circle:1")
    async with application(transport, Sessions().plain, membership.coroutine) as gate:
        async with established(gate) as ada:
            assert (await ada.ask(type="presence", room="circle:1"))["data"]["users"] == []
            assert code_of(await ada.ask(type="presence", room="circle:2")) == ("room_forbidden", ["circle:2"])
            assert (await ada.ask(type="presence", room="user:ada"))["data"]["connections"] == 1
        async with http_client(gate.url, cookies={"session": "a"}) as api:
            assert (await api.get("/rooms/circle:1/presence")).status_code == 200
            assert_problem(await api.get("/rooms/circle:2/presence"), 403, "room_forbidden")
            membership.error = RuntimeError("hunter2")
            assert_problem(await api.get("/rooms/circle:1/presence"), 500, "internal_error")


# ---- what goes wrong


@both_transports
async def test_its_exceptions_refuse_and_leak_nothing(transport: str, caplog: pytest.LogCaptureFixture) -> None:
    """A command is answered with an error, and the connection stays; at connect there is 1013, to come back after."""
    membership = Membership("circle:1")
    async with application(transport, Sessions().plain, membership.plain) as gate:
        async with established(gate) as ada:
            membership.error = RuntimeError("password of the database: hunter2")
            for command in ({"type": "subscribe", "rooms": ["circle:1"]}, {"type": "presence", "room": "circle:1"}):
                refused = await ada.ask(**command)
                assert code_of(refused) == ("internal_error", [])
                assert "hunter2" not in str(refused)
            assert joined(gate) == {"user:ada"}
            membership.error = None
            assert (await ada.ask(type="subscribe", rooms=["circle:1"]))["type"] == "subscribed"
        membership.error = RuntimeError("hunter2")
        async with connected(gate, query="?rooms=circle:1") as ada:
            assert code_of(await ada.next("error")) == ("internal_error", [])
            assert await ada.closed() == (1013, "internal_error")
        assert "hunter2" in caplog.text
        assert list(gate.service.manager.connections()) == []


@pytest.mark.parametrize("answer", [None, True, "circle:1", 7, [["circle:1"]]])
async def test_other_answers_than_rooms_are_refused(answer: Any) -> None:
    """A text would be its letters, and `True` no answer to which."""
    async with application(authenticate=Sessions().plain, authorize=lambda identity, rooms: answer) as gate:
        async with established(gate) as ada:
            assert code_of(await ada.ask(type="subscribe", rooms=["circle:1"])) == ("internal_error", [])


async def test_rooms_that_were_not_asked_for_are_not_joined() -> None:
    """The answer may name other rooms."""
    async with application(
        authenticate=Sessions().plain, authorize=lambda identity, rooms: {*rooms, "circle:9"}
    ) as gate:
        async with established(gate) as ada:
            await ada.ask(type="subscribe", rooms=["circle:1"])
            assert joined(gate) == {"user:ada", "circle:1"}


@both_transports
async def test_an_answer_that_does_not_come_refuses(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    membership = Membership("circle:1")
    async with application(transport, Sessions().plain, membership.coroutine) as gate, established(gate) as ada:
        monkeypatch.setattr(access, "ANSWER_SECONDS", 0.2)
        membership.opened.clear()
        assert code_of(await ada.ask(type="subscribe", rooms=["circle:1"])) == ("internal_error", [])
        await until(lambda: len(gate.service.gateway.tasks) == 0)


@both_transports
async def test_a_task_of_the_application_that_was_cancelled_refuses(transport: str) -> None:
    """One that it shares, for example; the client's further commands are answered."""

    async def authorize(identity: Identity, rooms: Sequence[str]) -> Collection[str]:
        shared = asyncio.ensure_future(asyncio.sleep(60, rooms))
        shared.cancel()
        return await shared

    async with application(transport, Sessions().plain, authorize) as gate:
        async with established(gate) as ada:
            assert code_of(await ada.ask(type="subscribe", rooms=["circle:1"])) == ("internal_error", [])
            assert (await ada.ask(type="unsubscribe", rooms=["circle:2"]))["type"] in ("unsubscribed", "error")
        async with connected(gate, query="?rooms=circle:1") as ada:
            assert code_of(await ada.next("error"))[0] == "internal_error"


# ---- while it is asked


async def while_asked(membership: Membership, ada: Client) -> None:
    """Return when the application is asked about circle 1, and keeps its answer."""
    membership.opened.clear()
    asked = len(membership.asked)
    await ada.send(type="subscribe", rooms=["circle:1"], id="pending")
    await until(lambda: len(membership.asked) > asked)


@both_transports
async def test_changes_of_rooms_wait_in_order_and_nothing_else_does(transport: str) -> None:
    membership = Membership("circle:1", "circle:2")
    async with application(transport, Sessions().plain, membership.coroutine) as gate:
        async with established(gate) as ada, established(gate) as other:
            await while_asked(membership, ada)
            await ada.send(type="unsubscribe", rooms=["circle:1"], id="second")
            await ada.send(type="subscribe", rooms=["circle:2"], id="third")
            await fence(ada)
            await fence(other)
            await gate.publish(user_id="ada")
            assert (await ada.next())["type"] == "task.completed"
            membership.opened.set()
            answers = [(await ada.next())["id"] for _ in range(3)]
            assert answers == ["pending", "second", "third"]


async def test_changes_during_the_call_count() -> None:
    """A removal: the room is refused although the application had allowed it. A revocation: the connection is closed.
    A client that goes: nothing is left."""
    membership = Membership("circle:1")
    async with application(authenticate=Sessions().plain, authorize=membership.coroutine) as gate:
        gateway = gate.service.gateway
        async with established(gate) as ada:
            await while_asked(membership, ada)
            await gateway.publish("acme", "circle.member.removed", {"user_id": "ada"}, circle_id=1)
            membership.opened.set()
            assert code_of(await ada.next("error")) == ("room_forbidden", ["circle:1"])
        async with established(gate) as ada:
            await while_asked(membership, ada)
            await gateway.administration.revoke_user("acme", "ada")
            assert await ada.closed() == (4401, "token_revoked")
            membership.opened.set()
        async with established(gate) as ada:
            await while_asked(membership, ada)
            ada.websocket.transport.abort()
            await until(lambda: list(gate.service.manager.connections()) == [])
            membership.opened.set()
        await until(lambda: len(gateway.tasks) == 0)
        assert gateway.manager.of("acme").rooms == {}


# ---- a fresh token


@both_transports
async def test_it_is_asked_again_with_a_fresh_token(transport: str) -> None:
    """Rooms that it no longer allows are left, with a notice to the client; the others stay."""
    membership = Membership("circle:1", "circle:2")
    async with application(transport, Sessions().plain, membership.coroutine) as gate:
        async with established(gate, query="?rooms=circle:1,circle:2") as ada:
            await ada.next("subscribed")
            membership.rooms = {"circle:2"}
            assert (await ada.ask(type="auth", token=gate.token("ada")))["data"]["dropped"] == []
            revoked = await ada.next("subscription.revoked")
            assert revoked["data"] == {"rooms": ["circle:1"], "reason": "authorization"}
            await gate.publish(circle_id=1)
            await gate.publish(circle_id=2)
            assert [frame["circle_id"] for frame in await until_fence(ada)] == [2]
            membership.error = RuntimeError("no database")
            await ada.send(type="auth", token=gate.token("ada"))
            await ada.next("authenticated")
            assert await ada.closed() == (1011, "internal_error")
