"""Hostile messages on the socket (M1): a clear answer to each, and the connection goes on where it may."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.security.attacked import MARK, AttackedGateway, gone, refused
from tests.support.clients import Client, until_fence

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENT = {"type": "task.created", "data": {"n": 1}, "circle_id": 7}
LIMIT = 65_536


def event(**changed: Any) -> dict[str, Any]:
    return {**EVENT, **changed}


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


def texts() -> Iterator[tuple[str, str]]:
    """Texts that are no command."""
    yield "empty", ""
    yield "blank", " "
    yield "newline", "\n"
    yield "NUL", "\x00"
    yield "a word", "ping"
    yield "a string", '"ping"'
    yield "a number", "1"
    yield "null", "null"
    yield "true", "true"
    yield "a list", '[{"type":"ping"}]'
    yield "an empty object", "{}"
    yield "an empty list", "[]"
    yield "two objects", '{"type":"ping"}{"type":"ping"}'
    yield "two lines", '{"type":"ping"}\n{"type":"ping"}'
    yield "cut off", '{"type":"ping"'
    yield "trailing comma", '{"type":"ping",}'
    yield "single quotes", "{'type':'ping'}"
    yield "bare name", '{type:"ping"}'
    yield "comment", '{"type":"ping"/*x*/}'
    yield "byte order mark", '\ufeff{"type":"ping"}'
    yield "trailing NUL", '{"type":"ping"}\x00'
    yield "control character in a string", '{"type":"ping","id":"a\x01"}'
    yield "lone surrogate", '{"type":"ping","id":"\\ud800"}'
    yield "wrong escape", '{"type":"ping","id":"\\x41"}'
    yield "NaN", '{"type":"ping","id":NaN}'
    yield "Infinity", '{"type":"ping","id":Infinity}'
    yield "-Infinity", '{"type":"subscribe","rooms":["circle:7"],"history":-Infinity}'
    yield "leading zero", '{"type":"ping","id":007}'
    yield "hexadecimal", '{"type":"ping","id":0x7}'
    yield "5,000 digits", '{"type":"ping","id":' + "9" * 5000 + "}"
    yield "arrays 300 deep", nested(300)
    yield "arrays 30,000 deep", nested(30_000)
    yield "unclosed arrays 60,000 deep", "[" * 60_000
    yield "objects 10,000 deep", '{"a":' * 10_000 + "1" + "}" * 10_000
    yield "data 300 deep", json.dumps({"type": "publish", "event": 0}).replace("0", nested(300))
    yield "type null", '{"type":null}'
    yield "type a number", '{"type":7}'
    yield "type a list", '{"type":["ping"]}'
    yield "type an object", '{"type":{"ping":1}}'
    yield "type twice, the last no text", '{"type":"ping","type":7}'
    yield "XML", f"<ping>{MARK}</ping>"
    yield "an HTTP request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield "form", f"type=ping&{MARK}=1"
    yield "a token", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"
    yield "pickle", "\x80\x04."
    yield "Socket.IO", '42["subscribe","circle:7"]'


def unknown_types() -> Iterator[tuple[str, Any]]:
    """Types of no command, those of server frames among them."""
    for kind in (
        "", "Ping", "PING", " ping", "ping ", "ping\n", "pong", "error", "event", "connection.established", "published",
        "presence.left", "token.expiring", "admin", "__init__", "__class__", "constructor", "eval", "ping\x00",
        "p\u0131ng", MARK, MARK * 1000,
    ):  # fmt: skip
        yield repr(kind[:20]), kind


NO_FIELD: tuple[Any, ...] = (None, 7, True, {}, [[]], [None], [{}], [7])
NO_ID: tuple[Any, ...] = (True, 1.5, [], {}, "x" * 65, 10**64, -(10**64), [MARK])
NO_HISTORY: tuple[Any, ...] = (-1, 101, 1.5, "5", True, None, [], 10**30, -(2**63))
NO_CURSOR: tuple[Any, ...] = (7, True, [], {}, ["evt_"])
NO_ROOMS: tuple[Any, ...] = ("circle:7", MARK, [], "", {"circle:7": 1}, ["circle:7", 7], ["a" * 257], [["circle:7"]])


def wrong_fields() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each command with each field missing, of a wrong type, beyond its bounds, and with one too many."""
    good: dict[str, dict[str, Any]] = {
        "ping": {},
        "subscribe": {"rooms": ["circle:7"]},
        "unsubscribe": {"rooms": ["circle:7"]},
        "auth": {"token": MARK},
        "publish": {"event": EVENT},
        "presence": {"room": "circle:7"},
    }
    for kind, fields in good.items():
        if kind != "ping":  # which may carry anything
            yield f"{kind} with one field more", {"type": kind, **fields, MARK: 1}
            yield f"{kind} with __proto__", {"type": kind, **fields, "__proto__": {"admin": True}}
            yield f"{kind} with a tenant", {"type": kind, **fields, "tenant": "globex"}
        for name in fields:
            yield f"{kind} without {name}", {"type": kind}
            for wrong in NO_FIELD:
                yield f"{kind}, {name} {wrong!r}", {"type": kind, name: wrong}
        for wrong in NO_ID:
            yield f"{kind}, id {str(wrong)[:12]!r}", {"type": kind, **fields, "id": wrong}
    for rooms in NO_ROOMS:
        yield f"subscribe, rooms {str(rooms)[:20]!r}", {"type": "subscribe", "rooms": rooms}
    for history in NO_HISTORY:
        yield f"subscribe, history {history!r}", {"type": "subscribe", "rooms": ["circle:7"], "history": history}
    for since in NO_CURSOR:
        yield f"subscribe, since {since!r}", {"type": "subscribe", "rooms": ["circle:7"], "since": since}
    for token in (7, None, [MARK], {"token": MARK}):
        yield f"auth, token {token!r}", {"type": "auth", "token": token}
    for name in ("type", "data"):
        yield f"publish, event without {name}", {"type": "publish", "event": {k: EVENT[k] for k in EVENT if k != name}}
    wrong_event_fields: dict[str, tuple[Any, ...]] = {
        "type": ("", "A.b", "a..b", ".a", "a.", "a b", "a" * 65, "\u00e4.b", "a\n", "1a", "a-b", MARK, 7, None, ["a"]),
        "data": (None, [], "x", 7, True, [["a", 1]]),
        "circle_id": (True, 1.5, [], {}, [7]),
        "project_id": (True, 1.5, [], {}),
        "user_id": (True, 7, [], {}),
        "tenant": (7, True, [], {}),
        "source_agent_id": (True, 1.5, [], {}, "", "x" * 129),
        "idempotency_key": (7, True, [], "", "x" * 129),
        "event_id": ("evt_1",),
        "timestamp": ("2026-01-01T00:00:00Z",),
        "id": (1,),
        MARK: (1,),
    }
    for name, wrongs in wrong_event_fields.items():
        for wrong in wrongs:
            yield f"publish, {name} {str(wrong)[:14]!r}", {"type": "publish", "event": event(**{name: wrong})}
    for reserved in ("error", "pong", "ping", "subscribed", "published", "connection.established", "stream.gap"):
        yield f"publish of {reserved}", {"type": "publish", "event": event(type=reserved)}


async def goes_on(client: Client) -> None:
    """The next valid command on the same connection works, and nothing came in between."""
    assert await until_fence(client) == []
    frame = await client.ask(type="subscribe", rooms=["circle:7"], id=5)
    assert (frame["type"], frame["data"]["rooms"]) == ("subscribed", ["circle:7"])


@pytest.mark.parametrize("text", [pytest.param(text, id=what) for what, text in texts()])
async def test_no_command(attacked: AttackedGateway, text: str) -> None:
    """`bad_message`."""
    async with attacked.gate.client() as client:
        await client.websocket.send(text)
        frame = await client.next()
        refused(frame, "bad_message")
        assert "id" not in frame
        await goes_on(client)


@pytest.mark.parametrize("kind", [pytest.param(kind, id=what) for what, kind in unknown_types()])
async def test_unknown_type(attacked: AttackedGateway, kind: str) -> None:
    """`unknown_type`, with the id of who asked."""
    async with attacked.gate.client() as client:
        refused(await client.ask(type=kind, rooms=["circle:7"]), "unknown_type")
        await goes_on(client)


@pytest.mark.parametrize("command", [pytest.param(command, id=what) for what, command in wrong_fields()])
async def test_wrong_field(attacked: AttackedGateway, command: dict[str, Any]) -> None:
    """`bad_message` that says which field, echoes the id where it could be read, and does nothing."""
    head = attacked.gate.service.gateway.log.window("acme").head
    async with attacked.gate.client() as client:
        await client.send(**{"id": "mine", **command})
        frame = await client.next()
        # The name of an unknown field is the one thing that is repeated, so that its author finds it.
        frame["data"]["message"] = frame["data"]["message"].replace(f"{MARK}: unknown field", "unknown field")
        refused(frame, "bad_message")
        assert frame.get("id") == ("mine" if "id" not in command else None)
        assert attacked.connection(client).rooms.keys() == {"user:ada"}
        await goes_on(client)
    assert attacked.gate.service.gateway.log.window("acme").head == head


async def test_binary(attacked: AttackedGateway) -> None:
    """A binary frame is refused, whatever is in it."""
    async with attacked.gate.client() as client:
        for content in (b"", b"\x00", b'{"type":"ping"}', b"\xff" * 1000):
            await client.websocket.send(content)
            refused(await client.next(), "bad_message")
        await goes_on(client)


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT])
async def test_largest_message(attacked: AttackedGateway, size: int) -> None:
    """A message of the greatest size is read, and refused for what is in it only."""
    text = '{"type":"auth","x":""}'
    async with attacked.gate.client() as client:
        await client.websocket.send(text.replace('""', f'"{"a" * (size - len(text))}"'))
        refused(await client.next(), "bad_message")
        await client.websocket.send('{"type":"ping"}' + " " * (size - 15))
        await client.next("pong")
        await goes_on(client)


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT * 2, 1 << 20])
@pytest.mark.parametrize("letter", ["a", "\u00e9", b"a"], ids=["ASCII", "two bytes a letter", "binary"])
async def test_too_large_message(attacked: AttackedGateway, size: int, letter: str | bytes) -> None:
    """One byte more, by bytes and not by letters, is 1009; the next connection works."""
    async with attacked.gate.client() as client:
        content = letter * (size // len(letter if isinstance(letter, bytes) else letter.encode()) + 1)
        with suppress(Exception):  # closed while it is still being sent
            await client.websocket.send(content)
        code, reason = await client.closed()
        assert code == 1009
        assert MARK not in reason
    await attacked.works()


async def test_fragments_count_together(attacked: AttackedGateway) -> None:
    """A message in many pieces is no larger than one in one piece."""
    async with attacked.gate.client() as client:
        await client.websocket.send(iter(['{"type":', '"ping"', "}"]))
        await client.next("pong")
        with suppress(Exception):  # closed while it is still being sent
            await client.websocket.send(iter(["a" * 6000] * 20))
        assert (await client.closed())[0] == 1009
    await attacked.works()


async def test_ten_malformed_in_a_row_end_it(attacked: AttackedGateway) -> None:
    """Repeated malformed messages are closed with 4400; a valid one in between resets the count."""
    async with attacked.gate.client() as client:
        for _ in range(9):
            await client.websocket.send(MARK)
            refused(await client.next(), "bad_message")
        assert (await client.ask(type="ping"))["type"] == "pong"
        for _ in range(10):
            await client.websocket.send(MARK)
            refused(await client.next(), "bad_message")
        assert await client.closed() == (4400, "bad_message")
    await attacked.works()


async def test_nothing_is_done_for_who_was_sent_away(attacked: AttackedGateway) -> None:
    """Commands sent by a client before it noticed its close have no effect."""
    gateway = attacked.gate.service.gateway
    head = gateway.log.window("acme").head
    async with attacked.gate.client() as client:
        connection = attacked.connection(client)
        for _ in range(10):
            await client.websocket.send(MARK)
        for command in (
            {"type": "subscribe", "rooms": ["circle:7"]},
            {"type": "publish", "event": EVENT},
            {"type": "auth", "token": attacked.gate.token()},
        ):
            await client.send(**command)
        assert await client.closed() == (4400, "bad_message")
        assert connection.rooms == {}
    await attacked.works()
    assert gateway.log.window("acme").head == head
    assert all(connection not in room for room in gateway.manager.of("acme").rooms.values())
    assert connection not in gateway.connections.expirations


async def test_duplicate_members(attacked: AttackedGateway) -> None:
    """The last one counts, for all that is judged and for all that is done."""
    async with attacked.gate.client(attacked.gate.token(rooms=["circle:7"])) as client:
        await client.websocket.send('{"type":"subscribe","rooms":["circle:7"],"rooms":["circle:8"],"id":1,"id":2}')
        frame = await client.next()
        assert (frame["type"], frame["id"], frame["data"]["code"]) == ("error", 2, "room_forbidden")
        await client.websocket.send('{"type":"publish","event":{"type":"a","data":{},"circle_id":7,"circle_id":8}}')
        refused(await client.next(), "room_forbidden")
        await client.websocket.send('{"type":"publish","type":"ping"}')
        await client.next("pong")
        await goes_on(client)


@pytest.mark.parametrize(
    "id", ["", "x" * 64, 0, -1, 10**63, 2**64, "\u202e", "\x00", '"}', "<b>"], ids=lambda id: repr(id)[:12]
)
async def test_odd_but_good_id(attacked: AttackedGateway, id: str | int) -> None:
    """An id comes back as it was."""
    async with attacked.gate.client() as client:
        if id == 10**63:
            id -= 1
        assert (await client.ask(type="ping", id=id))["id"] == id


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"n": 10**308},
        {"n": -(2**63)},
        {"n": "9" * 1000},
        {"type": "error", "event_id": "evt_", "timestamp": 0, "tenant": "globex"},
        {"__proto__": {"x": 1}, "constructor": None},
        {"": ""},
        {"\x00\x1b\u202e\u2028": "\x00\x1b\u202e\u2028\uffff\U0001f600"},
        {"a": json.loads(nested(150))},
        {"x": "</script><script>"},
    ],
    ids=lambda data: str(data)[:24],
)
async def test_odd_but_good_data(attacked: AttackedGateway, data: dict[str, Any]) -> None:
    """Any JSON arrives unchanged, and only in `data`."""
    async with attacked.gate.client(query="&rooms=circle:7") as client:
        await client.next("subscribed")
        await client.send(type="publish", event=event(data=data))
        frames = {frame["type"]: frame for frame in (await client.next(), await client.next())}
        got = frames["task.created"]
        assert got["data"] == data
        assert set(got) == {"type", "data", "circle_id", "event_id", "timestamp"}
        assert got["event_id"] == frames["published"]["data"]["event_id"]


@pytest.mark.parametrize("number", ["1e309", "-1e309", str(10**309), str(-(10**1000)), "2" + "0" * 308])
async def test_numbers_that_readers_take_for_infinity(attacked: AttackedGateway, number: str) -> None:
    """Beyond the range of a double they are refused, written as floats and as integers alike."""
    async with attacked.gate.client() as client:
        text = json.dumps({"type": "publish", "event": event(data={"n": 0})}).replace('"n": 0', f'"n": {number}')
        await client.websocket.send(text)
        refused(await client.next(), "bad_message")
        await goes_on(client)


@pytest.mark.parametrize("circle", [-1, 10**64, 10**4000, "", "a:b", "7\n"], ids=lambda c: repr(c)[:12])
async def test_id_that_no_room_can_have(attacked: AttackedGateway, circle: int | str) -> None:
    """`room_invalid`, also for a number of thousands of digits."""
    async with attacked.gate.client() as client:
        raw = json.dumps({"type": "publish", "event": event(circle_id=0)})
        text = "1" + "0" * 4000 if circle == 10**4000 else json.dumps(circle)
        await client.websocket.send(raw.replace('"circle_id": 0', f'"circle_id": {text}'))
        refused(await client.next(), "room_invalid")
        await goes_on(client)


async def cursors(attacked: AttackedGateway) -> list[str]:
    """Cursors that are invalid for this tenant."""
    service = attacked.gate.service
    own, other = (service.gateway.log.window(tenant).cursors for tenant in ("acme", "globex"))
    epoch = service.gateway.log.window("acme").epoch
    good = own.encode(epoch, 1)
    flipped = good[:-1] + ("A" if good[-1] != "A" else "B")
    return [
        "", "0", "1", "-1", "evt_", "evt_1", good[4:], good.upper(), good + "A", good[:-1], f" {good}", f"{good}\n",
        flipped, good[:10] + "=" * 22, "evt_" + "A" * 28, "evt_" + "=" * 28, "evt_" + "\u00e9" * 28, "evt_" + "-_" * 14,
        other.encode(epoch, 1), "evt_" + MARK * 4, MARK * 4000, "*", "$", ">",
        "../../etc/passwd", good.replace("_", "+"),
    ]  # fmt: skip


async def test_forged_cursor(attacked: AttackedGateway) -> None:
    """`cursor_invalid` for each, another tenant's among them; nothing is joined."""
    async with attacked.gate.client() as client:
        for cursor in await cursors(attacked):
            refused(await client.ask(type="subscribe", rooms=["circle:7"], since=cursor), "cursor_invalid")
            assert attacked.connection(client).rooms.keys() == {"user:ada"}
        await goes_on(client)


async def test_forged_cursor_in_the_handshake(attacked: AttackedGateway) -> None:
    """The client is admitted with `cursor_invalid`, and is in no room but its own."""
    for cursor in ("evt_1", "x", "evt_" + "A" * 28, "%00", "%F0%9F%98%80", "evt_" + MARK * 4):
        async with attacked.gate.client(query=f"&rooms=circle:7&since={cursor}") as client:
            refused(await client.next(), "cursor_invalid")
            assert attacked.connection(client).rooms.keys() == {"user:ada"}
            await goes_on(client)


async def test_cursor_of_another_epoch_or_beyond_the_head(attacked: AttackedGateway) -> None:
    """A cursor that this gateway could have made in another life of its log: `recovered` is false, and of a room
    without events nothing is replayed."""
    window = attacked.gate.service.gateway.log.window("acme")
    async with attacked.gate.client() as client:
        for epoch, offset in (
            (bytes(7), 1),
            (b"\xff" * 7, 0),
            (window.epoch, window.head + 1),
            (window.epoch, 2**48 - 1),
        ):
            cursor = window.cursors.encode(epoch, offset)
            frame = await client.ask(type="subscribe", rooms=["circle:quiet"], since=cursor)
            assert (frame["data"]["recovered"], frame["data"]["replayed"]) == (False, 0)
        assert await until_fence(client) == []


@pytest.mark.parametrize("count", [101, 1000, 1001])
async def test_too_many_rooms(attacked: AttackedGateway, count: int) -> None:
    """More rooms than a connection may have, or a command may name, are all refused."""
    async with attacked.gate.client() as client:
        frame = await client.ask(type="subscribe", rooms=[f"circle:{n}" for n in range(count)])
        refused(frame, "too_many_rooms" if count <= 1000 else "bad_message")
        assert attacked.connection(client).rooms.keys() == {"user:ada"}
        await goes_on(client)


async def test_too_many_rooms_one_by_one(attacked: AttackedGateway) -> None:
    """The limit counts what is joined, each room once, the own room not; leaving makes room."""
    async with attacked.gate.client() as client:
        hundred = [f"circle:{n}" for n in range(100)]
        assert (await client.ask(type="subscribe", rooms=[*hundred, *hundred, "user:ada"]))["type"] == "subscribed"
        refused(await client.ask(type="subscribe", rooms=["circle:100"]), "too_many_rooms")
        assert (await client.ask(type="subscribe", rooms=hundred[:50]))["type"] == "subscribed"
        assert (await client.ask(type="unsubscribe", rooms=["circle:0"]))["type"] == "unsubscribed"
        assert (await client.ask(type="subscribe", rooms=["circle:100"]))["type"] == "subscribed"


async def test_in_and_out_a_thousand_times(attacked: AttackedGateway) -> None:
    """Subscribing and leaving, over and over and all at once, leaves nothing behind."""
    async with attacked.gate.client() as client:
        for n in range(1000):
            await client.send(type="subscribe", rooms=["circle:7", f"project:{n}"])
            await client.send(type="unsubscribe", rooms=["circle:7", f"project:{n}"])
        await client.send(type="ping", id="end")
        kinds = []
        while (frame := await client.next()).get("id") != "end":
            kinds.append(frame["type"])
        assert [kind for kind in kinds if kind.endswith("subscribed")] == ["subscribed", "unsubscribed"] * 1000
        assert attacked.connection(client).rooms.keys() == {"user:ada"}
        assert [
            room for room in attacked.gate.service.gateway.manager.of("acme").rooms if room.startswith("project")
        ] == []


async def test_unsubscribe_from_what_was_not_joined(attacked: AttackedGateway) -> None:
    """`not_subscribed` names the rooms and leaves the others joined."""
    async with attacked.gate.client() as client:
        await client.ask(type="subscribe", rooms=["circle:7"])
        frame = await client.ask(type="unsubscribe", rooms=["circle:7", "circle:8"])
        refused(frame, "not_subscribed")
        assert frame["data"]["rooms"] == ["circle:8"]
        assert attacked.connection(client).rooms.keys() == {"user:ada", "circle:7"}
        assert (await client.ask(type="unsubscribe", rooms=["circle:7", "circle:7"]))["type"] == "unsubscribed"
        await goes_on(client)


async def test_idempotency_key_for_another_event(attacked: AttackedGateway) -> None:
    """The same event under the same key is one event; another one is a conflict, whatever differs."""
    async with attacked.gate.client() as client:
        first = await client.ask(type="publish", event=event(idempotency_key="k"))
        again = await client.ask(type="publish", event=event(idempotency_key="k"))
        assert again["data"] == {"event_id": first["data"]["event_id"], "duplicate": True}
        others: tuple[dict[str, Any], ...] = (
            {"data": {}}, {"type": "task.failed"}, {"circle_id": 8}, {"circle_id": "7"}, {"project_id": 1}
        )  # fmt: skip
        for other in others:
            refused(await client.ask(type="publish", event=event(idempotency_key="k", **other)), "idempotency_conflict")
        await goes_on(client)


async def test_event_at_the_limit(attacked: AttackedGateway) -> None:
    """The limit is that of the frame as clients get it, what the log adds included, though the command is shorter."""
    async with attacked.gate.client(query="&rooms=circle:7") as client:
        await client.next("subscribed")
        await client.ask(type="publish", event=event(data={"x": ""}))
        room = LIMIT - len(await client.websocket.recv())
        refused(await client.ask(type="publish", event=event(data={"x": "a" * (room + 1)}), id=1), "message_too_large")
        await client.send(type="publish", event=event(data={"x": "a" * room}), id=2)
        sizes = {len(await client.websocket.recv()) for _ in range(2)}
        assert max(sizes) == LIMIT
        await goes_on(client)


async def test_ten_thousand_messages_at_once(attacked: AttackedGateway) -> None:
    """A flood of good commands is answered, every one, in order."""
    async with attacked.gate.client() as client:
        sending = asyncio.create_task(flood(client, 10_000))
        for n in range(10_000):
            assert (await client.next("pong"))["id"] == n
        await sending


async def flood(client: Client, count: int) -> None:
    for n in range(count):
        await client.send(type="ping", id=n)


async def test_nothing_is_left(attacked: AttackedGateway) -> None:
    """After all of that the indexes are empty, and no task is left."""
    await gone(attacked.gate)
