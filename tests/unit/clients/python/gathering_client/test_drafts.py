"""Drafts, and the retries of a request."""

import pickle
from typing import Any

import pytest

from gathering_client import Draft, EventType, Receipt, Refused, TokenRefused, Unreachable
from gathering_client.drafts import KEY_LIFETIME, Attempts, draft_of, results_of


def test_a_draft_has_a_key_of_its_own() -> None:
    """Another one for each draft; the same for a copy, as for a task that runs again."""
    one, other = Draft("a.b"), Draft("a.b")
    assert one.idempotency_key != other.idempotency_key
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own


def test_absent_fields_are_left_out() -> None:
    """A 0 is a value."""
    body = Draft("a.b", {"n": 1}, circle_id=0, key="k", ids={"team_id": 7}, idempotency_key="once").body()
    assert body == {
        "type": "a.b",
        "data": {"n": 1},
        "idempotency_key": "once",
        "circle_id": 0,
        "key": "k",
        "team_id": 7,
    }


def test_a_type_stands_for_its_name() -> None:
    """A draft stands for itself, and takes no more fields."""
    assert draft_of(EventType("a.b", dict), {"n": 1}, {"circle_id": 7}).body()["type"] == "a.b"
    draft = Draft("a.b")
    assert draft_of(draft, None, {}) is draft
    with pytest.raises(TypeError):
        draft_of(draft, None, {"circle_id": 7})


def attempts(patience: float = 30.0) -> Attempts:
    return Attempts(patience, 100.0, lambda: 1.0)


def test_temporary_errors_are_retried_with_growing_pauses() -> None:
    """Not before `retry_after`, and not beyond the patience."""
    retries = attempts()
    errors = [Unreachable("unreachable", "why"), Refused("broker_unavailable", "why"), Refused("internal_error", "why")]
    assert [retries.wait_after(error, 100.0, False) for error in errors] == [0.1, 0.2, 0.4]
    assert retries.wait_after(Refused("rate_limited", "why", retry_after=5.0), 100.0, False) == 5.8
    with pytest.raises(Refused, match="rate_limited"):
        retries.wait_after(Refused("rate_limited", "why", retry_after=60.0), 100.0, False)
    with pytest.raises(Unreachable):
        retries.wait_after(Unreachable("unreachable", "why"), 130.0, False)


@pytest.mark.parametrize("code", ["bad_message", "room_forbidden", "idempotency_conflict", "a_new_word"])
def test_a_refusal_is_final(code: str) -> None:
    with pytest.raises(Refused, match=code):
        attempts().wait_after(Refused(code, "why"), 100.0, True)


def test_a_fresh_token_is_tried_once() -> None:
    """If there can be one, and never after a revocation."""
    retries = attempts()
    expired = TokenRefused("token_expired", "why")
    assert retries.wait_after(expired, 100.0, True) == 0.0
    for error, refreshable in ((expired, True), (TokenRefused("token_revoked", "why"), True)):
        with pytest.raises(TokenRefused):
            retries.wait_after(error, 100.0, refreshable)
    with pytest.raises(TokenRefused):
        attempts().wait_after(expired, 100.0, False)


@pytest.mark.parametrize("patience", [-1, KEY_LIFETIME])
def test_no_retry_after_the_key_is_forgotten(patience: float) -> None:
    """A retry could deliver the event twice."""
    with pytest.raises(ValueError, match="patience"):
        attempts(patience)


def test_of_a_batch_the_temporary_errors_are_sent_again() -> None:
    """With the longest wait that one of them names."""
    results: dict[int, Receipt | Refused] = {
        0: Receipt("evt_1", False),  # type: ignore[arg-type]
        1: Refused("rate_limited", "why", retry_after=1.0),
        2: Refused("bad_message", "why"),
        3: Refused("broker_unavailable", "why"),
    }
    assert attempts().again(results, 100.0) == ([1, 3], 1.1)
    assert attempts(1.0).again(results, 100.0) == ([], 0.0)
    assert attempts().again({2: results[2]}, 100.0) == ([], 0.0)


def test_the_results_of_a_batch_are_in_order() -> None:
    """One result for each draft."""
    drafts = [Draft("a.b"), Draft("a.b")]
    answers: list[dict[str, Any]] = [
        {"event_id": "evt_1", "duplicate": True},
        {"error": {"code": "room_forbidden", "message": "why"}},
    ]
    receipt, refused = results_of(drafts, answers)
    assert receipt == Receipt("evt_1", True)  # type: ignore[arg-type]
    assert isinstance(refused, Refused)
    with pytest.raises(Unreachable):
        results_of(drafts, answers[:1])
