"""Authority that ends during an operation: no frame after it, and no effect on other clients."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from schemas.codes import CloseCode
from tests.security.attacked import attacked_gateway, gone
from tests.support.clients import Client
from tests.support.lab import GatewayLab
from tests.support.pauses import now
from tests.support.raw_client import ended_by_peer
from tests.support.transports import FakeTransport


@pytest.fixture
async def lab() -> AsyncIterator[GatewayLab]:
    """A gateway without sockets; at its end nothing is left."""
    lab = GatewayLab()
    yield lab
    await lab.settle()
    lab.nothing_left()


def issued(lab: GatewayLab, user_id: str, **more: Any) -> tuple[str, str]:
    """A token and its `jti`."""
    token = lab.issue(user_id, **more)
    return token.access_token, token.token_id


def ended(tape: FakeTransport, word: str) -> None:
    assert tape.ended == (4401, word)
    assert tape.late == 0, "something was written to a connection that had been closed"


async def test_revoked_before_connecting(lab: GatewayLab) -> None:
    """A valid token that is revoked: the close says so, without any frame before it."""
    token, jti = issued(lab, "ada")
    lab.revoke(jti)
    connection, tape = lab.connect(token, rooms="circle:7")
    assert connection is None
    ended(tape, "token_revoked")
    assert tape.frames == []


@pytest.mark.parametrize("by", ["jti", "user", "tenant"])
async def test_revoked_while_live(lab: GatewayLab, by: str) -> None:
    """Events of the very turn of the loop in which the token is revoked do not reach it, and do reach the others."""
    token, jti = issued(lab, "ada")
    _, tape = lab.join(token, rooms="circle:7")
    _, other = lab.join(lab.token("bob"), rooms="circle:7")
    _, foreign = lab.join(lab.token("ada", "globex"), rooms="circle:7")
    await lab.happen(said="before")
    await lab.settle()
    await lab.happen(said="in the same turn")
    assert lab.revoke(**{"jti": {"jti": jti}, "user": {"user": "ada"}, "tenant": {}}[by]) == (
        1 if by != "tenant" else 2
    )
    await lab.happen(said="after")
    await lab.settle()
    ended(tape, "token_revoked")
    assert [event["data"]["said"] for event in tape.events] == ["before"]
    assert foreign.ended is None
    if by != "tenant":
        assert [event["data"]["said"] for event in other.events] == ["before", "in the same turn", "after"]


@pytest.mark.parametrize("how", ["revoked", "expired", "closed by an admin"])
async def test_ended_while_replaying_to_a_slow_client(lab: GatewayLab, how: str) -> None:
    """A client that is owed a thousand events gets not one of them once its authority has ended."""
    await lab.happen(1000, filler="x" * 500)
    token, jti = issued(lab, "ada", expires_in=60)
    connection, tape = lab.join(token, capacity=3)
    lab.say(connection, type="subscribe", rooms=["circle:7"], history=100)
    await lab.settle()
    before = len(tape.frames)
    assert not connection.live
    assert before < 105
    if how == "revoked":
        lab.revoke(jti)
    elif how == "expired":
        lab.expire(61)
    else:
        lab.gateway.connections.close(connection, CloseCode.FORBIDDEN, "closed by an administrator")
    tape.capacity = None
    lab.gateway.on_writable(connection)
    await lab.settle()
    assert len(tape.frames) == before
    assert tape.late == 0
    assert tape.ended is not None
    assert connection.rooms == {}


async def test_revoked_between_two_parts_of_a_replay(lab: GatewayLab) -> None:
    """A replay goes out in parts, a turn of the loop between them; revoked between two, it stops there."""
    await lab.happen(400, filler="x" * 2000)
    first = lab.gateway.log.window("acme")
    since = first.cursors.encode(first.epoch, 0)
    token, jti = issued(lab, "ada")
    connection, tape = lab.join(token, rooms="circle:7", since=since)
    assert 0 < len(tape.events) < 400
    assert not connection.live
    lab.revoke(jti)
    before = len(tape.frames)
    await lab.settle()
    assert len(tape.frames) == before
    ended(tape, "token_revoked")


async def test_revoked_while_subscribing(lab: GatewayLab) -> None:
    """A subscribe that waits for the end of a replay is not carried out for who was sent away meanwhile."""
    await lab.happen(100, filler="x" * 2000)
    token, jti = issued(lab, "ada")
    connection, tape = lab.join(token, capacity=3)
    lab.say(connection, type="subscribe", rooms=["circle:7"], history=100)
    lab.say(connection, type="subscribe", rooms=["circle:8"])
    assert connection.pending_commands
    lab.revoke(jti)
    lab.say(connection, type="subscribe", rooms=["circle:9"])
    lab.gateway.on_writable(connection)
    await lab.settle()
    ended(tape, "token_revoked")
    assert connection.rooms == {}
    assert lab.gateway.manager.of("acme").rooms == {}


async def test_revoked_while_publishing(lab: GatewayLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under way when the token is revoked, the event is in the log or not; its publisher hears nothing more."""
    gate, append = asyncio.Event(), lab.gateway.log.append

    async def slow(*args: Any) -> Any:
        await gate.wait()
        return await append(*args)

    monkeypatch.setattr(lab.gateway.log, "append", slow)
    token, jti = issued(lab, "ada")
    connection, tape = lab.join(token, rooms="circle:7")
    _, other = lab.join(lab.token("bob"), rooms="circle:7")
    lab.say(connection, type="publish", event={"type": "task.created", "data": {}, "circle_id": 7}, id=1)
    await lab.settle()
    lab.revoke(jti)
    lab.say(connection, type="publish", event={"type": "task.failed", "data": {}, "circle_id": 7}, id=2)
    before = len(tape.frames)
    gate.set()
    await lab.settle()
    assert len(tape.frames) == before
    assert tape.ended == (4401, "token_revoked")
    assert [event["type"] for event in other.events] == ["task.created"]
    assert not lab.gateway.tasks


async def test_client_leaves_while_its_publish_is_under_way(lab: GatewayLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event is appended and reaches the others; nothing fails and nothing is left of the one who left."""
    gate, append = asyncio.Event(), lab.gateway.log.append

    async def slow(*args: Any) -> Any:
        await gate.wait()
        return await append(*args)

    monkeypatch.setattr(lab.gateway.log, "append", slow)
    connection, tape = lab.join(rooms="circle:7")
    _, other = lab.join(lab.token("bob"), rooms="circle:7")
    for n in range(5):
        lab.say(connection, type="publish", event={"type": "task.created", "data": {"n": n}, "circle_id": 7})
    await lab.settle()
    tape.abort()
    lab.gateway.on_transport_closed(connection)
    lab.gateway.on_transport_closed(connection)
    gate.set()
    await lab.settle()
    assert [event["data"]["n"] for event in other.events] == [0, 1, 2, 3, 4]
    assert tape.events == []


@pytest.mark.parametrize("seconds", [0, 1])
async def test_expired(lab: GatewayLab, seconds: int) -> None:
    """Expiry at `exp`: warned ahead, closed at the next check, nothing after; a client that refreshed in time stays."""
    connection, tape = lab.join(lab.token(expires_in=100), rooms="circle:7")
    staying, kept = lab.join(lab.token(expires_in=100), rooms="circle:7")
    lab.expire(76)
    assert tape.kinds.count("token.expiring") == kept.kinds.count("token.expiring") == 1
    lab.say(staying, type="auth", token=lab.token(expires_in=100), id=1)
    lab.expire(24 + seconds)
    await lab.happen()
    await lab.settle()
    ended(tape, "token_expired")
    assert connection.rooms == {}
    assert tape.events == []
    assert len(kept.events) == 1
    lab.expire(100)
    ended(kept, "token_expired")


async def test_refresh_in_the_last_moment(lab: GatewayLab) -> None:
    """Between `exp` and the look that would close it, a fresh token still keeps the connection; later it does not."""
    connection, tape = lab.join(lab.token(expires_in=10))
    late, closed = lab.join(lab.token(expires_in=10))
    lab.now += 10
    lab.say(connection, type="auth", token=lab.token(), id=1)
    lab.gateway.housekeeping.sweep()
    assert tape.ended is None
    ended(closed, "token_expired")
    lab.say(late, type="auth", token=lab.token(), id=2)
    assert late not in lab.gateway.connections.expirations
    assert closed.late == 0


async def test_no_notice_of_the_end_before_the_first_frame(lab: GatewayLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that waits for its log is warned after its first frame, and closed when its token ends while it
    waits."""
    following: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(lab.gateway.log, "follow", lambda tenant, since: asyncio.shield(following))
    _, tape = lab.join(lab.token(expires_in=40))
    _, short = lab.join(lab.token("bob", expires_in=34))
    await lab.settle()
    lab.expire(35)
    assert tape.frames == short.frames == []
    ended(short, "token_expired")
    following.set_result(None)
    await lab.settle()
    lab.expire(2)
    assert tape.kinds == ["connection.established", "token.expiring"]


async def test_one_that_cannot_be_closed_keeps_no_other(lab: GatewayLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a transport fails as its connection expires, the others expire all the same."""
    tapes = [lab.join(lab.token(f"user-{n}", expires_in=10))[1] for n in range(3)]

    def broken(code: int, reason: str) -> None:
        raise RuntimeError("this transport is broken")

    monkeypatch.setattr(tapes[0], "close", broken)
    with pytest.raises(RuntimeError):
        lab.expire(10)
    lab.expire(1)  # the gateway's next look
    for tape in tapes[1:]:
        ended(tape, "token_expired")
    assert list(lab.gateway.manager.connections()) == []


async def test_refresh_and_revocation_cross(lab: GatewayLab) -> None:
    """The connection lives by its newest token: the old one's end is nothing to it, the new one's is its own."""
    old, old_jti = issued(lab, "ada")
    new, new_jti = issued(lab, "ada")
    connection, tape = lab.join(old)
    lab.say(connection, type="auth", token=new, id=1)
    assert lab.revoke(old_jti) == 0
    lab.say(connection, type="auth", token=old, id=2)
    assert tape.last("error")["data"]["code"] == "token_revoked"
    lab.say(connection, type="ping", id=3)
    assert tape.frames[-1]["id"] == 3
    assert lab.revoke(new_jti) == 1
    ended(tape, "token_revoked")
    lab.say(connection, type="auth", token=lab.token(), id=4)
    assert tape.late == 0


async def test_refresh_with_a_token_from_before_the_cutoff(lab: GatewayLab) -> None:
    """A user's revocation holds against every token from before it, also one that comes by `auth` later."""
    before = lab.token()
    lab.revoke(user="ada")
    after = lab.token()
    connection, tape = lab.join(after)
    lab.say(connection, type="auth", token=before, id=1)
    assert tape.last("error")["data"]["code"] == "token_revoked"
    assert lab.connect(before)[0] is None
    assert lab.revoke(user="ada") == 1
    ended(tape, "token_revoked")
    assert lab.connect(after)[0] is None


async def test_narrowed_while_replaying(lab: GatewayLab) -> None:
    """A refresh without a room ends what was still owed of it, and waiting joins are checked again."""
    await lab.happen(300, filler="x" * 2000)
    await lab.happen(5, circle=8)
    window = lab.gateway.log.window("acme")
    since = window.cursors.encode(window.epoch, 0)
    connection, tape = lab.join(lab.token(), rooms="circle:7,circle:8", since=since)
    lab.say(connection, type="subscribe", rooms=["project:1"], id="late")
    assert connection.pending_commands
    lab.say(connection, type="auth", token=lab.token(rooms=["circle:8"]), id=1)
    before = len([event for event in tape.events if event["circle_id"] == 7])
    assert before < 300
    await lab.settle()
    assert len([event for event in tape.events if event["circle_id"] == 7]) == before
    assert len([event for event in tape.events if event["circle_id"] == 8]) == 5
    refusal = next(frame for frame in tape.frames if frame.get("id") == "late")
    assert refusal["data"]["code"] == "room_forbidden"
    assert connection.rooms.keys() == {"user:ada", "circle:8"}


async def test_two_connections_of_a_user(lab: GatewayLab) -> None:
    """Revoking one token by its `jti` closes its connections only."""
    one, jti = issued(lab, "ada")
    _, first = lab.join(one, rooms="circle:7")
    _, twin = lab.join(one, rooms="circle:7")
    _, second = lab.join(lab.token(), rooms="circle:7")
    assert lab.revoke(jti) == 2
    await lab.happen()
    await lab.settle()
    ended(first, "token_revoked")
    ended(twin, "token_revoked")
    assert second.ended is None
    assert len(second.events) == 1


async def test_broken_transport_affects_no_other(lab: GatewayLab) -> None:
    """A client that goes in the middle of a delivery takes nothing from those after it."""
    connection, tape = lab.join(rooms="circle:7")
    _, other = lab.join(lab.token("bob"), rooms="circle:7")
    await lab.happen()
    tape.abort()
    lab.gateway.on_transport_closed(connection)
    await lab.settle()
    assert len(other.events) == 1


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_connections_per_user": 3}, 4409),
        ({"max_connections_per_address": 3}, 1013),
        ({"max_connections_per_tenant": 3}, 1013),
    ],
)
async def test_limits_under_simultaneous_connects(limits: dict[str, int], code: int) -> None:
    """Thirty at once for three places: three get in, the others get the reason; a freed place can be used again."""
    async with attacked_gateway(**limits) as attacked:
        token = attacked.gate.token()

        async def attempt() -> tuple[Any, str]:
            socket = await connect(f"{attacked.gate.ws_url}?token={token}", compression=None)
            frame = json.loads(await socket.recv())
            return socket, frame["type"]

        for _ in range(2):
            attempts = await asyncio.gather(*(attempt() for _ in range(30)))
            inside = [socket for socket, kind in attempts if kind == "connection.established"]
            outside = [socket for socket, kind in attempts if kind == "error"]
            assert (len(inside), len(outside)) == (3, 27)
            for socket in outside:
                assert (await Client(socket).closed())[0] == code
            for socket in inside:
                await socket.close()
            await gone(attacked.gate)
        assert attacked.watch.faults() == []


async def test_handshakes_under_simultaneous_connects() -> None:
    """More attempts a minute than an address may make are 4429, and count for no connection."""
    async with attacked_gateway(handshakes_per_minute=5) as attacked:
        token = attacked.gate.token()

        async def attempt() -> int | None:
            async with connect(f"{attacked.gate.ws_url}?token={token}", compression=None) as socket:
                frame = json.loads(await socket.recv())
                return None if frame["type"] == "connection.established" else (await Client(socket).closed())[0]

        codes = await asyncio.gather(*(attempt() for _ in range(20)))
        assert sorted(codes, key=str) == [4429] * 15 + [None] * 5
        await gone(attacked.gate)


@pytest.mark.timing
async def test_revoked_over_the_wire_while_reading_nothing() -> None:
    """A revoked client that does not read is gone from every index at once, and from the socket within 2 seconds."""
    async with attacked_gateway(events_per_second=0, log_max_bytes=64 * 1024 * 1024) as attacked:
        gate = attacked.gate
        admin = gate.token("root", scope="admin")
        async with gate.client(query="&rooms=circle:7", max_queue=1) as slow:
            async with gate.client(gate.token("bob"), query="&rooms=circle:7") as other:
                await other.next("subscribed")
                slow.websocket.transport.pause_reading()
                connection = attacked.connection(slow)
                for n in range(200):
                    await gate.service.gateway.publish("acme", "a", {"n": n, "x": "x" * 60_000}, circle_id=7)
                    await other.next("a")
                assert not connection.live
                started = now()
                answer = await attacked.http("POST", "/admin/tokens/revoke", {"user_id": "ada"}, token=admin)
                assert answer.json["disconnected"] == 1
                assert connection.rooms == {}
                await gate.service.gateway.publish("acme", "a", {"n": "after"}, circle_id=7)
                assert (await other.next("a"))["data"]["n"] == "after"
                await ended_by_peer(slow.websocket.transport.get_extra_info("socket"), 3)
                assert now() - started < 2.9
                slow.websocket.transport.resume_reading()
                seen = []
                with suppress(ConnectionClosed):
                    while True:
                        seen.append((await slow.next())["data"].get("n"))
                assert "after" not in seen
                assert 0 < len(seen) < 201
        await gone(gate)


async def test_storm(lab: GatewayLab) -> None:
    """Connecting, leaving, subscribing, publishing, refreshing and revoking all at once leaves nothing behind."""

    async def live(n: int) -> FakeTransport:
        user = f"user-{n % 7}"
        token, jti = issued(lab, user)
        connection, tape = lab.join(token, capacity=5 if n % 3 == 0 else None, rooms="circle:7")
        for step in range(10):
            lab.say(connection, type="subscribe", rooms=[f"project:{step}"], history=step)
            lab.say(
                connection, type="publish", event={"type": "a", "data": {"n": n}, "circle_id": 7, "project_id": step}
            )
            await asyncio.sleep(0)
            if step == n % 10:
                lab.say(connection, type="auth", token=lab.token(user))
            if n % 5 == 0 and step == 5:
                lab.revoke(jti)
            if n % 5 == 1 and step == 6:
                lab.gateway.on_transport_closed(connection)
                tape.abort()
            if n % 3 == 0:
                lab.gateway.on_writable(connection)
        return tape

    tapes = await asyncio.gather(*(live(n) for n in range(60)))
    lab.revoke()
    await lab.settle()
    for tape in tapes:
        assert tape.ended is not None
        ids = [event["event_id"] for event in tape.events]
        assert len(ids) == len(set(ids))
