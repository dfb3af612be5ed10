"""Hostile room names (R1): each is refused by its name, and the connection goes on."""

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.security.attacked import AttackedGateway, clear, problem, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")


def names() -> Iterator[tuple[str, str]]:
    """Texts that name no room, each with what is wrong."""
    yield "empty", ""
    yield "blank", " "
    yield "kind alone", "circle"
    yield "no id", "circle:"
    yield "no kind", ":7"
    yield "unknown kind", "team:7"
    yield "upper-case kind", "Circle:7"
    yield "upper-case tenant", "TENANT"
    yield "tenant with an id", "tenant:acme"
    yield "two colons", "circle::7"
    yield "colon in the id", "circle:7:8"
    yield "other tenant before it", "globex:circle:7"
    yield "other tenant after it", "circle:7@globex"
    yield "slash", "circle:a/b"
    yield "backslash", "circle:a\\b"
    yield "parent", "circle:../7"
    yield "dot", "circle:a.b"
    yield "at", "circle:a@b"
    yield "plus", "circle:a+b"
    yield "pipe", "circle:a|b"
    yield "comma", "circle:7,circle:8"
    yield "semicolon", "circle:7;8"
    yield "quote", "circle:7'"
    yield "double quote", 'circle:7"'
    yield "SQL", "circle:7' OR '1'='1"
    yield "dollar", "circle:$7"
    yield "template", "circle:${jndi:x}"
    yield "braces of a format", "circle:{0}"
    yield "Redis hash tag", "circle:{acme}"
    yield "Redis hash tag around", "{circle:7}"
    yield "glob star", "circle:*"
    yield "glob star after an id", "circle:7*"
    yield "glob of all", "*"
    yield "glob question mark", "circle:?"
    yield "glob set", "circle:[0-9]"
    yield "regular expression", "circle:.*"
    yield "hash", "circle:7#"
    yield "percent-encoded", "circle:%37"
    yield "percent-encoded colon", "circle%3A7"
    yield "percent-encoded twice", "circle%253A7"
    yield "percent-encoded NUL", "circle:7%00"
    yield "leading space", " circle:7"
    yield "trailing space", "circle:7 "
    yield "space inside", "circle: 7"
    yield "tab", "circle:7\t"
    yield "newline after it", "circle:7\n"
    yield "newline after tenant", "tenant\n"
    yield "newline after a user", "user:ada\n"
    yield "newline after a project", "project:7\n"
    yield "carriage return after it", "circle:7\r"
    yield "newline before it", "\ncircle:7"
    yield "Redis command after a newline", "circle:7\r\nDEL gateway"
    yield "next line (U+0085)", "circle:7\u0085"
    yield "line separator", "circle:7\u2028"
    yield "NUL", "circle:7\x00"
    yield "NUL inside", "circle:7\x00:8"
    yield "escape", "circle:\x1b[31m7"
    yield "delete", "circle:7\x7f"
    yield "hyphen first", "circle:-7"
    yield "underscore first", "circle:_7"
    yield "65 characters", "circle:" + "a" * 65
    yield "256 characters", "circle:" + "a" * 249
    yield "user of 129 characters", "user:" + "a" * 129
    yield "user with a colon", "user:a:b"
    yield "user with a space", "user:a b"
    yield "user star", "user:*"
    yield "user with a dot first", "user:.a"
    yield "Arabic digits", "circle:\u0667"
    yield "full-width digit", "circle:\uff17"
    yield "superscript digit", "circle:\u00b2"
    yield "NFC letter", "circle:\u00e9"
    yield "NFD letter", "circle:e\u0301"
    yield "ligature (NFKC: fi)", "circle:\ufb01"
    yield "Kelvin sign (NFKC: K)", "circle:\u212a"
    yield "dotless i", "c\u0131rcle:7"
    yield "long s (folds to s)", "u\u017fer:ada"
    yield "Cyrillic letter in the kind", "\u0441ircle:7"
    yield "full-width colon", "circle\uff1a7"
    yield "ratio for a colon", "circle\u22367"
    yield "right-to-left override", "circle:7\u202e"
    yield "right-to-left mark", "\u200fcircle:7"
    yield "zero-width space", "circle:\u200b7"
    yield "zero-width joiner", "circle:7\u200d"
    yield "soft hyphen", "circle:7\u00ad"
    yield "byte order mark", "\ufeffcircle:7"
    yield "no-break space", "circle:7\u00a0"
    yield "emoji", "circle:\U0001f600"
    yield "beyond the BMP, a letter", "circle:\U0001d400"
    yield "non-character", "circle:\uffff"
    yield "prototype", "__proto__"
    yield "markup", "circle:<script>alert(1)</script>"


NAMES = [pytest.param(name, id=what) for what, name in names()]


@pytest.mark.parametrize("name", NAMES)
async def test_no_room(attacked: AttackedGateway, name: str) -> None:
    """`room_invalid` names it, escaped and cut; the good room beside it is not joined either; then the good one is."""
    async with attacked.gate.client() as client:
        frame = await client.ask(type="subscribe", rooms=["circle:7", name])
        refused(frame, "room_invalid")
        assert frame["data"]["rooms"] == [name[:140]]
        message = frame["data"]["message"]
        assert message.isascii()
        assert message.isprintable()
        assert len(name) <= 80 or name not in message
        frame = await client.ask(type="unsubscribe", rooms=[name])
        refused(frame, "room_invalid")
        assert attacked.connection(client).rooms.keys() == {"user:ada"}
        assert (await client.ask(type="subscribe", rooms=["circle:7"]))["data"]["rooms"] == ["circle:7"]


@pytest.mark.parametrize("name", [p for p in NAMES[1::3] if p.values[0] and "," not in str(p.values[0])])
async def test_no_room_in_the_handshake(attacked: AttackedGateway, name: str) -> None:
    """The client is admitted with `room_invalid`, and is in no room but its own."""
    async with attacked.gate.client(query=f"&rooms=circle:7,{quote(name, safe='')}") as client:
        assert client.established["data"]["subscribed"] == ["user:ada"]
        refused(await client.next(), "room_invalid")
        assert (await client.ask(type="subscribe", rooms=["circle:7"]))["type"] == "subscribed"


@pytest.mark.parametrize("name", [p for p in NAMES[2::3] if not str(p.values[0]).endswith(":*")])
async def test_no_pattern_for_a_token(attacked: AttackedGateway, name: str) -> None:
    """No token is issued with such a grant, not even by who holds everything."""
    admin = attacked.gate.token(scope="admin subscribe", rooms=["circle:*", "project:*", "user:*", "tenant"])
    answer = await attacked.http("POST", "/admin/tokens", {"user_id": "eve", "rooms": [name]}, token=admin)
    problem(answer, 422, "room_invalid")
    clear(answer.json["detail"])


@pytest.mark.parametrize("name", [p for p in NAMES if str(p.values[0]).startswith("circle:")][::2])
async def test_no_id_in_an_event(attacked: AttackedGateway, name: str) -> None:
    """An event cannot be published to it, over either way."""
    circle = name.removeprefix("circle:")
    event = {"type": "task.created", "data": {}, "circle_id": circle}
    problem(await attacked.http("POST", "/events", event, token=attacked.gate.token()), 422, "room_invalid")
    async with attacked.gate.client() as client:
        refused(await client.ask(type="publish", event=event), "room_invalid")
        assert (await client.ask(type="ping"))["type"] == "pong"


@pytest.mark.parametrize(
    "name",
    [
        "circle:" + "a" * 64,
        "circle:A-b_C",
        "project:0",
        "user:a.b_c@d+e|f-g",
        "user:" + "a" * 128,
        "tenant",
        "circle:7",
    ],
)
async def test_odd_but_good(attacked: AttackedGateway, name: str) -> None:
    """The longest and oddest names that the grammar has are rooms like others."""
    token = attacked.gate.token(rooms=["circle:*", "project:*", "user:*", "tenant"])
    async with attacked.gate.client(token) as client:
        assert (await client.ask(type="subscribe", rooms=[name]))["data"]["rooms"] == [name]
        kind, _, id = name.partition(":")
        event = {"type": "task.created", "data": {}, **({f"{kind}_id": id} if id else {})}
        await client.send(type="publish", event=event)
        frames = [await client.next(), await client.next()]
        assert {frame["type"] for frame in frames} == {"task.created", "published"}


async def test_lone_surrogates_are_no_json(attacked: AttackedGateway) -> None:
    """Half a character, which JSON can spell and UTF-8 cannot, is a bad message."""
    async with attacked.gate.client() as client:
        await client.websocket.send('{"type":"subscribe","rooms":["circle:\\ud800"]}')
        refused(await client.next(), "bad_message")
        assert (await client.ask(type="ping"))["type"] == "pong"
    token = attacked.gate.token()
    body = json.dumps({"type": "task.created", "data": {}, "circle_id": "\ud800"}).encode()
    problem(await attacked.http("POST", "/events", body, token=token), 400, "bad_message")
