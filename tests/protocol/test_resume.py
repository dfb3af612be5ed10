"""Resume, history and order after `subscribe`."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.core.errors import LogUnavailable
from gateway.logs.memory import MemoryLog
from gateway.service.factory import create_service
from gateway.testing import CURSOR_KEY
from tests.support.clients import Client, fence, until_fence
from tests.support.inprocess import RunningGateway, running, service_with
from tests.support.pauses import until
from tests.support.settings import SECRET, settings_for


def ids(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["event_id"] for frame in frames if "event_id" in frame]


async def replayed(client: Client, count: int) -> list[str]:
    """The ids of the next frames, all of which must be events."""
    return [(await client.next("task.completed"))["event_id"] for _ in range(count)]


async def test_since_replays_exactly_what_was_missed(gate: RunningGateway) -> None:
    """The `subscribed` reply first, then the events after the cursor, in order, then live ones."""
    start, *missed = [await gate.publish(circle_id=1) for _ in range(6)]
    async with gate.client() as client:
        answer = (await client.ask(type="subscribe", rooms=["circle:1"], since=start))["data"]
        assert answer == {"rooms": ["circle:1"], "cursor": missed[-1], "recovered": True, "replayed": 5}
        live = await gate.publish(circle_id=1)
        assert await replayed(client, 6) == [*missed, live]
        await fence(client)


async def test_the_cursor_of_the_first_frame_is_a_place_to_resume_from(gate: RunningGateway) -> None:
    """Also before the tenant's first event: nothing that came after it is lost."""
    async with gate.client() as client:
        cursor = client.established["data"]["cursor"]
    event_id = await gate.publish(circle_id=1)
    async with gate.client() as client:
        answer = (await client.ask(type="subscribe", rooms=["circle:1"], since=cursor))["data"]
        assert (answer["recovered"], answer["replayed"]) == (True, 1)
        assert await replayed(client, 1) == [event_id]


async def test_replay_is_filtered_by_the_rooms_and_each_event_comes_once(gate: RunningGateway) -> None:
    """Only events of the rooms; an event in two of them comes once."""
    start = await gate.publish()
    wanted = [
        await gate.publish(circle_id=1),
        await gate.publish(circle_id=1, project_id=2),
        await gate.publish(project_id=2),
    ]
    for circle, project in ((2, None), (11, None), (None, 1)):
        await gate.publish(circle_id=circle, project_id=project)
    await gate.publish("globex", circle_id=1, project_id=2)
    async with gate.client() as client:
        answer = (await client.ask(type="subscribe", rooms=["circle:1", "project:2"], since=start))["data"]
        assert answer["replayed"] == 3
        assert await replayed(client, 3) == wanted
        await fence(client)


async def test_recovered_says_whether_everything_after_the_cursor_came(gate: RunningGateway) -> None:
    """null where nothing was asked, true where nothing was missed too."""
    newest = await gate.publish(circle_id=1)
    async with gate.client() as client:
        assert (await client.ask(type="subscribe", rooms=["circle:1"]))["data"]["recovered"] is None
        answer = (await client.ask(type="subscribe", rooms=["circle:2"], since=newest))["data"]
        assert (answer["recovered"], answer["replayed"]) == (True, 0)


async def test_a_trimmed_window_is_reported_and_the_rest_is_replayed() -> None:
    """`recovered: false`, and then all later events that are still there."""
    async with running(settings_for(log_max_events=5)) as gate:
        all_ids = [await gate.publish(circle_id=1) for _ in range(10)]
        async with gate.client() as client:
            answer = (await client.ask(type="subscribe", rooms=["circle:1"], since=all_ids[3]))["data"]
            assert answer == {"rooms": ["circle:1"], "cursor": all_ids[-1], "recovered": False, "replayed": 5}
            assert await replayed(client, 5) == all_ids[-5:]
            await fence(client)
            live = await gate.publish(circle_id=1)
            assert await replayed(client, 1) == [live]
        async with gate.client() as client:
            # The oldest place that is still good: everything after it is there.
            answer = (await client.ask(type="subscribe", rooms=["circle:1"], since=all_ids[5]))["data"]
            assert (answer["recovered"], answer["replayed"]) == (True, 5)


async def test_history_does_not_count_beside_a_cursor(gate: RunningGateway) -> None:
    """With both, all that is kept after the cursor comes, whether or not something is missing before it."""
    async with running(settings_for(log_max_events=5)) as small:
        all_ids = [await small.publish(circle_id=1) for _ in range(10)]
        for since, recovered, count in ((0, False, 5), (7, True, 2), (9, True, 0)):
            async with small.client() as client:
                command = {"type": "subscribe", "rooms": ["circle:1"], "since": all_ids[since], "history": 3}
                answer = (await client.ask(**command))["data"]
                assert (answer["recovered"], answer["replayed"]) == (recovered, count)
                assert await replayed(client, count) == all_ids[10 - count :]


async def test_quiet_room_of_a_busy_tenant_is_recovered() -> None:
    """Only an event of the rooms asked for counts as lost; `tenant` is every event's room."""
    async with running(settings_for(log_max_events=100)) as gate:
        start = await gate.publish(circle_id=1)
        first = await gate.publish(circle_id=1)
        for _ in range(300):
            await gate.publish(circle_id=2)
        for rooms, since, recovered, count in (
            (["circle:1"], first, True, 0),
            (["circle:1", "circle:3"], first, True, 0),
            (["circle:1"], start, False, 0),
            (["circle:1", "circle:2"], first, False, 100),
            (["tenant"], first, False, 100),
        ):
            async with gate.client() as client:
                answer = (await client.ask(type="subscribe", rooms=rooms, since=since))["data"]
                assert (answer["recovered"], answer["replayed"]) == (recovered, count), rooms
                await replayed(client, count)  # a client that does not read holds up its own goodbye, for 10 s
        async with gate.client(query=f"&rooms=circle:1&since={first}") as client:
            assert (await client.next("subscribed"))["data"]["recovered"] is True
            live = await gate.publish(circle_id=1)
            assert await replayed(client, 1) == [live]


async def test_the_window_is_bounded_by_bytes_too() -> None:
    """A few large events trim the small old ones, and the gap is reported."""
    async with running(settings_for(log_max_bytes=4_096)) as gate:
        start = await gate.publish(circle_id=1)
        for _ in range(5):
            await gate.publish(circle_id=1, data={"x": "y" * 1_000})
        async with gate.client() as client:
            answer = (await client.ask(type="subscribe", rooms=["circle:1"], since=start))["data"]
            assert (answer["recovered"], answer["replayed"]) == (False, 3)


async def test_history_gives_the_latest_of_the_rooms_in_log_order(gate: RunningGateway) -> None:
    """At most as many as were asked for, oldest first; other rooms' events do not count."""
    circle = []
    for number in range(6):
        circle.append(await gate.publish(circle_id=1))
        await gate.publish(circle_id=2 + number)
    async with gate.client() as client:
        answer = (await client.ask(type="subscribe", rooms=["circle:1"], history=4))["data"]
        assert (answer["recovered"], answer["replayed"]) == (None, 4)
        assert await replayed(client, 4) == circle[-4:]
        await fence(client)
    async with gate.client() as client:
        assert (await client.ask(type="subscribe", rooms=["circle:1"], history=100))["data"]["replayed"] == 6
        assert await replayed(client, 6) == circle


async def test_no_event_is_sent_twice_whatever_is_subscribed_again(gate: RunningGateway) -> None:
    """With history and since, over rooms that share events with those that are joined already."""
    async with gate.client() as client:
        await client.ask(type="subscribe", rooms=["circle:1"])
        first = await gate.publish(circle_id=1, project_id=2)
        second = await gate.publish(project_id=2)
        assert await replayed(client, 1) == [first]
        # Of the project's two events one is here already.
        assert (await client.ask(type="subscribe", rooms=["project:2"], history=10))["data"]["replayed"] == 1
        assert await replayed(client, 1) == [second]
        for rooms in (["project:2"], ["circle:1"], ["circle:1", "project:2"]):
            answer = (await client.ask(type="subscribe", rooms=rooms, history=10))["data"]
            assert answer["replayed"] == 0
            assert (await client.ask(type="subscribe", rooms=rooms, since=first))["data"]["replayed"] == 0
        await fence(client)


async def test_a_long_replay_and_what_comes_meanwhile_keep_the_logs_order(gate: RunningGateway) -> None:
    """More than fits one write, with new events and other subscriptions coming in between."""
    data = {"x": "y" * 2_000}
    start = await gate.publish(circle_id=1)
    log = [await gate.publish(circle_id=1, data=data) for _ in range(200)]
    async with gate.client() as client:
        await client.send(type="subscribe", rooms=["circle:1"], since=start)
        await client.send(type="subscribe", rooms=["project:9"], id="second")
        log += [await gate.publish(circle_id=1, data=data) for _ in range(20)]
        frames = [await client.next() for _ in range(len(log) + 2)]
        await fence(client)
    assert frames[0]["type"] == "subscribed"
    assert ids(frames) == log
    # The second answer waits for the first replay, or an event of both might come twice.
    replayed_first = frames[0]["data"]["replayed"]
    assert [frame.get("id") for frame in frames].index("second") > replayed_first


async def test_leaving_a_room_forgets_what_it_brought(gate: RunningGateway) -> None:
    """A page that is opened again is filled again; without leaving nothing comes twice."""
    start = await gate.publish(circle_id=1)
    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        id = await gate.publish(circle_id=1)
        assert (await client.next("task.completed"))["event_id"] == id
        answer = await client.ask(type="subscribe", rooms=["circle:1"], since=start)
        assert answer["data"]["replayed"] == 0
        for back in ({"since": start}, {"history": 1}):
            await client.ask(type="unsubscribe", rooms=["circle:1"])
            answer = await client.ask(type="subscribe", rooms=["circle:1"], **back)
            assert answer["data"]["replayed"] == 1
            assert (await client.next("task.completed"))["event_id"] == id
        await fence(client)


async def test_unsubscribing_during_a_replay_ends_it_without_a_stray_event_after_the_reply(
    gate: RunningGateway,
) -> None:
    """After `unsubscribed` nothing of that room comes."""
    start = await gate.publish(circle_id=1)
    for _ in range(200):
        await gate.publish(circle_id=1, data={"x": "y" * 2_000})
    async with gate.client() as client:
        await client.send(type="subscribe", rooms=["circle:1"], since=start)
        await client.send(type="unsubscribe", rooms=["circle:1"])
        kinds: list[str] = []
        while not kinds or kinds[-1] != "unsubscribed":
            kinds.append((await client.next())["type"])
        assert kinds[0] == "subscribed"
        await gate.publish(circle_id=1)
        await fence(client)


async def test_cursors_of_another_tenant_and_invented_ones_are_refused(gate: RunningGateway) -> None:
    """`cursor_invalid`, and nothing is subscribed."""
    foreign = await gate.publish("globex", circle_id=1)
    own = await gate.publish(circle_id=1)
    altered = own[:-1] + ("A" if own[-1] != "A" else "B")
    bad = ["", "0", "evt_", "evt_123", foreign, altered, own + "A", own[4:], own.upper(), own + "=", " " + own]
    async with gate.client() as client:
        for cursor in bad:
            frame = await client.ask(type="subscribe", rooms=["circle:1"], since=cursor)
            assert frame["data"].get("code") == "cursor_invalid", cursor
        await gate.publish(circle_id=1)
        await fence(client)


async def test_event_ids_do_not_tell_how_many_events_there_are(gate: RunningGateway) -> None:
    """Opaque: no common part grows along, and two tenants' first events have nothing in common."""
    mine = [await gate.publish(circle_id=1) for _ in range(50)]
    theirs = [await gate.publish("globex", circle_id=1) for _ in range(50)]
    assert len({*mine, *theirs}) == 100
    assert len({len(event_id) for event_id in (*mine, *theirs)}) == 1
    for position in range(4, len(mine[0])):
        assert len({event_id[position] for event_id in mine}) > 1, "a constant part would be the epoch or the count"
    assert mine != sorted(mine)


async def test_resume_at_connect_includes_the_own_user_room(gate: RunningGateway) -> None:
    """`rooms` and `since` in the query: what the user was sent meanwhile comes too."""
    async with gate.client(query="&rooms=circle:1") as client:
        await client.next("subscribed")
        last = await gate.publish(circle_id=1)
        await client.next("task.completed")
    missed = [await gate.publish(circle_id=1), await gate.publish(user_id="ada"), await gate.publish(circle_id=1)]
    await gate.publish(user_id="bob", circle_id=2)
    async with gate.client(query=f"&rooms=circle:1&since={last}") as client:
        assert client.established["data"]["subscribed"] == ["user:ada", "circle:1"]
        answer = (await client.next("subscribed"))["data"]
        assert (set(answer["rooms"]), answer["recovered"]) == ({"user:ada", "circle:1"}, True)
        assert answer["replayed"] == 3
        assert await replayed(client, 3) == missed
        await fence(client)
    async with gate.client(query=f"&since={last}") as client:
        assert (await client.next("subscribed"))["data"]["rooms"] == ["user:ada"]
        assert await replayed(client, 1) == [missed[1]]
        await fence(client)


async def test_a_resume_at_connect_with_refused_rooms_still_brings_the_users_own(gate: RunningGateway) -> None:
    """The grants may have shrunk meanwhile: the refusal is reported, and the cursor is still used."""
    last = await gate.publish()
    own = await gate.publish(user_id="ada", circle_id=1)
    await gate.publish(circle_id=1)
    async with gate.client(gate.token(rooms=["circle:2"]), f"&rooms=circle:1&since={last}") as client:
        assert (await client.next("error"))["data"]["code"] == "room_forbidden"
        assert (await client.next("subscribed"))["data"]["rooms"] == ["user:ada"]
        assert await replayed(client, 1) == [own]
        await fence(client)


async def test_an_invalid_cursor_at_connect_subscribes_to_nothing(gate: RunningGateway) -> None:
    """The error is `cursor_invalid`; the connection stays, with the user's own room live."""
    foreign = await gate.publish("globex", circle_id=1)
    async with gate.client(query=f"&rooms=circle:1&since={foreign}") as client:
        assert client.established["data"]["subscribed"] == ["user:ada"]
        assert (await client.next("error"))["data"]["code"] == "cursor_invalid"
        await gate.publish(circle_id=1)
        await fence(client)
        await gate.publish(user_id="ada")
        await client.next("task.completed")


async def test_a_cursor_and_rooms_in_the_url_that_are_both_no_good(gate: RunningGateway) -> None:
    """The rooms are refused, nothing is resumed, and the connection stays, with the user's own room live."""
    for query, code in (("&rooms=nonsense", "room_invalid"), ("&rooms=user:bob", "room_forbidden")):
        async with gate.client(query=f"{query}&since=junk") as client:
            assert (await client.next("error"))["data"]["code"] == code
            await gate.service.gateway.publish("acme", "a.b", {}, user_id="ada")
            await client.next("a.b")


async def test_after_a_restart_an_old_cursor_is_a_reset_log_not_an_error() -> None:
    """The embedded log is gone with its process: `recovered: false`, the events of the new one, and then live ones."""
    async with running() as gate:
        cursors = [await gate.publish(circle_id=1) for _ in range(3)]
    async with running() as gate:
        # The offsets are in use again, and must not be taken for the old ones.
        ids = [await gate.publish(circle_id=1) for _ in range(3)]
        async with gate.client(query=f"&rooms=circle:1&since={cursors[0]}") as client:
            answer = (await client.next("subscribed"))["data"]
            assert (answer["recovered"], answer["replayed"]) == (False, 3)
            assert await replayed(client, 3) == ids
            live = await gate.publish(circle_id=1)
            assert await replayed(client, 1) == [live]
        async with gate.client() as client:
            answer = (await client.ask(type="subscribe", rooms=["circle:1"], since=cursors[1]))["data"]
            assert answer["recovered"] is False


async def test_a_new_secret_keeps_the_cursors_of_the_old_one_known() -> None:
    """After a rotation a client that resumes gets a reset; only without the old key it is an error."""
    new = "another-secret-of-tests-0123456789-abcdefghijklmnop"
    async with running() as gate:
        cursor = await gate.publish(circle_id=1)
    for previous, expected in (((SecretStr(SECRET),), "subscribed"), ((), "error")):
        settings = settings_for().model_copy(update={"jwt_secret": SecretStr(new), "jwt_previous_secrets": previous})
        async with running(settings, create_service(settings)) as gate, gate.client() as client:
            answer = await client.ask(type="subscribe", rooms=["circle:1"], since=cursor)
            assert answer["type"] == expected


class LateLog(MemoryLog):
    """A log that has to be read before it knows of a cursor: each `follow` with one waits until the test ends it."""

    def __init__(self) -> None:
        super().__init__((CURSOR_KEY,))
        self.reads: list[asyncio.Future[None]] = []

    def follow(self, tenant: str, since: str | None = None) -> Awaitable[None] | None:  # type: ignore[override]
        if since is None:
            return None
        self.reads.append(asyncio.get_running_loop().create_future())
        return self.reads[-1]


async def test_a_cursor_ahead_of_the_node_is_answered_once_the_log_was_read() -> None:
    """Not by the connection's next turn, which comes soon where it is over its rate of events, and not at the end of a
    replay; what was asked after it waits. Where the log cannot be read, that is the answer, and the next follows."""
    log = LateLog()
    async with running(service=service_with(log=log, events_per_second=20)) as gate:
        start, *_ = [await gate.publish(circle_id=1) for _ in range(30)]
        async with gate.client() as client:
            subscribe = {"type": "subscribe", "rooms": ["circle:1"], "since": start}
            await client.send(**subscribe, id=1)
            await client.send(**subscribe, id=2)
            await client.send(**subscribe, id=3)
            await client.send(type="unsubscribe", rooms=["circle:1"], id=4)
            await until(lambda: len(log.reads) == 1)
            await gate.publish(user_id="ada")
            await client.next("task.completed")
            await client.quiet()
            log.reads[0].set_result(None)
            answer = await client.next("subscribed")
            assert (answer["id"], answer["data"]["recovered"], answer["data"]["replayed"]) == (1, True, 29)
            await replayed(client, 29)
            await until(lambda: len(log.reads) == 2)
            await client.quiet()
            log.reads[1].set_exception(LogUnavailable())
            answer = await client.next("error")
            assert (answer["id"], answer["data"]["code"]) == (2, "broker_unavailable")
            await until(lambda: len(log.reads) == 3)
            await client.quiet()
            log.reads[2].set_result(None)
            answer = await client.next("subscribed")
            assert (answer["id"], answer["data"]["recovered"], answer["data"]["replayed"]) == (3, True, 0)
            assert (await client.next("unsubscribed"))["id"] == 4


async def test_grants_are_judged_again_before_anything_is_replayed(gate: RunningGateway) -> None:
    """A cursor is a place, no permission."""
    start = await gate.publish(circle_id=1)
    await gate.publish(circle_id=1)
    async with gate.client(gate.token(rooms=["circle:2"])) as client:
        error = await client.ask(type="subscribe", rooms=["circle:1"], since=start)
        assert error["data"]["code"] == "room_forbidden"
        await fence(client)


async def test_a_client_that_follows_its_cursor_through_reconnects_misses_nothing(gate: RunningGateway) -> None:
    """Twenty connections, events before, during and after each: the whole log, in order, once."""
    seen: list[str] = []
    log = [await gate.publish(circle_id=1)]
    cursor = log[0]
    for _ in range(20):
        log += [await gate.publish(circle_id=1) for _ in range(3)]
        async with gate.client(query=f"&rooms=circle:1&since={cursor}") as client:
            log.append(await gate.publish(circle_id=1))
            seen += ids(await until_fence(client))
            log.append(await gate.publish(circle_id=1))
        cursor = seen[-1]
    async with gate.client(query=f"&rooms=circle:1&since={cursor}") as client:
        seen += ids(await until_fence(client))
    assert seen == log[1:]


async def test_history_beyond_the_limit_is_refused(gate: RunningGateway) -> None:
    """100 at most."""
    async with gate.client() as client:
        error = await client.ask(type="subscribe", rooms=["circle:1"], history=101)
        assert error["data"]["code"] == "bad_message"
        assert (await client.ask(type="subscribe", rooms=["circle:1"], history=100))["type"] == "subscribed"


@pytest.mark.parametrize("since", [None, "cursor"])
async def test_null_is_no_cursor(gate: RunningGateway, since: str | None) -> None:
    """`since: null` is as good as none."""
    cursor = await gate.publish(circle_id=1)
    async with gate.client() as client:
        value = cursor if since else None
        answer = await client.ask(type="subscribe", rooms=["circle:1"], since=value)
        assert answer["data"]["recovered"] is (True if since else None)
