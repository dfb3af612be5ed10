"""Where `gateway subscribe` goes on after each frame, and when it comes back after each close."""

from typing import Any

import pytest

from gateway.cli.errors import ClientError
from gateway.cli.resume import LONGEST_PAUSE, Resume
from schemas.codes import CLOSE_RULES, ERROR_RULES, CloseCode, ErrorCode, Retry


def resume(since: str | None = None) -> Resume:
    """One that draws the longest pause each time."""
    return Resume(since, chance=lambda: 1.0)


def frame(type: str, **data: Any) -> dict[str, Any]:
    return {"type": type, "data": data, "timestamp": "2026-01-01T00:00:00.000Z"}


def event(event_id: str) -> dict[str, Any]:
    return {**frame("task.created"), "event_id": event_id}


ESTABLISHED = frame("connection.established", cursor="head")
MARK = frame("stream.mark", cursor="evt_5", as_of="2026-11-23T16:52:08.100Z")


def subscribed(recovered: bool | None = None, replayed: int = 0) -> dict[str, Any]:
    return frame("subscribed", rooms=["circle:1"], cursor="head 2", recovered=recovered, replayed=replayed)


@pytest.mark.parametrize(
    ("since", "frames", "place"),
    [
        (None, [], None),
        (None, [ESTABLISHED, subscribed()], "head"),
        ("old", [ESTABLISHED], "old"),
        ("old", [ESTABLISHED, subscribed(True, 2)], "old"),
        ("old", [ESTABLISHED, subscribed(True, 2), event("evt_1")], "evt_1"),
        ("old", [ESTABLISHED, subscribed(True)], "head 2"),
        ("old", [ESTABLISHED, subscribed(False)], "head 2"),
        ("old", [ESTABLISHED, subscribed(False, 2)], "old"),
        (None, [ESTABLISHED, subscribed(), event("evt_1"), frame("presence.left", room="circle:1")], "evt_1"),
        (None, [ESTABLISHED, event("evt_1"), frame("stream.gap", reason="log_reset", cursor="evt_5")], "evt_5"),
        (None, [ESTABLISHED, event("evt_1"), MARK], "evt_5"),
        ("old", [ESTABLISHED, subscribed(True, 2), event("evt_1"), event("evt_2"), MARK], "evt_5"),
        ("old", [ESTABLISHED, subscribed(True, 2), event("evt_1"), MARK, event("evt_6")], "evt_6"),
        (None, [ESTABLISHED, event("evt_1"), frame("pong", cursor="evt_5")], "evt_5"),
        (None, [ESTABLISHED, event("evt_1"), frame("pong")], "evt_1"),
        (None, [ESTABLISHED, event("evt_1"), frame("server.draining", reconnect_after_ms=1, cursor="e")], "e"),
    ],
)
def test_the_place_to_go_on_from(since: str | None, frames: list[dict[str, Any]], place: str | None) -> None:
    """The last event or mark; a head only where nothing before it is owed."""
    state = resume(since)
    for each in frames:
        state.receive(each, 0.0)
    assert state.since == place


def test_losses_are_counted() -> None:
    """`recovered: false`, `stream.gap`, and a cursor of ours that a restarted gateway does not know."""
    state = resume("old")
    for each in (ESTABLISHED, subscribed(False)):
        state.receive(each, 0.0)
    assert state.gaps == 1
    state.receive(frame("stream.gap", reason="history_trimmed", cursor="evt_5"), 0.0)
    assert state.gaps == 2
    state.closed(1012, "", 0.0)
    state.receive(frame("connection.established", cursor="new head"), 0.0)
    assert not state.receive(frame("error", code="cursor_invalid", message="no such cursor"), 0.0)
    assert (state.gaps, state.since) == (3, "new head")


def test_a_cursor_that_was_good_once_does_not_end_it() -> None:
    """Not even where nothing has come since: the gateway may have been restarted with other keys."""
    state = resume("old")
    for each in (ESTABLISHED, subscribed(True, 1), ESTABLISHED):
        assert state.receive(each, 0.0)
    assert not state.receive(frame("error", code="cursor_invalid", message="no such cursor"), 0.0)


def test_a_cursor_that_was_never_good_ends_it() -> None:
    """It came from whoever ran the command."""
    state = resume("nonsense")
    state.receive(ESTABLISHED, 0.0)
    with pytest.raises(ClientError, match="cursor_invalid: no such cursor"):
        state.receive(frame("error", code="cursor_invalid", message="no such cursor"), 0.0)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_errors_end_it_where_the_table_says_so(code: ErrorCode) -> None:
    """Those with backoff are followed by a close, and then by another attempt."""
    state = resume()
    error = frame("error", code=code, message="why")
    if ERROR_RULES[code].retry is Retry.BACKOFF:
        state.receive(error, 0.0)
    else:
        with pytest.raises(ClientError, match=f"{code}: why"):
            state.receive(error, 0.0)


def test_an_error_that_is_not_known_ends_it() -> None:
    """A later gateway may have more of them."""
    with pytest.raises(ClientError, match="new_word: why"):
        resume().receive(frame("error", code="new_word", message="why"), 0.0)


@pytest.mark.parametrize("code", [1000, 1001, *CLOSE_RULES])
def test_closes_end_it_where_the_table_says_so(code: int) -> None:
    """4401 too: the token stays the same."""
    rule = CLOSE_RULES.get(code)
    state = resume()
    if rule is None or rule.retry in (Retry.BACKOFF, Retry.SLOT):
        assert state.closed(code, "why", 0.0) > 0
    else:
        with pytest.raises(ClientError, match=f"why .{code}."):
            state.closed(code, "why", 0.0)


def test_the_pause_grows_and_a_stable_connection_resets_it() -> None:
    """A connection that is refused or lost at once is no success."""
    state = resume()
    pauses = []
    for _ in range(8):
        state.receive(ESTABLISHED, 0.0)
        pauses.append(state.closed(1006, "", 5.0))
    assert pauses == [0.5, 1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE]
    state.receive(ESTABLISHED, 0.0)
    assert state.closed(1006, "", 10.0) == 0.5
    assert Resume(None, chance=lambda: 0.0).closed(1006, "", 0.0) == 0.0


def test_it_waits_for_what_the_gateway_named() -> None:
    """`retry_after` and then the pause; the slot of a drain as it is. Each counts once."""
    state = resume()
    state.receive(frame("error", code="rate_limited", message="at most 30", retry_after=5.0), 100.0)
    assert state.closed(CloseCode.USER_LIMIT, "", 101.0) == 4.0 + 0.5
    assert state.closed(1006, "", 101.0) == 1.0
    state.receive(frame("server.draining", reconnect_after_ms=7_000), 200.0)
    assert state.closed(CloseCode.SERVICE_RESTART, "draining", 201.0) == 6.0
    assert state.closed(CloseCode.SERVICE_RESTART, "draining", 201.0) < 6.0
