"""Tenant isolation: nothing about tenant A reaches a connection of tenant B, with any names of tenants and rooms."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.rooms import DEFAULT_KINDS, ID_PATTERN, SUBJECT_PATTERN
from tests.support.lab import GatewayLab
from tests.support.transports import FakeTransport

LOOK_ALIKE = [
    "a",
    "A",
    "b",
    "ab",
    "a_b",
    "a-b",
    "a__b",
    "a_b_c",
    "b_c",
    "c",
    "0",
    "00",
    "1",
    "tenant",
    "user",
    "circle",
    "None",
]
ids = st.sampled_from(LOOK_ALIKE) | st.from_regex(ID_PATTERN, fullmatch=True)
subjects = st.sampled_from(
    [*LOOK_ALIKE, "a|b", "a@b", "a.b", "a+b", "b|c", "a_b|c", "a|b_c", "1|a", "circle-1"]
) | st.from_regex(SUBJECT_PATTERN, fullmatch=True)


FAMILIES = [
    ["a", "A"], ["a_b", "a-b", "ab"], ["a", "aa", "a_a"], ["0", "00", "O"], ["tenant", "user"], ["circle", "project"],
    ["a_b", "a"], ["None", "null", "none"], ["a1", "a", "a-1"],
]  # fmt: skip
"""Tenants that one careless key, prefix or change of case would make one."""


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[str], list[tuple[int, str, list[str]]], list[dict[str, Any]]]:
    """Tenants; clients with their tenant, name and rooms; and events with whose they are, where they go and how."""
    tenants = draw(st.sampled_from(FAMILIES) | st.lists(ids, min_size=2, max_size=4, unique=True))
    names = draw(st.lists(subjects, min_size=1, max_size=3, unique=True))
    spots = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
    which, who, where = st.integers(0, len(tenants) - 1), st.sampled_from(names), st.sampled_from(spots)
    room = st.one_of(
        st.builds("circle:{}".format, where),
        st.builds("project:{}".format, where),
        st.builds("user:{}".format, who),
        st.just("tenant"),
    )
    rooms = st.lists(room, max_size=4, unique=True) | st.just(["tenant"])
    clients = draw(st.lists(st.tuples(which, who, rooms), min_size=2, max_size=8))
    event = st.fixed_dictionaries(
        {
            "tenant": which,
            "circle_id": st.none() | where,
            "project_id": st.none() | where,
            "user_id": st.none() | who,
            "key": st.none() | where,
            "way": st.sampled_from(["code", "client", "platform"]),
        }
    )
    return tenants, clients, draw(st.lists(event, min_size=1, max_size=12))


EVERYWHERE = ["circle:*", "project:*", "user:*", "tenant"]


async def live(tenants: list[str], clients: list[tuple[int, str, list[str]]], events: list[dict[str, Any]]) -> None:
    lab = GatewayLab()
    tapes: list[FakeTransport] = []
    for tenant, name, rooms in clients:
        token = lab.token(name, tenants[tenant], EVERYWHERE)
        connection, tape = lab.join(token)
        if rooms:
            lab.say(connection, type="subscribe", rooms=rooms, id="rooms")
            assert tape.frames[-1]["type"] == "subscribed"
        tapes.append(tape)
    publishers = {tenant: lab.join(lab.token("publisher-of-it", tenant, EVERYWHERE))[0] for tenant in tenants}
    elsewhere, _ = lab.join(lab.token("publisher-of-all", "elsewhere-entirely", EVERYWHERE, "subscribe platform"))
    expected: list[tuple[int, int, tuple[str, ...]]] = []
    keys: dict[tuple[int, str], Any] = {}
    for n, event in enumerate(events):
        tenant, way, key = event["tenant"], event["way"], event["key"]
        route = {name: event[name] for name in ("circle_id", "project_id", "user_id") if event[name] is not None}
        if key is not None:
            if (tenant, key) in keys:
                continue
            keys[tenant, key] = n
        data = {"owner": tenant, "n": n}
        if way == "code":
            await lab.gateway.publish(tenants[tenant], "task.created", data, key=key, **route)
        else:
            body = {"type": "task.created", "data": data, **route, **({"idempotency_key": key} if key else {})}
            if way == "client":
                lab.say(publishers[tenants[tenant]], type="publish", event=body)
            else:
                lab.say(elsewhere, type="publish", event={**body, "tenant": tenants[tenant]})
            await lab.settle()
        reached = DEFAULT_KINDS.route(event["user_id"], event["circle_id"], event["project_id"]).rooms
        expected.append((tenant, n, reached))
    await lab.settle()
    for (tenant, name, joined), tape in zip(clients, tapes, strict=True):
        following = {f"user:{name}", *joined}
        assert [(event["data"]["owner"], event["data"]["n"]) for event in tape.events] == [
            (owner, n) for owner, n, rooms in expected if owner == tenant and following.intersection(rooms)
        ]
        own = {event["event_id"] for event in tape.events}
        others = {
            event["event_id"]
            for other, seen in zip(clients, tapes, strict=True)
            if other[0] != tenant
            for event in seen.events
        }
        assert own.isdisjoint(others)
    foreign_cursors(lab, tenants, clients, tapes)
    revocation(lab, tenants, clients, tapes)
    await lab.settle()
    lab.nothing_left()


def foreign_cursors(lab: GatewayLab, tenants: list[str], clients: list[Any], tapes: list[FakeTransport]) -> None:
    """A cursor of one tenant is invalid for another."""
    for tenant, name, _ in clients[:3]:
        for (other, *_), seen in zip(clients, tapes, strict=True):
            for event in seen.events[:1]:
                connection, tape = lab.join(lab.token(name, tenants[tenant], EVERYWHERE), since=event["event_id"])
                codes = [frame["data"]["code"] for frame in tape.frames if frame["type"] == "error"]
                assert codes == ([] if other == tenant else ["cursor_invalid"])
                assert other == tenant or tape.events == []
                lab.gateway.on_transport_closed(connection)


def revocation(lab: GatewayLab, tenants: list[str], clients: list[Any], tapes: list[FakeTransport]) -> None:
    """Revoking the first client's user ends that user of that tenant and no other."""
    tenant, name, _ = clients[0]
    lab.revoke(user=name, tenant=tenants[tenant])
    for (whose, who, _), tape in zip(clients, tapes, strict=True):
        assert (tape.ended is not None) == ((whose, who) == (tenant, name))


@given(world=worlds())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_tenants_never_meet(world: tuple[list[str], list[tuple[int, str, list[str]]], list[dict[str, Any]]]) -> None:
    """Each client gets exactly its own tenant's events of its rooms, once, in order."""
    asyncio.run(live(*world))


@pytest.mark.parametrize("family", FAMILIES, ids="/".join)
def test_look_alikes_never_meet(family: list[str]) -> None:
    """The same, for tenants that look alike with users and rooms of one name, everybody following everything."""
    clients = [(tenant, "n", ["tenant", "circle:1", "project:1"]) for tenant in range(len(family)) for _ in range(2)]
    routes: list[dict[str, Any]] = [{}, {"circle_id": "1"}, {"project_id": "1"}, {"user_id": "n"}]
    nowhere = {"circle_id": None, "project_id": None, "user_id": None, "key": None}
    events = [
        {**nowhere, **route, "tenant": tenant, "way": way}
        for tenant in range(len(family))
        for route in routes
        for way in ("code", "client", "platform")
    ]
    asyncio.run(live(family, clients, events))
