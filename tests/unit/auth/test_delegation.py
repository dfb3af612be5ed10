"""Delegation: no holder gets a token issued with more than its own grants."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.delegation import Delegation, delegate
from auth.errors import (
    AuthError,
    ClaimRefused,
    LifetimeTooLong,
    RoomForbidden,
    RoomInvalid,
    ScopeMissing,
    TokenExpired,
    TooManyRooms,
)
from auth.grants import Grants
from auth.identity import SCOPES, Identity
from tests.support.forge import ADMIN_LIFETIME, LIFETIME, NOW

EVERYTHING = ("circle:*", "project:*", "user:*", "tenant")


def holder(
    scopes: Iterable[str], rooms: Iterable[str] = EVERYTHING, expires_at: int = NOW + ADMIN_LIFETIME
) -> Identity:
    """Root of tenant acme, who holds these."""
    return Identity("root", "acme", Grants.parse(rooms), frozenset(scopes), "jti", NOW - 1, expires_at)


def ask(of: Identity, **changed: Any) -> Delegation:
    """A short token for bob of acme that may follow circle 1, but for what is changed."""
    wanted: dict[str, Any] = {
        "user_id": "bob",
        "tenant": "acme",
        "rooms": ["circle:1"],
        "scope": ["subscribe"],
        "expires_in": 60,
        "now": NOW,
        "max_lifetime": LIFETIME,
        "max_admin_lifetime": ADMIN_LIFETIME,
    }
    return delegate(of, **{**wanted, **changed})


ADMIN = holder(["subscribe", "admin"])
NARROW = holder(["subscribe", "admin"], ["circle:1", "circle:2", "project:*"])
PLATFORM = holder(["subscribe", "publish", "platform"])

REMOVED = holder(["subscribe", "platform"]).without_room("circle:1")

REFUSED: dict[str, tuple[Identity, dict[str, Any], type[AuthError]]] = {
    "no scope at all": (holder([]), {}, ScopeMissing),
    "a subscriber": (holder(["subscribe"]), {}, ScopeMissing),
    "a publisher": (holder(["subscribe", "publish"]), {}, ScopeMissing),
    "a subscriber for itself, the same again": (holder(["subscribe"]), {"user_id": "root"}, ScopeMissing),
    "an admin in another tenant": (ADMIN, {"tenant": "globex"}, ScopeMissing),
    "an admin in another tenant for its own name": (ADMIN, {"tenant": "globex", "user_id": "root"}, ScopeMissing),
    "an admin in a tenant of another case": (ADMIN, {"tenant": "ACME"}, ScopeMissing),
    "an admin in a longer tenant": (ADMIN, {"tenant": "acme2"}, ScopeMissing),
    "a subscriber in another tenant": (holder(["subscribe"]), {"tenant": "globex"}, ScopeMissing),
    "publish not held": (ADMIN, {"scope": ["publish"]}, ScopeMissing),
    "subscribe not held": (holder(["admin"]), {}, ScopeMissing),
    "platform not held": (ADMIN, {"scope": ["platform"]}, ScopeMissing),
    "platform among held ones": (ADMIN, {"scope": ["subscribe", "admin", "platform"]}, ScopeMissing),
    "a scope that is none": (PLATFORM, {"scope": ["root"]}, ClaimRefused),
    "two scopes in one word": (ADMIN, {"scope": ["subscribe admin"]}, ClaimRefused),
    "another circle": (NARROW, {"rooms": ["circle:3"]}, RoomForbidden),
    "one of many not held": (NARROW, {"rooms": ["circle:1", "project:7", "circle:3"]}, RoomForbidden),
    "a whole kind of which some are held": (NARROW, {"rooms": ["circle:*"]}, RoomForbidden),
    "tenant not held": (NARROW, {"rooms": ["tenant"]}, RoomForbidden),
    "another user's room": (NARROW, {"rooms": ["user:carol"]}, RoomForbidden),
    "all users' rooms": (NARROW, {"rooms": ["user:*"]}, RoomForbidden),
    "a longer name than held": (NARROW, {"rooms": ["circle:11"]}, RoomForbidden),
    "the holder's own room, across tenants": (
        holder(["platform", "subscribe"], ["circle:*"]),
        {"tenant": "globex", "rooms": ["user:root"]},
        RoomForbidden,
    ),
    "a room that the holder was removed from": (REMOVED, {}, RoomForbidden),
    "a room that the holder was removed from, for itself": (REMOVED, {"user_id": "root"}, RoomForbidden),
    "a kind, one room of which the holder was removed from": (REMOVED, {"rooms": ["circle:*"]}, RoomForbidden),
    "rooms beyond the platform's own": (
        holder(["platform", "subscribe"], ["circle:1"]),
        {"rooms": ["tenant"]},
        RoomForbidden,
    ),
    "a star": (PLATFORM, {"rooms": ["*"]}, RoomInvalid),
    "a room with a newline": (PLATFORM, {"rooms": ["circle:1\n"]}, RoomInvalid),
    "129 rooms": (PLATFORM, {"rooms": [f"circle:{n}" for n in range(129)]}, TooManyRooms),
    "a second over a user's maximum": (ADMIN, {"expires_in": LIFETIME + 1}, LifetimeTooLong),
    "a second over an admin's maximum": (
        ADMIN,
        {"scope": ["admin"], "expires_in": ADMIN_LIFETIME + 1},
        LifetimeTooLong,
    ),
    "over the maximum, with little left": (
        holder(["subscribe", "admin"], expires_at=NOW + 5),
        {"expires_in": LIFETIME + 1},
        LifetimeTooLong,
    ),
    "nothing left": (holder(["subscribe", "admin"], expires_at=NOW), {}, TokenExpired),
}


@pytest.mark.parametrize(("of", "changed", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_more_than_held_is_refused(of: Identity, changed: dict[str, Any], error: type[AuthError]) -> None:
    """By the error that says what is missing."""
    with pytest.raises(AuthError) as caught:
        ask(of, **changed)
    assert type(caught.value) is error


ALLOWED: dict[str, tuple[Identity, dict[str, Any]]] = {
    "an admin, in its tenant": (ADMIN, {}),
    "an admin makes an admin": (ADMIN, {"scope": ["admin"]}),
    "an admin makes a token without scope or rooms": (NARROW, {"scope": [], "rooms": []}),
    "the target's own room": (NARROW, {"rooms": ["user:bob"]}),
    "other rooms than the holder was removed from": (REMOVED, {"rooms": ["circle:2", "project:*", "tenant"]}),
    "another tenant's room of the name that the holder was removed from": (REMOVED, {"tenant": "globex"}),
    "the holder's own room, in its tenant": (NARROW, {"rooms": ["user:root"]}),
    "a room of a kind held": (NARROW, {"rooms": ["project:9", "project:*"]}),
    "the platform, in its own tenant": (PLATFORM, {"scope": ["publish"]}),
    "the platform, elsewhere": (PLATFORM, {"tenant": "globex", "rooms": list(EVERYTHING)}),
    "the platform makes an admin, which it holds": (PLATFORM, {"tenant": "globex", "scope": ["admin"]}),
    "the platform makes a platform": (PLATFORM, {"scope": ["platform"]}),
    "a user's longest life": (ADMIN, {"expires_in": LIFETIME}),
    "an admin's longest life": (ADMIN, {"scope": ["admin"], "expires_in": ADMIN_LIFETIME}),
}


@pytest.mark.parametrize(("of", "changed"), ALLOWED.values(), ids=ALLOWED.keys())
def test_held_grants_may_be_delegated(of: Identity, changed: dict[str, Any]) -> None:
    """The issued grants are those requested."""
    given_on = ask(of, **changed)
    asked: dict[str, Any] = {
        "rooms": ["circle:1"],
        "scope": ["subscribe"],
        "tenant": "acme",
        "expires_in": 60,
        **changed,
    }
    assert (given_on.user_id, given_on.tenant, given_on.expires_in) == ("bob", asked["tenant"], asked["expires_in"])
    assert list(given_on.rooms) == asked["rooms"]
    assert given_on.scope == frozenset(asked["scope"])


def test_rate_is_the_holders_own() -> None:
    """A holder that may not follow fast gives on no token that may."""
    assert ask(ADMIN).rate is None
    assert ask(replace(ADMIN, rate=7)).rate == 7


@pytest.mark.parametrize(("now", "left"), [(NOW, 100), (NOW + 0.9, 100), (NOW + 99, 1), (NOW + 99.9, 1)])
def test_life_is_cut_to_the_holders_own(now: float, left: int) -> None:
    """Never a second beyond the holder's own expiry."""
    short = holder(["subscribe", "admin"], expires_at=NOW + 100)
    assert ask(short, expires_in=600, now=now).expires_in == left
    assert int(now) + left == short.expires_at


def test_refusal_says_what_was_asked_and_what_is_allowed() -> None:
    """The message is for people; the fields are for programs."""
    with pytest.raises(RoomForbidden, match=r"grants circle:1, circle:2, project:\*; asked circle:9$") as forbidden:
        ask(NARROW, rooms=["circle:1", "circle:9"])
    assert forbidden.value.rooms == ["circle:9"]
    with pytest.raises(ScopeMissing) as missing:
        ask(ADMIN, tenant="globex")
    assert missing.value.scope == "platform"
    with pytest.raises(LifetimeTooLong) as exceeds_limits:
        ask(ADMIN, expires_in=10**9)
    assert exceeds_limits.value.maximum == LIFETIME


some_rooms = st.lists(st.sampled_from([*EVERYTHING, "circle:1", "circle:2", "project:1", "user:bob", "user:x"]))
some_scopes = st.frozensets(st.sampled_from(SCOPES))


@given(some_scopes, some_rooms, st.sampled_from(["acme", "globex"]), some_scopes, some_rooms, st.integers(1, 10**5))
def test_no_chain_of_delegations_gains_anything(
    scopes: frozenset[str], rooms: list[str], tenant: str, wanted: frozenset[str], asked: list[str], expires_in: int
) -> None:
    """For any chain of requests, the result exceeds the holder's own grants in no respect."""
    giver = holder(scopes, rooms, NOW + 1000)
    try:
        out = ask(giver, tenant=tenant, scope=wanted, rooms=asked, expires_in=expires_in)
    except AuthError:
        return
    assert giver.has_scope("admin")
    assert out.tenant == giver.tenant or "platform" in giver.scopes
    assert all(giver.has_scope(scope) for scope in out.scope)
    assert all(giver.grants.covers(pattern) or pattern == "user:bob" for pattern in out.rooms)
    assert NOW + out.expires_in <= giver.expires_at
