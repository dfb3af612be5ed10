"""Credentials: where a token may be, and what its scopes and rooms allow."""

from typing import Any

from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.support.clients import Client, assert_problem, fence, http
from tests.support.inprocess import RunningGateway

EVENT = {"type": "task.completed", "data": {}, "circle_id": 1}


def subprotocols(*words: str) -> list[Subprotocol]:
    return [Subprotocol(word) for word in words]


async def established(gate: RunningGateway, query: str = "", **options: Any) -> tuple[dict[str, Any], str | None]:
    """The first frame, and the subprotocol that the server chose."""
    async with connect(f"{gate.ws_url}{query}", compression=None, **options) as websocket:
        return (await Client(websocket).next("connection.established"))["data"], websocket.subprotocol


async def refused(gate: RunningGateway, query: str = "", **options: Any) -> tuple[int, str]:
    """The code and reason with which the server closes a connection that it accepted but does not let in."""
    async with connect(f"{gate.ws_url}{query}", compression=None, **options) as websocket:
        return await Client(websocket).closed()


async def test_a_token_may_come_in_the_header(gate: RunningGateway) -> None:
    """`Authorization: Bearer`, the scheme in any case."""
    for scheme in ("Bearer", "bearer"):
        data, chosen = await established(gate, additional_headers={"Authorization": f"{scheme} {gate.token()}"})
        assert data["user_id"] == "ada"
        assert chosen is None


async def test_a_token_may_come_as_a_subprotocol_and_the_answer_does_not_show_it(gate: RunningGateway) -> None:
    """Browsers can set no header: `gateway.v1, gateway.bearer.<jwt>` is answered with `gateway.v1` alone."""
    offered = subprotocols("gateway.v1", f"gateway.bearer.{gate.token()}")
    for order in (offered, offered[::-1]):
        data, chosen = await established(gate, subprotocols=order)
        assert (data["user_id"], chosen) == ("ada", "gateway.v1")


async def test_a_token_may_come_in_the_query(gate: RunningGateway) -> None:
    """`?token=`; `gateway.v1` is answered here too where it is offered."""
    assert (await established(gate, f"?token={gate.token()}"))[1] is None
    query = f"?token={gate.token()}"
    assert (await established(gate, query, subprotocols=subprotocols("gateway.v1")))[1] == "gateway.v1"


async def test_a_subprotocol_that_is_not_ours_is_not_answered(gate: RunningGateway) -> None:
    """Answering with one that was not understood would promise what is not kept."""
    query = f"?token={gate.token()}"
    assert (await established(gate, query, subprotocols=subprotocols("graphql-ws")))[1] is None


async def test_one_token_in_every_place_is_one_token(gate: RunningGateway) -> None:
    """They need not be one, they must agree."""
    token = gate.token()
    data, _ = await established(
        gate,
        f"?token={token}",
        additional_headers={"Authorization": f"Bearer {token}"},
        subprotocols=subprotocols("gateway.v1", f"gateway.bearer.{token}"),
    )
    assert data["user_id"] == "ada"


async def test_two_tokens_that_disagree_are_refused_wherever_they_are(gate: RunningGateway) -> None:
    """Both good, of two users: a proxy that reads one and a gateway that reads the other would be a hole."""
    one, other = gate.token("ada"), gate.token("bob")
    header = {"Authorization": f"Bearer {one}"}
    bearer = subprotocols("gateway.v1", f"gateway.bearer.{other}")
    refusal = (4401, "token_invalid")
    assert await refused(gate, f"?token={other}", additional_headers=header) == refusal
    assert await refused(gate, additional_headers=header, subprotocols=bearer) == refusal
    assert await refused(gate, f"?token={one}", subprotocols=bearer) == refusal
    assert await refused(gate, f"?token={one}&token={other}") == refusal
    async with http(gate, one) as api:
        assert_problem(await api.post("/events", params={"token": other}, json=EVENT), 401, "token_invalid")


async def test_http_takes_a_token_in_header_and_query(gate: RunningGateway) -> None:
    """The same places as at the WebSocket, as far as HTTP has them."""
    async with http(gate) as api:
        assert (await api.post("/events", params={"token": gate.token()}, json=EVENT)).status_code == 202
        headers = {"Authorization": f"Bearer {gate.token()}"}
        assert (await api.post("/events", headers=headers, json=EVENT)).status_code == 202


async def test_no_token_is_token_missing(gate: RunningGateway) -> None:
    """Accepted, so that a browser can read it, and then closed with the reason."""
    for query in ("", "?token=", "?Token=x", "?client_id=me"):
        assert await refused(gate, query) == (4401, "token_missing"), query


async def test_another_authentication_scheme_is_no_token(gate: RunningGateway) -> None:
    """Basic credentials are not tried as a token."""
    async with http(gate) as api:
        response = await api.post("/events", auth=("ada", "secret"), json=EVENT)
    assert_problem(response, 401, "token_missing")


async def test_a_bad_an_expired_and_a_revoked_token_have_different_codes(gate: RunningGateway) -> None:
    """By the reason of the close and the code of the problem, and by nothing more."""
    good = gate.token("carl")
    expired = gate.token(now=gate.service.gateway.clock() - 700, expires_in=600)
    await gate.service.gateway.administration.revoke_user("acme", "carl")
    cases = {"token_invalid": good[:-4] + "AAAA", "token_expired": expired, "token_revoked": good}
    for reason, token in cases.items():
        assert await refused(gate, f"?token={token}") == (4401, reason)
        async with http(gate, token) as api:
            assert_problem(await api.post("/events", json=EVENT), 401, reason)


async def test_a_token_of_another_tenant_sees_nothing_of_this_one(gate: RunningGateway) -> None:
    """The tenant comes from the token alone; no parameter or header moves it."""
    async with gate.client(gate.token(tenant="globex"), "&tenant=acme", additional_headers={"X-Tenant": "acme"}) as c:
        assert c.established["data"]["tenant"] == "globex"
        await c.ask(type="subscribe", rooms=["tenant"])
        await gate.publish("acme", circle_id=1)
        await fence(c)


# ---- scopes


async def test_without_subscribe_only_the_own_room_can_be_followed(gate: RunningGateway) -> None:
    """Anyone with a good token may connect and hears its own room, whatever rooms the token names."""
    async with gate.client(gate.token(scope="publish")) as client:
        for rooms in (["circle:1"], ["tenant"], ["user:ada", "circle:1"]):
            assert (await client.ask(type="subscribe", rooms=rooms))["data"]["code"] == "scope_missing"
        assert (await client.ask(type="subscribe", rooms=["user:ada"]))["type"] == "subscribed"
        await gate.publish(circle_id=1)
        await gate.publish(user_id="ada")
        assert (await client.next())["user_id"] == "ada"


GRANTS = [
    ("circle:1", "circle:1", True),
    ("circle:1", "circle:10", False),
    ("circle:1", "project:1", False),
    ("circle:*", "circle:anything", True),
    ("circle:*", "project:1", False),
    ("circle:*", "tenant", False),
    ("project:*", "project:5", True),
    ("tenant", "tenant", True),
    ("tenant", "circle:1", False),
    ("user:*", "user:bob", True),
    ("circle:*", "user:bob", False),
]


async def test_a_room_is_granted_by_its_name_or_its_kind(gate: RunningGateway) -> None:
    """`circle:*` is every circle and nothing else; `tenant` grants no circle."""
    for granted, room, allowed in GRANTS:
        async with gate.client(gate.token(rooms=[granted])) as client:
            answer = await client.ask(type="subscribe", rooms=[room])
            if allowed:
                assert answer["type"] == "subscribed", (granted, room)
            else:
                assert (answer["data"].get("code"), answer["data"]["rooms"]) == ("room_forbidden", [room])


PUBLISHING: list[tuple[str, list[str], dict[str, Any], str | None]] = [
    ("publish", ["circle:1"], {"circle_id": 1}, None),
    ("publish", ["circle:1"], {"circle_id": 2}, "room_forbidden"),
    ("publish", ["circle:1"], {"circle_id": 1, "project_id": 5}, "room_forbidden"),
    ("publish", ["circle:1", "project:5"], {"circle_id": 1, "project_id": 5}, None),
    ("publish", ["circle:1"], {}, "room_forbidden"),
    ("publish", ["tenant"], {}, None),
    ("publish", [], {"user_id": "ada"}, None),
    ("publish", ["circle:1"], {"circle_id": 1, "user_id": "bob"}, "room_forbidden"),
    ("subscribe", ["circle:1"], {"circle_id": 1}, "scope_missing"),
    ("", ["circle:1"], {"circle_id": 1}, "scope_missing"),
    ("admin", [], {"circle_id": 9, "user_id": "bob"}, None),
    ("admin", [], {"tenant": "globex"}, "scope_missing"),
    ("publish", ["tenant"], {"tenant": "acme"}, None),
    ("publish", ["tenant"], {"tenant": "globex"}, "scope_missing"),
    ("platform", [], {"tenant": "globex", "circle_id": 9}, None),
    ("platform", [], {"circle_id": 9}, None),
]


async def test_publishing_by_scope_and_rooms(gate: RunningGateway) -> None:
    """`publish` into rooms that are all granted, `admin` anywhere in its tenant, `platform` anywhere: over HTTP and
    over the WebSocket alike."""
    for case in PUBLISHING:
        scope, rooms, fields, refusal = case
        event = {"type": "task.completed", "data": {}, **fields}
        token = gate.token(scope=scope, rooms=rooms)
        async with http(gate, token) as api, gate.client(token) as client:
            over_http = await api.post("/events", json=event)
            over_socket = await client.ask(type="publish", event=event)
        if refusal is None:
            assert over_http.status_code == 202, case
            assert over_socket["type"] == "published", case
        else:
            assert_problem(over_http, 403, refusal)
            assert over_socket["data"]["code"] == refusal, case


async def test_platform_publishes_into_the_tenant_that_it_names(gate: RunningGateway) -> None:
    """There the event is, and in its own tenant it is not."""
    async with (
        gate.client(query="&rooms=tenant") as ours,
        gate.client(gate.token(tenant="globex"), "&rooms=tenant") as theirs,
        http(gate, gate.token(scope="platform")) as api,
    ):
        await ours.next("subscribed")
        await theirs.next("subscribed")
        answer = await api.post("/events", json={"type": "system.warning", "data": {}, "tenant": "globex"})
        assert (await theirs.next("system.warning"))["event_id"] == answer.json()["event_id"]
        await fence(ours)
