"""Keyed events on the wire: key and op, state at subscribe and in the URL, and what of it is there over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.clients import Client, fence, http_client
from tests.support.inprocess import RunningGateway, running
from tests.support.settings import settings_for


@pytest.fixture
async def gate() -> AsyncIterator[RunningGateway]:
    """A running gateway, with marks."""
    async with running(settings_for(mark_interval=15)) as gate:
        yield gate


def api_of(gate: RunningGateway, **token: Any) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {gate.token(**token)}"}
    return http_client(gate.url, headers=headers)


async def put(gate: RunningGateway, key: str, op: str | None = None, *, circle: int = 1, **data: Any) -> str:
    return await gate.publish(type="run.output", circle_id=circle, item_key=key, op=op, data=data)


async def items(client: Client, count: int) -> list[tuple[str, dict[str, Any]]]:
    frames = [await client.next("run.output") for _ in range(count)]
    assert all(frame.get("op", "set") == "set" for frame in frames)
    return [(frame["event_id"], frame["data"]) for frame in frames]


async def test_frame_carries_key_and_op_as_given(gate: RunningGateway) -> None:
    """Live clients get each event as it was published, by HTTP and by the command alike."""
    async with gate.client(query="&rooms=circle:1") as client, api_of(gate, scope="subscribe publish") as api:
        await client.next("subscribed")
        for op in (None, "set", "append", "delete"):
            event = {"type": "run.output", "circle_id": 1, "key": "run:81/msg@3|a._-", "data": {"text": "é"}}
            answer = await api.post("/events", json=event if op is None else {**event, "op": op})
            assert answer.status_code == 202
            frame = await client.next("run.output")
            assert (frame["key"], frame.get("op"), frame["data"]) == ("run:81/msg@3|a._-", op, {"text": "é"})
    async with gate.client(gate.token(scope="subscribe publish"), "&rooms=circle:1") as client:
        await client.next("subscribed")
        event = {"type": "run.output", "circle_id": 1, "key": "k", "op": "append", "data": {}}
        await client.send(type="publish", event=event)
        assert {(await client.next())["type"], (await client.next())["type"]} == {"published", "run.output"}


@pytest.mark.parametrize(
    "fields",
    [
        {"op": "set"},
        *({"key": key} for key in ("", "a b", "é", "k" * 129, "k\n", 1)),
        *({"key": "k", "op": op} for op in ("close", "SET", 1)),
    ],
)
async def test_other_keys_and_ops_are_refused(gate: RunningGateway, fields: dict[str, Any]) -> None:
    """422 `bad_message`, and nothing is appended; in a batch that event alone; in process a `ValueError`."""
    event = {"type": "run.output", "circle_id": 1, "data": {}, **fields}
    async with api_of(gate, scope="publish") as api:
        answer = await api.post("/events", json=event)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_message")
        batch = await api.post("/events/batch", json={"events": [event, {"type": "a.b", "data": {}}]})
        assert [list(result) for result in batch.json()["results"]] == [["error"], ["event_id", "duplicate", "rooms"]]
    async with gate.client(gate.token(scope="subscribe publish")) as client:
        assert (await client.ask(type="publish", event=event))["data"]["code"] == "bad_message"
    if all(isinstance(value, str) for value in fields.values()):
        with pytest.raises(ValueError, match=r"^(key|op): "):
            await gate.publish(item_key=fields.get("key"), op=fields.get("op"))


async def test_append_beyond_an_item_s_size_is_refused(gate: RunningGateway) -> None:
    """413 `message_too_large` with the limit, by HTTP, in a batch and by the command."""
    await put(gate, "k", text="x" * 60_000)
    event = {"type": "run.output", "circle_id": 1, "key": "k", "op": "append", "data": {"text": "y" * 6_000}}
    async with api_of(gate, scope="publish") as api:
        answer = await api.post("/events", json=event)
        assert (answer.status_code, answer.json()["code"], answer.json()["limit"]) == (413, "message_too_large", 65_536)
        batch = await api.post("/events/batch", json={"events": [event]})
        assert batch.json()["results"][0]["error"]["code"] == "message_too_large"
    async with gate.client(gate.token(scope="subscribe publish")) as client:
        assert (await client.ask(type="publish", event=event))["data"]["code"] == "message_too_large"


async def test_state_comes_before_what_is_live(gate: RunningGateway) -> None:
    """The reply, each item once at the place of its last change, a mark, live events."""
    await put(gate, "run:1", text="a")
    other = await put(gate, "run:2", text="z", n=1)
    await put(gate, "run:1", "append", circle=2, text="another circle")
    newest = await put(gate, "run:1", "append", text="b")
    await gate.publish(circle_id=1)
    await put(gate, "run:3", text="x")
    await put(gate, "run:3", "delete")
    async with gate.client() as client:
        answer = (await client.ask(type="subscribe", rooms=["circle:1"], state=True))["data"]
        assert (answer["items"], answer["replayed"], answer["complete"], answer["recovered"]) == (2, 0, True, None)
        assert await items(client, 2) == [(other, {"text": "z", "n": 1}), (newest, {"text": "ab"})]
        assert (await client.next("stream.mark"))["data"]["cursor"] == answer["cursor"]
        live = await put(gate, "run:1", "append", text="c")
        frame = await client.next("run.output")
        assert (frame["event_id"], frame["op"], frame["data"]) == (live, "append", {"text": "c"})
        await fence(client)


async def test_state_with_since_and_history(gate: RunningGateway) -> None:
    """With `since` only what has changed since comes, an end among it; with `history` also other events."""
    await put(gate, "run:1", text="a")
    since = await put(gate, "run:2", text="b")
    plain = await gate.publish(type="task.created", circle_id=1)
    newest = await put(gate, "run:1", "append", text="c")
    ended = await put(gate, "run:2", "delete")
    last = await gate.publish(type="task.created", circle_id=1)
    async with gate.client() as client:
        answer = (await client.ask(type="subscribe", rooms=["circle:1"], since=since, state=True))["data"]
        assert (answer["recovered"], answer["replayed"], answer["items"]) == (True, 2, 2)
        frames = [await client.next() for _ in range(5)]
        assert [frame.get("event_id") for frame in frames] == [plain, newest, ended, last, None]
        assert [frame.get("op") for frame in frames] == [None, "set", "delete", None, None]
    async with gate.client() as client:
        answer = (await client.ask(type="subscribe", rooms=["circle:1"], history=1, state=True))["data"]
        assert (answer["replayed"], answer["items"]) == (1, 1)
        assert [(await client.next()).get("event_id") for _ in range(3)] == [newest, last, None]
    async with gate.client() as client:
        answer = (await client.ask(type="subscribe", rooms=["circle:1"], since=since))["data"]
        assert answer == {"rooms": ["circle:1"], "cursor": last, "recovered": True, "replayed": 4}


async def test_state_in_the_url(gate: RunningGateway) -> None:
    """Answered as the command is; nothing is asked of a client that does not ask for it."""
    newest = await put(gate, "run:1", text="a")
    async with gate.client(query="&rooms=circle:1&state=1") as client:
        answer = (await client.next("subscribed"))["data"]
        assert (answer["rooms"], answer["items"], answer["complete"]) == (["circle:1"], 1, True)
        assert await items(client, 1) == [(newest, {"text": "a"})]
        await client.next("stream.mark")
    for query in ("&rooms=circle:1", "&rooms=circle:1&state=0"):
        async with gate.client(query=query) as client:
            assert "items" not in (await client.next("subscribed"))["data"]
            await fence(client)


async def test_items_outlast_the_window_within_their_bounds() -> None:
    """Events that left the window count as recovered while their item is kept; where the bounds of state have cost one,
    the reply is not `complete`, and no reply says that nothing is missing."""
    async with running(settings_for(log_max_events=5, state_max_items=3)) as gate:
        start = await gate.publish(circle_id=1)
        await put(gate, "run:1", text="a")
        await put(gate, "run:1", "append", text="b")
        for _ in range(10):
            await gate.publish(circle_id=2)
        async with gate.client() as client:
            answer = (await client.ask(type="subscribe", rooms=["circle:1"], since=start, state=True))["data"]
            assert (answer["recovered"], answer["items"], answer["complete"]) == (True, 1, True)
            assert [data for _, data in await items(client, 1)] == [{"text": "ab"}]
        for n in range(2, 5):
            await put(gate, f"run:{n}", circle=3)
        async with gate.client() as client:
            answer = (await client.ask(type="subscribe", rooms=["circle:1"], since=start, state=True))["data"]
            assert (answer["recovered"], answer["items"], answer["complete"]) == (False, 0, False)
            answer = (await client.ask(type="subscribe", rooms=["circle:3"], state=True))["data"]
            assert (answer["items"], answer["complete"]) == (3, True)


async def test_state_over_http(gate: RunningGateway) -> None:
    """A room's items as of one cursor, in pages; the first page's cursor is a place to go on from."""
    ids = [await put(gate, f"run:{n}", text=str(n)) for n in range(5)]
    await put(gate, "run:9", circle=2)
    await put(gate, "run:0", "append", text="!")
    head = await gate.publish(circle_id=2)
    async with api_of(gate) as api:
        first = (await api.get("/rooms/circle:1/state", params={"limit": 2})).json()
        assert (first["cursor"], first["complete"], first["next"]) == (head, True, ids[2])
        assert first["as_of"].endswith("Z")
        assert [item["event_id"] for item in first["items"]] == ids[1:3]
        moved = await put(gate, "run:1", text="newer")
        pages, after = [first], first["next"]
        while after is not None:
            pages.append((await api.get("/rooms/circle:1/state", params={"limit": 2, "after": after})).json())
            after = pages[-1]["next"]
        later = [item for page in pages[1:] for item in page["items"]]
        assert [(item["data"]["text"], item.get("op")) for item in later] == [
            ("3", None),
            ("4", None),
            ("0!", "set"),
            ("newer", None),
        ]
        assert later[-1]["event_id"] == moved
        assert (await api.get("/rooms/circle:7/state")).json()["items"] == []
    async with gate.client() as client:
        answer = (await client.ask(type="subscribe", rooms=["circle:1"], since=first["cursor"]))["data"]
        assert (answer["recovered"], answer["replayed"]) == (True, 1)


async def test_events_over_http() -> None:
    """The events of a room, in pages; of an item the newest alone."""
    async with running(settings_for(log_max_events=8)) as gate:
        lost = await gate.publish(circle_id=1)
        ids = [await gate.publish(circle_id=1) for _ in range(3)]
        await put(gate, "run:1", text="a")
        ids.append(await put(gate, "run:1", "append", text="b"))
        ids += [await gate.publish(circle_id=1) for _ in range(3)]
        head = await gate.publish(circle_id=2)
        async with api_of(gate) as api:
            page = (await api.get("/rooms/circle:1/events", params={"limit": 4})).json()
            assert (page["cursor"], page["recovered"], page["more"]) == (ids[3], None, True)
            assert [event["event_id"] for event in page["events"]] == ids[:4]
            assert (page["events"][3]["op"], page["events"][3]["data"]) == ("set", {"text": "ab"})
            page = (await api.get("/rooms/circle:1/events", params={"since": page["cursor"]})).json()
            assert (page["cursor"], page["recovered"], page["more"]) == (head, True, False)
            assert [event["event_id"] for event in page["events"]] == ids[4:]
            page = (await api.get("/rooms/circle:1/events", params={"since": lost})).json()
            assert (len(page["events"]), page["recovered"]) == (7, True)
            await gate.publish(circle_id=2)
            page = (await api.get("/rooms/circle:1/events", params={"since": lost})).json()
            assert (len(page["events"]), page["recovered"]) == (6, False)


async def test_pages_of_events_bring_all_of_them() -> None:
    """A page that is not full says that there are more; items that change meanwhile come with a later page."""
    async with running(settings_for()) as gate, api_of(gate) as api:
        for n in range(40):
            await put(gate, f"run:{n}", text=f"{n}" + "x" * 60_000)
        seen: dict[str, str] = {}
        query: dict[str, str] = {}
        pages = 0
        more = True
        while more:
            page = (await api.get("/rooms/circle:1/events", params=query)).json()
            seen |= {event["key"]: event["data"]["text"][:2] for event in page["events"]}
            query, more, pages = {"since": page["cursor"]}, page["more"], pages + 1
            if pages == 1:
                assert more
                assert 0 < len(page["events"]) < 40
                await put(gate, "run:39", text="new")
        assert pages == 3
        assert seen == {f"run:{n}": f"{n}x"[:2] for n in range(39)} | {"run:39": "ne"}


@pytest.mark.parametrize("path", ["state", "events"])
async def test_rooms_over_http_are_for_those_who_may_subscribe(gate: RunningGateway, path: str) -> None:
    """The rules of `subscribe`; an invalid cursor and a limit out of range are refused."""
    name = "after" if path == "state" else "since"
    async with api_of(gate, rooms=["circle:1"]) as api:
        for room, query, expected in (
            ("circle:1", {}, 200),
            ("circle:2", {}, 403),
            ("nonsense", {}, 422),
            ("circle:1", {name: "evt_nonsense"}, 422),
            ("circle:1", {"limit": 0}, 422),
            ("circle:1", {"limit": 1_001}, 422),
        ):
            answer = await api.get(f"/rooms/{room}/{path}", params=query)
            assert answer.status_code == expected, (room, query, answer.text)
    async with api_of(gate, scope="publish") as api:
        assert (await api.get(f"/rooms/circle:1/{path}")).json()["code"] == "scope_missing"
    async with http_client(gate.url) as api:
        assert (await api.get(f"/rooms/circle:1/{path}")).status_code == 401
