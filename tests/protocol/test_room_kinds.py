"""Room kinds that the configuration names: everything that a circle has, a team has."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auth.errors import RoomInvalid
from auth.grants import Grants
from gateway import Event, EventBus, setup_websocket_broadcasting
from gateway.server.demo import demo_traffic
from gateway.server.development import banner
from gateway.service.config import ConfigError, load_settings
from gateway.service.factory import create_service
from schemas.rooms import DEFAULT_KINDS, RoomKinds
from tests.support.clients import assert_problem, http, until_fence
from tests.support.commands import invoke
from tests.support.inprocess import RunningGateway, running
from tests.support.settings import SECRET, settings_for

KINDS = ("team", "board", "circle")
ROOMS = ("team:*", "board:3", "tenant")


@pytest.fixture
async def gate() -> AsyncIterator[RunningGateway]:
    async with running(settings_for(room_kinds=KINDS)) as gate:
        yield gate


# ---- publishing


async def test_each_way_of_publishing_routes_by_each_kind(gate: RunningGateway) -> None:
    """HTTP, a batch, the command, code of this process and a bus; the id stands in the frame."""
    token = gate.token(rooms=ROOMS)
    event = {"type": "task.created", "data": {}, "team_id": 7, "board_id": "3"}
    async with gate.client(token, "&rooms=team:7,board:3") as client, http(gate, token) as api:
        await client.next("subscribed")
        answer = await api.post("/events", json=event)
        assert answer.json()["rooms"] == ["team:7", "board:3", "tenant"]
        (result,) = (await api.post("/events/batch", json={"events": [event]})).json()["results"]
        assert result["rooms"] == ["team:7", "board:3", "tenant"]
        async with gate.client(token) as publisher:
            assert (await publisher.ask(type="publish", event=event))["type"] == "published"
        await gate.service.gateway.publish("acme", "task.created", {}, team_id=7, board_id="3")
        bus = EventBus()
        setup_websocket_broadcasting(["task.created"], bus=bus, gateway=gate.service.gateway, tenant="acme")
        await bus.publish(TeamEvent("task.created", team_id=7, board_id="3"))
        frames = [frame for frame in await until_fence(client) if "event_id" in frame]
    assert len({frame["event_id"] for frame in frames}) == 5
    assert {(frame["team_id"], frame["board_id"]) for frame in frames} == {(7, "3")}


@dataclass
class TeamEvent(Event):
    """An event of the bus with the ids of these kinds."""

    team_id: int | None = None
    board_id: str | None = None


async def test_a_number_and_its_text_are_one_id(gate: RunningGateway) -> None:
    """7 and "7" name one room; 07 is another."""
    async with gate.client(gate.token(rooms=ROOMS), "&rooms=team:7") as client:
        await client.next("subscribed")
        for id in (7, "7", "07"):
            await gate.service.gateway.publish("acme", "task.created", {}, team_id=id)
        assert [frame["team_id"] for frame in await until_fence(client)] == [7, "7"]


async def test_an_id_of_no_kind_is_refused(gate: RunningGateway) -> None:
    """A kind of another gateway is unknown too: nothing is routed by it."""
    event = {"type": "task.created", "data": {}, "project_id": 1}
    async with http(gate, gate.token(rooms=ROOMS)) as api:
        assert "project_id" in assert_problem(await api.post("/events", json=event), 422, "bad_message")["detail"]
    async with gate.client(gate.token(rooms=ROOMS)) as client:
        refused = await client.ask(type="publish", event=event)
        assert (refused["data"]["code"], "project_id" in refused["data"]["message"]) == ("bad_message", True)
    with pytest.raises(TypeError, match="project_id: no such kind of room; the kinds here are team, board"):
        await gate.service.gateway.publish("acme", "task.created", {}, project_id=1)


@pytest.mark.parametrize("id", ["a b", "", "*", -1, 10**64, "x" * 65, "é", True, 1.5, [1], b"7"])
async def test_an_id_that_cannot_stand_in_a_name_is_refused(gate: RunningGateway, id: Any) -> None:
    """Each kind has the one grammar."""
    with pytest.raises(ValueError, match="team_id"):
        await gate.service.gateway.publish("acme", "task.created", {}, team_id=id)
    if isinstance(id, str | int) and not isinstance(id, bool):
        async with http(gate, gate.token(rooms=ROOMS)) as api:
            answer = await api.post("/events", json={"type": "task.created", "data": {}, "team_id": id})
            assert "team:<id>" in assert_problem(answer, 422, "room_invalid")["detail"]


async def test_publishing_takes_a_grant_of_each_room_named(gate: RunningGateway) -> None:
    """The rule holds for any kind."""
    async with http(gate, gate.token(rooms=["team:7"])) as api:
        for ids, rooms in (({"team_id": 7}, None), ({"team_id": 7, "board_id": 3}, ["board:3"])):
            answer = await api.post("/events", json={"type": "task.created", "data": {}, **ids})
            assert answer.json()["rooms"] == (rooms or ["team:7", "tenant"])
            assert answer.status_code == (202 if rooms is None else 403)


# ---- following


async def test_rooms_of_each_kind_are_followed_by_grant(gate: RunningGateway) -> None:
    """By name and by pattern, at connect and by command; `*` for those that are named outright."""
    token = gate.token(rooms=ROOMS)
    async with gate.client(token, "&rooms=*") as client:
        assert (await client.next("subscribed"))["data"]["rooms"] == ["board:3", "tenant"]
        assert (await client.ask(type="subscribe", rooms=["team:9"]))["type"] == "subscribed"
        assert (await client.ask(type="presence", room="team:9"))["data"]["connections"] == 1
        refused = await client.ask(type="subscribe", rooms=["board:4"])
        assert (refused["data"]["code"], refused["data"]["rooms"]) == ("room_forbidden", ["board:4"])
        assert (await client.ask(type="unsubscribe", rooms=["team:9"]))["type"] == "unsubscribed"


async def test_a_room_of_an_unknown_kind_is_invalid(gate: RunningGateway) -> None:
    """The answer names the kinds that there are."""
    async with gate.client(gate.token(rooms=ROOMS)) as client, http(gate, gate.token(rooms=ROOMS)) as api:
        for command in ("subscribe", "unsubscribe"):
            refused = (await client.ask(type=command, rooms=["project:1", "team:1"]))["data"]
            assert (refused["code"], refused["rooms"]) == ("room_invalid", ["project:1"])
            assert "team:<id>, board:<id>, circle:<id>, user:<sub> or tenant" in refused["message"]
        refused = (await client.ask(type="presence", room="teams:1"))["data"]
        assert (refused["code"], refused["rooms"]) == ("room_invalid", ["teams:1"])
        assert_problem(await api.get("/rooms/project:1/presence"), 422, "room_invalid")
        assert (await api.get("/rooms/team:1/presence")).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
async def test_a_removal_takes_the_room_of_each_kind(gate: RunningGateway, kind: str) -> None:
    """The removed user gets it and then nothing; and it takes `admin` from outside."""
    event: dict[str, Any] = {"type": f"{kind}.member.removed", "data": {"user_id": "ada"}, f"{kind}_id": 3}
    token = gate.token(rooms=[f"{kind}:*"])
    async with gate.client(token, f"&rooms={kind}:3") as client, http(gate, token) as api:
        await client.next("subscribed")
        assert_problem(await api.post("/events", json=event), 403, "scope_missing")
        api.headers["Authorization"] = f"Bearer {gate.token('root', rooms=[], scope='admin')}"
        assert (await api.post("/events", json=event)).status_code == 202
        await client.next(event["type"])
        revoked = await client.next("subscription.revoked")
        assert revoked["data"] == {"rooms": [f"{kind}:3"], "reason": event["type"]}
        assert (await client.ask(type="subscribe", rooms=[f"{kind}:3"]))["data"]["code"] == "room_forbidden"
        assert (await client.ask(type="subscribe", rooms=[f"{kind}:4"]))["type"] == "subscribed"


@pytest.mark.parametrize("type", ["user.member.removed", "project.member.removed", "tenant.member.removed"])
async def test_a_removal_from_no_room_takes_none(gate: RunningGateway, type: str) -> None:
    """The kind is not configured, or has no members."""
    async with gate.client(gate.token(rooms=["user:*", *ROOMS]), "&rooms=user:bob,tenant,team:1") as client:
        await client.next("subscribed")
        await gate.service.gateway.publish("acme", type, {"user_id": "ada"}, user_id="bob", team_id=1)
        assert [frame["type"] for frame in await until_fence(client)] == [type]


# ---- tokens


async def test_administrators_issue_what_the_kinds_are(gate: RunningGateway) -> None:
    """Patterns of these kinds, and of no others."""
    holder = gate.token("root", rooms=["team:*"], scope="admin subscribe")
    async with http(gate, holder) as api:
        answer = await api.post("/admin/tokens", json={"user_id": "bob", "rooms": ["team:7"]})
        assert answer.json()["rooms"] == ["team:7"]
        answer = await api.post("/admin/tokens", json={"user_id": "bob", "rooms": ["board:3"]})
        assert_problem(answer, 403, "room_forbidden")
        answer = await api.post("/admin/tokens", json={"user_id": "bob", "rooms": ["project:1"]})
        assert "team:<id>" in assert_problem(answer, 422, "room_invalid")["detail"]


async def test_a_token_of_other_kinds_is_not_taken(gate: RunningGateway) -> None:
    """The token has grants that this gateway cannot read."""
    elsewhere = RunningGateway(create_service(settings_for()), gate.port).token(rooms=["project:1"])
    async with http(gate, elsewhere) as api:
        assert_problem(await api.get("/rooms/team:1/presence"), 401, "token_invalid")


# ---- two gateways, one process


async def test_two_gateways_of_one_process_have_each_their_own_kinds(gate: RunningGateway) -> None:
    """An event that one accepts, the other refuses."""
    async with running(settings_for()) as other:
        await gate.service.gateway.publish("acme", "task.created", {}, team_id=1)
        await other.service.gateway.publish("acme", "task.created", {}, project_id=1)
        with pytest.raises(TypeError):
            await gate.service.gateway.publish("acme", "task.created", {}, project_id=1)
        with pytest.raises(TypeError):
            await other.service.gateway.publish("acme", "task.created", {}, team_id=1)
        for at, fields in ((gate, {"team_id", "board_id", "circle_id"}), (other, {"circle_id", "project_id"})):
            async with http(at) as api:
                schemas = (await api.get("/openapi.json")).json()["components"]["schemas"]
                known = {"type", "version", "data", "source_agent_id", "user_id", "tenant", "traceparent"}
                known |= {"idempotency_key", "key", "op"}
                assert schemas["PublishedEvent"]["properties"].keys() - known == fields
    assert Grants.parse(["team:1"], RoomKinds(KINDS)).allows("team:1")
    with pytest.raises(RoomInvalid):
        Grants.parse(["team:1"])


# ---- the setting


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("circle,user", "user cannot name a kind"),
        ("tenant", "tenant cannot name a kind"),
        ("event", "event cannot name a kind"),  # its id is every event's cursor
        ("Circle", "'Circle' cannot name a kind"),
        ("a_b", "'a_b' cannot name a kind"),
        ("1a", "'1a' cannot name a kind"),
        ("x" * 33, "at most 32"),
        ("circle,circle", "twice"),
        (",", "name one at least"),
    ],
)
def test_invalid_kinds_are_refused_by_name(value: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ROOM_KINDS", value)
    with pytest.raises(ConfigError, match=f"^GATEWAY_ROOM_KINDS: .*{reason}"):
        load_settings(_env_file=None)


def test_kinds_are_a_list_and_an_empty_one_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ROOM_KINDS", " team, board")
    assert load_settings(_env_file=None).room_kinds == ("team", "board")
    monkeypatch.setenv("GATEWAY_ROOM_KINDS", "")
    assert load_settings(_env_file=None).room_kinds == DEFAULT_KINDS.names


async def test_routes_that_are_remembered_are_bounded() -> None:
    """However many rooms there are."""
    kinds = RoomKinds(KINDS)
    for n in range(10_000):
        kinds.route(None, n, None, None)
        kinds.route_of(None, {"team_id": n})
    assert kinds.route.cache_info().currsize <= 4_096
    assert kinds.route(None, 1, None, "x").rooms == ("team:1", "circle:x", "tenant")


# ---- the command line and development mode


async def test_publish_names_ids_of_any_kind(gate: RunningGateway, tmp_path: Path) -> None:
    """`--id team=7`, as often as there are kinds."""
    env = {"GATEWAY_URL": gate.url, "GATEWAY_TOKEN": gate.token(rooms=ROOMS, scope="admin")}
    command = ("publish", "--type", "task.created", "--id", "team=7", "--id", "board=x", "--circle", "5")
    async with gate.client(gate.token(rooms=ROOMS), "&rooms=team:7") as client:
        await client.next("subscribed")
        done = await asyncio.to_thread(invoke, *command, cwd=tmp_path, env=env)
        assert done.exit_code == 0, done.output
        frame = await client.next("task.created")
        assert (frame["team_id"], frame["board_id"], frame["circle_id"]) == (7, "x", 5)


@pytest.mark.parametrize("options", [["--id", "team"], ["--id", "=7"], ["--id", "a=1", "--id", "a=2"]])
def test_publish_says_how_an_id_is_written(options: list[str], tmp_path: Path) -> None:
    done = invoke("publish", "--type", "x", *options, cwd=tmp_path, env={"GATEWAY_TOKEN": "x"})
    assert done.exit_code == 2
    assert done.output.startswith("gateway: --id: ")


def test_tokens_of_the_command_line_have_the_configured_kinds(tmp_path: Path) -> None:
    env = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_ROOM_KINDS": "team"}
    command = ("token", "--user", "ada", "--tenant", "acme", "--room")
    token = invoke(*command, "team:7", cwd=tmp_path, env=env).output.strip()
    assert "accepted" in invoke("token", "inspect", token, cwd=tmp_path, env=env).output
    refused = invoke(*command, "circle:7", cwd=tmp_path, env=env)
    assert (refused.exit_code, "team:<id>" in refused.output) == (2, True)


async def test_development_mode_has_rooms_of_the_configured_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The banner's commands and the demo name what there is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".gateway-dev").mkdir()
    async with running(settings_for(room_kinds=("team",))) as gate:
        printed = banner(gate.service, "127.0.0.1", gate.port, demo=True)
        assert "gateway subscribe team:1" in printed
        assert "--id team=1" in printed
        assert json.dumps({"team_id": 1})[1:-1] in printed
        async with gate.client(gate.token(rooms=["team:*"]), "&rooms=team:1,team:2") as client:
            await client.next("subscribed")
            async with demo_traffic(gate.service, 0.01):
                assert (await client.next("agent.started"))["team_id"] in (1, 2)
