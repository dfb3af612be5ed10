"""The handshake: what a client may say when it connects, and from which pages."""

import json
from datetime import datetime
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.core.origin import OriginPolicy
from tests.support.clients import Client, fence
from tests.support.inprocess import RunningGateway, running
from tests.support.settings import settings_for


async def test_established_has_every_member_of_the_protocol(gate: RunningGateway) -> None:
    """All of them, with the configured limits, and the log's place as a cursor."""
    async with gate.client() as client:
        data = client.established["data"]
    assert data.keys() == {
        "connection_id",
        "client_id",
        "user_id",
        "tenant",
        "rooms",
        "subscribed",
        "expires_at",
        "cursor",
        "limits",
        "ping_interval",
    }
    assert data["limits"] == {
        "rooms": 100,
        "message_bytes": 65_536,
        "commands_per_second": 20,
        "command_burst": 40,
        "events_per_second": 500,
    }
    assert data["ping_interval"] == 20
    assert data["connection_id"]
    assert datetime.fromisoformat(data["expires_at"]) > datetime.fromisoformat(client.established["timestamp"])


async def test_two_connections_of_one_user_have_two_ids_and_both_hear(gate: RunningGateway) -> None:
    """A second tab is a connection of its own."""
    async with gate.client() as one, gate.client() as other:
        assert one.established["data"]["connection_id"] != other.established["data"]["connection_id"]
        await gate.publish(user_id="ada")
        assert await one.next("task.completed") == await other.next("task.completed")


LABELS = [("me", True), ("x" * 64, True), ("%C3%BCber%20alles", True), ("a%2Fb%3Cc%3E", True)]
NO_LABELS = [("x" * 65, False), ("a%0Ab", False), ("a%00b", False), ("%1B%5B2J", False), ("%E2%80%AE", False)]


async def test_a_label_is_at_most_64_printable_characters(gate: RunningGateway) -> None:
    """Others are refused with `bad_message` and 4400: no control character gets into a log or a page."""
    for label, good in (*LABELS, *NO_LABELS):
        async with connect(f"{gate.ws_url}?token={gate.token()}&client_id={label}") as websocket:
            client = Client(websocket)
            frame = await client.next()
            if good:
                assert frame["type"] == "connection.established", label
            else:
                assert (frame["type"], frame["data"]["code"]) == ("error", "bad_message"), label
                assert await client.closed() == (4400, "bad_message")


async def test_state_in_the_query_is_1_or_0(gate: RunningGateway) -> None:
    """A client that asked for it in another way would wait for items that do not come."""
    for value, good in (("1", True), ("true", True), ("0", True), ("false", True), ("", True), ("yes", False)):
        async with connect(f"{gate.ws_url}?token={gate.token()}&rooms=circle:7&state={value}") as websocket:
            client = Client(websocket)
            if good:
                await client.next("connection.established")
                asked = (await client.next("subscribed"))["data"]
                assert ("items" in asked) == (value in ("1", "true")), value
            else:
                assert (await client.next("error"))["data"]["code"] == "bad_message"
                assert await client.closed() == (4400, "bad_message")


async def test_rooms_in_the_query_are_subscribed_at_connect(gate: RunningGateway) -> None:
    """One round trip less: `connection.established` lists them, `subscribed` follows, and events come."""
    async with gate.client(query="&rooms=circle:7,project:3&rooms=tenant") as client:
        assert client.established["data"]["subscribed"] == ["user:ada", "circle:7", "project:3", "tenant"]
        answer = (await client.next("subscribed"))["data"]
        assert answer["rooms"] == ["circle:7", "project:3", "tenant"]
        assert (answer["recovered"], answer["replayed"]) == (None, 0)
        event_id = await gate.publish(circle_id=7, project_id=3)
        assert (await client.next("task.completed"))["event_id"] == event_id


async def test_a_star_resumes_too(gate: RunningGateway) -> None:
    """The rooms that the token names, from the cursor on."""
    token = gate.token(rooms=["circle:7", "circle:8"])
    since = await gate.publish(circle_id=7)
    missed = [await gate.publish(circle_id=8), await gate.publish(circle_id=7)]
    async with gate.client(token, f"&rooms=*&since={since}") as client:
        answer = (await client.next("subscribed"))["data"]
        assert (answer["rooms"], answer["recovered"], answer["replayed"]) == (
            ["user:ada", "circle:7", "circle:8"],
            True,
            2,
        )
        assert [(await client.next("task.completed"))["event_id"] for _ in missed] == missed


async def test_a_star_where_the_token_names_no_room(gate: RunningGateway) -> None:
    """`subscribed` says that nothing was joined; nothing is refused."""
    async with gate.client(gate.token(rooms=["circle:*"], scope=""), "&rooms=*") as client:
        assert (await client.next("subscribed"))["data"]["rooms"] == []
        await gate.publish(circle_id=7)
        await fence(client)


async def test_a_star_takes_the_scope_that_its_rooms_take(gate: RunningGateway) -> None:
    """The rule of rooms that are named; and it counts against the limit of rooms."""
    async with gate.client(gate.token(rooms=["circle:7"], scope="publish"), "&rooms=*") as client:
        assert (await client.next("error"))["data"]["code"] == "scope_missing"
    async with gate.client(gate.token(rooms=[f"circle:{n}" for n in range(101)]), "&rooms=*") as client:
        assert (await client.next("error"))["data"]["code"] == "too_many_rooms"


async def test_a_star_leaves_out_rooms_that_the_user_was_removed_from(gate: RunningGateway) -> None:
    """The others are joined all the same."""
    token = gate.token(rooms=["circle:7", "circle:8"], now=gate.service.gateway.clock() - 2)
    await gate.publish(type="circle.member.removed", circle_id=7, data={"user_id": "ada"})
    async with gate.client(token, "&rooms=*") as client:
        assert (await client.next("subscribed"))["data"]["rooms"] == ["circle:8"]


@pytest.mark.parametrize(
    ("rooms", "code"), [("circle:7,circle:*", "room_invalid"), ("circle:7,user:bob", "room_forbidden")]
)
async def test_refused_rooms_in_the_query_leave_the_connection_open_without_them(
    gate: RunningGateway, rooms: str, code: str
) -> None:
    """All or nothing, with an `error` that names them; the connection itself was admitted."""
    async with gate.client(query=f"&rooms={rooms}") as client:
        assert client.established["data"]["subscribed"] == ["user:ada"]
        error = (await client.next("error"))["data"]
        assert (error["code"], error["rooms"]) == (code, [rooms.split(",")[1]])
        await gate.publish(circle_id=7)
        await fence(client)
        assert (await client.ask(type="subscribe", rooms=["circle:7"]))["type"] == "subscribed"


async def test_every_frame_of_the_server_has_type_data_and_timestamp(gate: RunningGateway) -> None:
    """`data` is an object and the timestamp ends in Z, in replies, errors and events alike."""
    async with gate.client() as client:
        frames = [client.established]
        commands: list[dict[str, Any]] = [
            {"type": "ping"},
            {"type": "subscribe", "rooms": ["circle:1", "tenant"]},
            {"type": "unsubscribe", "rooms": ["tenant"]},
            {"type": "auth", "token": gate.token()},
            {"type": "publish", "event": {"type": "task.created", "data": {}, "circle_id": 1}},
            {"type": "nonsense"},
        ]
        for command in commands:
            await client.send(**command)
        frames += [await client.next() for _ in range(len(commands) + 1)]
    assert {frame["type"] for frame in frames} == {
        "connection.established",
        "pong",
        "subscribed",
        "unsubscribed",
        "authenticated",
        "published",
        "task.created",
        "error",
    }
    for frame in frames:
        assert isinstance(frame["data"], dict), frame
        assert frame["timestamp"].endswith("Z"), frame
        datetime.fromisoformat(frame["timestamp"])


async def test_a_wire_frame_is_one_json_object_in_one_text_frame(gate: RunningGateway) -> None:
    """No binary frame ever comes from the server."""
    async with connect(f"{gate.ws_url}?token={gate.token()}") as websocket:
        text = await websocket.recv()
    assert isinstance(text, str)
    assert isinstance(json.loads(text), dict)


# ---- Origin


def same(gate: RunningGateway, origin: str) -> str:
    return origin.replace("HOST", f"127.0.0.1:{gate.port}")


GOOD_ORIGINS = ["http://HOST", "https://HOST", "HTTP://HOST"]
BAD_ORIGINS = [
    "http://evil.example",
    "null",
    "",
    "http://HOST.evil.example",
    "http://evil.example.HOST",
    "http://evilHOST",
    "http://127.0.0.1:1",
    "http://127.0.0.1",
    "http://localhost",
    "http://HOST@evil.example",
    "http://evil.example@HOST",
    "http://user:pw@HOST",
    "http://HOST/path",
    "http://HOST?x",
    "http://HOST#x",
    "file://HOST",
    "chrome-extension://HOST",
    "HOST",
    "http://[::1",
    "http://HOST http://evil.example",
    "http://HOST, http://evil.example",
]


async def tried(gate: RunningGateway, *origins: str) -> int:
    """The status of the handshake from a page of these origins: 101 or the refusal's."""
    headers = [("Origin", same(gate, origin)) for origin in origins]
    try:
        async with connect(f"{gate.ws_url}?token={gate.token()}", additional_headers=headers) as websocket:
            await Client(websocket).next("connection.established")
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


async def test_only_pages_of_the_same_origin_may_connect_by_default(gate: RunningGateway) -> None:
    """Others are refused with HTTP 403, before anything is accepted, however the name is dressed up."""
    assert await tried(gate) == 101, "no Origin: not a browser"
    for origin in GOOD_ORIGINS:
        assert await tried(gate, origin) == 101, origin
    for origin in BAD_ORIGINS:
        assert await tried(gate, origin) == 403, origin
    assert await tried(gate, "http://HOST", "http://HOST") == 403, "twice"
    assert await tried(gate, "http://HOST", "http://evil.example") == 403


async def test_a_list_of_origins_is_the_whole_list(  # an empty one means same origin
) -> None:
    """Origins in it may connect, with scheme and port as listed, and the gateway's own only where it is listed too."""
    allowed = ("https://app.example", "http://localhost:3000")
    async with running(settings_for(allowed_origins=allowed)) as gate:
        for origin in (*allowed, "HTTPS://APP.example"):
            assert await tried(gate, origin) == 101, origin
        for origin in (
            "http://HOST",
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "https://evil.app.example",
            "https://app.example@evil.example",
            "http://localhost",
            "http://localhost:30000",
            "null",
            "*",
        ):
            assert await tried(gate, origin) == 403, origin
        assert await tried(gate) == 101, "no Origin: not a browser"


async def test_a_star_allows_every_origin() -> None:
    """For development; `gateway check` calls it weak. Two origins in one request stay refused."""
    async with running(settings_for(allowed_origins=("*",))) as gate:
        assert await tried(gate, "http://evil.example") == 101
        assert await tried(gate, "http://a.example", "http://b.example") == 403


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://gateway.example", "gateway.example", True),
        ("https://gateway.example", "gateway.example:443", True),
        ("http://gateway.example", "gateway.example:80", True),
        ("http://[2001:db8::1]:8000", "[2001:db8::1]:8000", True),
        ("http://[2001:db8::2]:8000", "[2001:db8::1]:8000", False),
        ("https://gateway.example:8443", "gateway.example", False),
        ("https://a@evil.example", "b@evil.example", False),
        ("https://", "", False),
        ("https://", "[::1", False),
    ],
)
def test_the_own_origin_is_known_by_the_host(origin: str, host: str, allowed: bool) -> None:
    """The port that a scheme implies may be left out on either side; what is no host equals nothing."""
    own = {b"origin": [origin.encode()]}
    assert OriginPolicy(()).allows({**own, b"host": [host.encode()]}) is allowed
    assert not OriginPolicy(()).allows(own)
    assert not OriginPolicy(()).allows({**own, b"host": [host.encode()] * 2})
