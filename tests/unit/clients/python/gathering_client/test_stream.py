"""The state machine of a subscription: places, gaps, tokens, closes."""

import json
from typing import Any

import pytest

from gathering_client.codes import CLOSE_RULES, Retry
from gathering_client.errors import Closed, GatewayError, Refused, RoomsRevoked, TokenRefused, Unreachable
from gathering_client.events import Gap, Mark, Snapshot
from gathering_client.stream import RELOAD_SPREAD
from tests.unit.clients.python.gathering_client.driver import (
    ScriptedDriver,
    control_frame,
    established,
    event_frame,
    subscribed,
)


def mark(cursor: str, as_of: str = "2026-01-15T10:30:00Z") -> dict[str, Any]:
    return control_frame("stream.mark", cursor=cursor, as_of=as_of)


def error(code: str, id: str | None = None, **more: Any) -> dict[str, Any]:
    return control_frame("error", id, code=code, message="why", **more)


# ---- places


def test_it_resumes_from_the_last_event() -> None:
    """Before the first one, from the cursor of the first connection; and no token stands in a URL."""
    driver = ScriptedDriver(client_id="label")
    driver.receive(established("evt_0"))
    assert driver.opened == ["ws://gateway/ws?rooms=circle:1&client_id=label"]
    driver.close()
    assert driver.query == "client_id=label&since=evt_0"
    driver.begin(subscribed(True, 2), event_frame(1), event_frame(2))
    driver.close()
    assert driver.query == "client_id=label&since=evt_2"
    assert driver.numbers == [1, 2]
    assert driver.cursors == ["evt_1", "evt_2"]
    assert driver.tokens == ["token-0"] * 3


def test_it_resumes_amid_a_replay_from_the_last_event() -> None:
    """Not from the head that the reply named."""
    driver = ScriptedDriver(since="evt_0")
    driver.begin(subscribed(True, 3, "evt_9"), event_frame(1))
    driver.close()
    assert driver.query == "since=evt_1"


@pytest.mark.parametrize(
    "frame",
    [
        subscribed(True, 0, "evt_7"),
        mark("evt_7"),
        control_frame("pong", cursor="evt_7"),
        control_frame("server.draining", reconnect_after_ms=10, cursor="evt_7"),
    ],
    ids=lambda frame: frame["type"],
)
def test_the_place_of_a_quiet_room_moves_on(frame: dict[str, Any]) -> None:
    """By whatever says that nothing up to there is owed."""
    driver = ScriptedDriver(since="evt_0")
    driver.receive(established(), *([] if frame["type"] == "subscribed" else [subscribed(True, 1)]), frame)
    assert driver.stream.cursor == "evt_7"
    driver.close()
    assert driver.query == "since=evt_7"


def test_a_pong_of_a_connection_that_is_behind_has_no_cursor() -> None:
    driver = ScriptedDriver(since="evt_0")
    driver.begin(subscribed(True, 2, "evt_9"), event_frame(1), control_frame("pong", as_of="2026-01-15T10:30:00Z"))
    driver.close()
    assert driver.query == "since=evt_1"


def test_the_events_of_the_users_own_room_move_the_place_and_are_not_yielded() -> None:
    """Every connection receives them, asked or not."""
    driver = ScriptedDriver()
    private = event_frame(1, user_id="ada")
    del private["circle_id"]
    driver.begin(subscribed(), private, event_frame(2))
    assert driver.numbers == [2]
    asked = ScriptedDriver("user:ada")
    asked.begin(subscribed(), private)
    assert asked.numbers == [1]
    everything = ScriptedDriver("*")
    everything.begin(subscribed(), private)
    assert everything.numbers == [1]


@pytest.mark.parametrize("ends", ["count", "mark"])
def test_state_is_requested_again_until_anything_has_come(ends: str) -> None:
    """Then from the last item on, which stands in log order; and always with the state."""
    driver = ScriptedDriver(state=True, marks=True)
    driver.receive(established("evt_9"), subscribed(None, 0, "evt_9", items=2, complete=True))
    driver.close()
    assert driver.query == "state=1"
    driver.receive(established("evt_9"), subscribed(None, 0, "evt_9", items=2, complete=True), event_frame(3, key="k"))
    driver.close()
    assert driver.query == "since=evt_3&state=1"
    last = event_frame(5, key="l") if ends == "count" else mark("evt_9")
    driver.begin(subscribed(True, 0, "evt_9", items=1, complete=True), last)
    assert isinstance(driver.yielded[-1], Mark)
    driver.close()
    assert driver.query == f"since={'evt_5' if ends == 'count' else 'evt_9'}&state=1"


def test_history_is_asked_for_by_a_command_until_anything_has_come() -> None:
    """In a connection that follows nothing else; what the user's own room brings meanwhile comes after it."""
    driver = ScriptedDriver("circle:1", "user:ada", history=5)
    driver.receive(established("evt_7"))
    assert driver.opened[-1] == "ws://gateway/ws?"
    assert driver.sent == [{"type": "subscribe", "id": "history", "rooms": ["circle:1", "user:ada"], "history": 5}]
    driver.close()
    assert driver.opened[-1] == "ws://gateway/ws?"
    driver.receive(established("evt_7"), event_frame(8, user_id="ada"), subscribed(None, 2, "evt_8"))
    driver.receive(event_frame(1), event_frame(2))
    assert driver.numbers == [1, 2, 8]
    driver.close()
    assert driver.opened[-1] == "ws://gateway/ws?rooms=circle:1,user:ada&since=evt_8"


def test_a_history_of_nothing_goes_on_from_the_head() -> None:
    driver = ScriptedDriver(history=5)
    driver.receive(established("evt_7"), subscribed(None, 0, "evt_7"))
    driver.close()
    assert driver.query == "since=evt_7"


# ---- gaps


def test_a_gap_comes_before_any_later_event() -> None:
    """Whichever way the gateway tells it; the events that are kept follow."""
    driver = ScriptedDriver(since="evt_0")
    driver.begin(subscribed(False, 1, "evt_5"), event_frame(5))
    driver.receive(control_frame("stream.gap", reason="history_trimmed", cursor="evt_8"), event_frame(9))
    assert driver.numbers == [Gap("not_recovered", "evt_0"), 5, Gap("history_trimmed", "evt_8"), 9]  # type: ignore[arg-type]
    driver.receive(control_frame("stream.gap", reason="log_reset", cursor="new_0"))
    driver.close()
    assert driver.query == "since=new_0"


def test_a_cursor_that_the_gateway_does_not_know_is_a_gap() -> None:
    """The stream continues from the head as of then, so that nothing else is lost."""
    driver = ScriptedDriver(since="nonsense")
    driver.receive(established("evt_5"), error("cursor_invalid"))
    assert [item.reason for item in driver.yielded if isinstance(item, Gap)] == ["cursor_invalid"]
    assert driver.query == "since=evt_5"
    driver.begin(subscribed(True, 1), event_frame(6))
    assert driver.numbers[1:] == [6]


def test_the_state_starts_over_after_a_gap() -> None:
    """All of it: an item that is gone would never be taken back otherwise."""
    driver = ScriptedDriver(state=True)
    driver.begin(subscribed(None, 0, items=1, complete=True), event_frame(1, key="k"), mark("evt_1"))
    driver.receive(control_frame("stream.gap", reason="log_reset", cursor="new_0"))
    assert driver.numbers == [1, Gap("log_reset", None)]
    assert driver.query == "state=1"
    assert driver.stream.cursor is None
    assert driver.waits == [RELOAD_SPREAD / 2]


def test_a_state_that_is_not_complete_is_a_gap() -> None:
    """The gap comes before the items. The state is not requested again, which would change nothing."""
    driver = ScriptedDriver(state=True)
    driver.begin(subscribed(None, 0, items=1, complete=False), event_frame(1, key="k"))
    assert driver.numbers == [Gap("state_incomplete", None), 1]
    assert len(driver.opened) == 1


def test_a_state_that_was_trimmed_meanwhile_is_loaded_whole() -> None:
    """The resumed stream would leave out items that changed while the client was away."""
    driver = ScriptedDriver(state=True)
    driver.begin(subscribed(None, 0, items=1, complete=True), event_frame(1, key="k"), mark("evt_1"))
    driver.close()
    driver.begin(subscribed(True, 0, items=1, complete=False))
    assert driver.numbers == [1, Gap("state_incomplete", None)]
    assert driver.query == "state=1"
    driver.begin(subscribed(None, 0, items=1, complete=False), event_frame(2, key="k"))
    assert driver.numbers[2:] == [Gap("state_incomplete", None), 2]


# ---- load


def test_the_application_loads_its_state_after_a_cursor_was_taken() -> None:
    """The events after the cursor follow, over a lost connection too."""
    driver = ScriptedDriver(loads=True)
    driver.receive(established("evt_4"))
    assert driver.loads == []
    driver.receive(subscribed(None, 0, "evt_4"))
    assert driver.yielded == [Snapshot("state 1", "evt_4")]  # type: ignore[arg-type]
    driver.close()
    assert driver.query == "since=evt_4"
    driver.begin(subscribed(True, 1, "evt_5"), event_frame(5))
    assert driver.numbers[1:] == [5]
    assert driver.loads == ["evt_4"]


@pytest.mark.parametrize("how", ["reply", "frame", "cursor"])
def test_it_is_loaded_again_after_every_gap(how: str) -> None:
    """With jitter, on a connection without the old place: what is older than the snapshot never comes after it."""
    driver = ScriptedDriver(loads=True)
    driver.begin()
    if how == "frame":
        driver.receive(control_frame("stream.gap", reason="history_trimmed", cursor="evt_8"))
    else:
        driver.close()
        driver.waits.clear()
        driver.receive(established("evt_8"), error("cursor_invalid") if how == "cursor" else subscribed(False, 5))
    assert driver.waits == [RELOAD_SPREAD / 2]
    assert driver.query == ""
    assert driver.stream.cursor is None
    driver.receive(established("evt_9"), subscribed(None, 0, "evt_9"), event_frame(10))
    assert driver.numbers[1:] == [Snapshot("state 2", "evt_9"), 10]  # type: ignore[arg-type]


# ---- tokens


def test_a_token_is_renewed_before_it_expires() -> None:
    """The accepted one is used for the next connection, until it expires by the gateway's clock."""
    driver = ScriptedDriver(token=None)
    driver.begin()
    driver.receive(control_frame("token.expiring", expires_at="2026-01-15T10:31:00Z"))
    assert driver.sent == [{"type": "auth", "id": "auth", "token": "token-2"}]
    driver.receive(control_frame("authenticated", "auth", expires_at="2026-01-15T10:40:00Z", rooms=[], dropped=[]))
    driver.close()
    assert driver.tokens == ["token-1", "token-2"]
    driver.now += 601
    driver.close()
    assert driver.tokens[-1] == "token-3"


def test_a_token_that_cannot_be_renewed_is_used_until_it_expires() -> None:
    driver = ScriptedDriver()
    driver.begin(subscribed(), control_frame("token.expiring", expires_at="2026-01-15T10:31:00Z"))
    assert driver.sent == []
    driver.close()
    with pytest.raises(TokenRefused, match="token_expired"):
        driver.close(4401, "token_expired")


def test_a_fresh_token_gets_one_chance() -> None:
    """Until one is taken."""
    driver = ScriptedDriver(token=None)
    driver.begin()
    for round in (1, 2):
        driver.close(4401, "token_expired")
        driver.begin()
        assert driver.tokens[-1] == f"token-{round + 1}"
    driver.close(4401, "token_invalid")
    with pytest.raises(TokenRefused, match="token_invalid"):
        driver.close(4401, "token_invalid")


def test_a_revoked_token_ends_it() -> None:
    with pytest.raises(TokenRefused, match="token_revoked"):
        ScriptedDriver(token=None).close(4401, "token_revoked")


def test_a_refused_renewal_leaves_the_connection_as_it_is() -> None:
    driver = ScriptedDriver(token=None)
    driver.begin(subscribed(), control_frame("token.expiring", expires_at="2026-01-15T10:31:00Z"))
    driver.receive(error("token_invalid", "auth"), event_frame(1))
    assert driver.numbers == [1]
    driver.close()
    assert driver.tokens == ["token-1", "token-1"]


def test_a_function_that_fails_is_asked_again() -> None:
    """With backoff; unless it says that the user is out."""
    driver = ScriptedDriver(token=None)
    assert driver.changes == []
    driver.stream.next_action(driver.now)
    driver.stream.token_failed(OSError("away"), driver.now)
    driver.run()
    assert driver.waits == [0.25]
    driver.stream.token_failed(OSError("away"), driver.now)
    driver.run()
    assert driver.connected, "a connection goes on with the token it has"
    driver.stream.token_failed(TokenRefused("token_invalid", "logged out"), driver.now)
    with pytest.raises(TokenRefused, match="logged out"):
        driver.run()


@pytest.mark.parametrize("token", ["", "with space", "nön", "x" * 4_097, 7])
def test_an_invalid_token_ends_the_stream(token: Any) -> None:
    """Without a word of it in the error."""
    driver = ScriptedDriver(token=None)
    driver.stream.token(token)
    with pytest.raises(TokenRefused) as raised:
        driver.run()
    assert not str(token) or str(token) not in str(raised.value)


# ---- closes and errors


@pytest.mark.parametrize("code", [None, 1000, 1001, *CLOSE_RULES])
def test_closes_end_it_where_the_table_says_so(code: int | None) -> None:
    rule = CLOSE_RULES.get(code or 1006)
    driver = ScriptedDriver()
    driver.begin()
    if rule in (None, Retry.BACKOFF, Retry.SLOT):
        driver.close(code, "why")
        assert len(driver.opened) == 2
    else:
        with pytest.raises(TokenRefused if rule is Retry.FRESH_TOKEN else Closed, match="why"):
            driver.close(code, "why")


def test_it_ends_for_good() -> None:
    driver = ScriptedDriver()
    for _ in range(2):
        with pytest.raises(Closed):
            driver.close(4403, "forbidden")
    assert driver.changes[-1].state == "closed"


@pytest.mark.parametrize("code", ["room_forbidden", "room_invalid", "scope_missing", "too_many_rooms", "a_new_word"])
def test_a_refusal_is_raised(code: str) -> None:
    driver = ScriptedDriver()
    with pytest.raises(Refused, match=code) as raised:
        driver.receive(established(), error(code, rooms=["circle:1"]))
    assert raised.value.rooms == ("circle:1",)


@pytest.mark.parametrize(
    "frame",
    [
        control_frame("subscription.revoked", rooms=["circle:1", "circle:9"], reason="member_removed"),
        control_frame("authenticated", "auth", expires_at="2026-01-15T10:40:00Z", rooms=[], dropped=["circle:1"]),
    ],
    ids=lambda frame: frame["type"],
)
def test_a_room_that_is_lost_is_raised(frame: dict[str, Any]) -> None:
    """With the place up to which nothing is missing."""
    driver = ScriptedDriver("circle:1", "circle:2")
    driver.begin(subscribed(), event_frame(3))
    with pytest.raises(RoomsRevoked) as raised:
        driver.receive(frame)
    assert raised.value.rooms == ("circle:1",)
    assert driver.stream.cursor == "evt_3"


def test_the_rooms_of_a_star_may_change() -> None:
    driver = ScriptedDriver("*")
    driver.begin(subscribed(), control_frame("subscription.revoked", rooms=["circle:1"], reason="why"), event_frame(1))
    assert driver.numbers == [1]


def test_it_waits_for_what_the_gateway_named() -> None:
    """`retry_after` and then the jitter; the slot of a drain as it is. Each counts once."""
    driver = ScriptedDriver()
    driver.receive(error("rate_limited", retry_after=5.0))
    driver.close(4409, "user_limit")
    assert driver.waits == [5.25]
    driver.begin(subscribed(), control_frame("server.draining", reconnect_after_ms=7_000))
    driver.now += 1
    driver.close(1012, "draining")
    assert driver.waits[1:] == [6.0]
    driver.close(1012, "draining")
    assert driver.waits[2] <= 2.0


def test_the_pause_grows_and_a_stable_connection_resets_it() -> None:
    """A connection that is refused or lost at once is no success."""
    driver = ScriptedDriver(chance=1.0)
    for _ in range(8):
        driver.receive(established())
        driver.close()
    assert driver.waits == [0.5, 1, 2, 4, 8, 16, 20, 20]
    driver.receive(established())
    driver.now += 10
    driver.close()
    assert driver.waits[8:] == [0.5]


def test_no_answer_is_a_lost_connection() -> None:
    """Within ten seconds of the handshake; afterwards the gateway's pings tell."""
    driver = ScriptedDriver()
    driver.run()
    assert driver.reading is not None
    assert driver.reading.timeout == 10.0
    driver.stream.timed_out(driver.now)
    driver.begin()
    assert len(driver.opened) == 2
    assert driver.reading.timeout is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"type": "a.b", "event_id": "evt_1"}', '{"type": "subscribed"}'])
def test_a_frame_that_cannot_be_read_is_a_lost_connection(text: str) -> None:
    """To skip it would be a silent gap."""
    driver = ScriptedDriver()
    driver.begin()
    driver.stream.received(text, driver.now)
    driver.run()
    assert driver.query == "since=evt_head"


@pytest.mark.parametrize(
    ("status", "patient", "ends"),
    [(None, True, False), (None, False, True), (404, True, True), (502, True, False), (429, True, False)],
)
def test_an_address_without_a_gateway(status: int | None, patient: bool, ends: bool) -> None:
    """Outages are waited out. A response of another server is final, and without `patient` a refused connection is."""
    driver = ScriptedDriver(patient=patient)
    driver.stream.next_action(driver.now)
    driver.stream.failed("why", driver.now, status)
    if ends:
        with pytest.raises(Unreachable, match="ws://gateway/ws: why"):
            driver.run()
    else:
        driver.run()


def test_an_address_where_a_gateway_was_may_answer_anything() -> None:
    """A proxy may answer so during a deployment."""
    driver = ScriptedDriver(patient=False)
    driver.begin()
    driver.stream.failed("HTTP 404", driver.now, 404)
    driver.stream.failed("refused", driver.now)
    assert driver.changes[-1].state == "live"


# ---- freshness, and the rest


def test_freshness_is_by_marks_and_a_clock_that_does_not_go_back() -> None:
    driver = ScriptedDriver()
    assert driver.stream.freshness(driver.now).stale
    driver.begin()
    assert driver.stream.freshness(driver.now).connected
    driver.receive(mark("evt_1", "2026-01-15T11:30:00Z"))
    fresh = driver.stream.freshness(driver.now + 20)
    assert (fresh.as_of, fresh.age, fresh.stale) == ("2026-01-15T11:30:00Z", 20.0, False)
    assert driver.stream.freshness(driver.now + 60).stale
    driver.receive(control_frame("stream.degraded", since="2026-01-15T10:30:00Z"))
    assert driver.stream.freshness(driver.now).stale
    driver.receive(control_frame("stream.restored", since="2026-01-15T10:30:00Z"))
    assert not driver.stream.freshness(driver.now).stale
    driver.run()
    driver.stream.closed(None, "", driver.now)
    assert driver.stream.freshness(driver.now).stale


def test_changes_of_the_connection_are_reported() -> None:
    driver = ScriptedDriver()
    driver.begin()
    driver.close(1013, "broker_unavailable")
    driver.begin(subscribed(True))
    changes = [
        (change.state, change.reason, change.code, change.retry_in, change.recovered) for change in driver.changes
    ]
    assert changes == [
        ("connecting", "", None, None, None),
        ("live", "", None, None, None),
        ("reconnecting", "broker_unavailable", 1013, 0.25, None),
        ("live", "", None, None, True),
    ]


def test_more_rooms_than_a_url_takes_are_a_value_error() -> None:
    driver = ScriptedDriver(*(f"circle:{'x' * 60}{n}" for n in range(120)))
    with pytest.raises(ValueError, match="use several subscriptions"):
        driver.run()


def test_a_token_is_in_no_repr() -> None:
    """The actions that carry one hide it."""
    driver = ScriptedDriver(token="a-secret-token")
    driver.stream.next_action(driver.now)
    assert "a-secret" not in repr(driver.stream.next_action(driver.now))
    assert "a-secret" in json.dumps(driver.stream.next_action(driver.now).token)  # type: ignore[union-attr]


def test_errors_can_be_pickled() -> None:
    """A task queue sends them from one process to another."""
    import pickle

    for error in (
        Refused("room_forbidden", "why", ["circle:1"], 1.5, 403),
        Unreachable("unreachable", "why"),
        Closed(4403, "forbidden"),
        TokenRefused("token_invalid", "why"),
    ):
        copy: GatewayError = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
