"""Round trip: issued tokens are verified; a token that would not be is not issued."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.errors import AuthError, ClaimRefused, RoomInvalid, TokenTooLong, TooManyRooms, UnusableKey
from auth.identity import SCOPES
from auth.keys import KeyRing, public_key
from auth.tokens import IssuedToken, TokenIssuer
from schemas.rooms import ID_PATTERN, SUBJECT_PATTERN
from tests.support.forge import (
    AUDIENCE,
    EC_KEY,
    ED_KEY,
    HMAC_KEY,
    ISSUER,
    LIFETIME,
    NOW,
    RSA,
    RSA_KEY,
    public_pem,
    verifier,
)

ids = st.from_regex(ID_PATTERN, fullmatch=True)
subjects = st.from_regex(SUBJECT_PATTERN, fullmatch=True)
patterns = st.one_of(
    st.builds("circle:{}".format, ids),
    st.builds("user:{}".format, subjects),
    st.sampled_from(["circle:*", "project:*", "user:*", "tenant"]),
)


def issue(ring: KeyRing | None = None, **changed: Any) -> IssuedToken:
    """A token for bob, but for what is changed."""
    wanted: dict[str, Any] = {
        "user_id": "bob",
        "tenant": "acme",
        "rooms": ["circle:1"],
        "scope": ["subscribe"],
        "expires_in": 60,
        "now": NOW,
    }
    return TokenIssuer(ring or KeyRing([HMAC_KEY]), ISSUER, AUDIENCE).issue(**{**wanted, **changed})


@given(
    user_id=subjects,
    tenant=ids,
    rooms=st.lists(patterns, max_size=12),
    scope=st.sets(st.sampled_from(SCOPES)),
    expires_in=st.integers(1, LIFETIME),
    now=st.floats(NOW, NOW + 1e6),
    rate=st.none() | st.integers(1, 1000),
)
def test_issued_token_verifies_as_what_was_asked(
    user_id: str, tenant: str, rooms: list[str], scope: set[str], expires_in: int, now: float, rate: int | None
) -> None:
    """Everything comes back as it went in, for any values of the protocol's grammar."""
    asked: dict[str, Any] = {"user_id": user_id, "tenant": tenant, "rooms": rooms, "scope": scope}
    issued = issue(**asked, expires_in=expires_in, now=now, rate=rate)
    identity = verifier().verify(issued.access_token, int(now))
    assert (identity.user_id, identity.tenant, identity.rate) == (user_id, tenant, rate)
    assert identity.grants.patterns == issued.rooms == tuple(dict.fromkeys(rooms))
    assert identity.scopes == scope == set(issued.scope.split())
    assert identity.token_id == issued.token_id
    assert identity.issued_at == int(now)
    assert identity.expires_at == issued.expires_at == int(now) + expires_in
    assert issued.expires_in == expires_in


@pytest.mark.parametrize("key", [HMAC_KEY, RSA_KEY, EC_KEY, ED_KEY], ids=lambda key: key.algorithm)
def test_newest_key_that_can_sign_signs(key: Any) -> None:
    """A public key in front, as for an issuer's next key, does not sign."""
    foreign = public_key(public_pem(RSA))
    token = issue(KeyRing([foreign, key])).access_token
    assert verifier().verify(token, NOW).user_id == "bob"


def test_ring_that_cannot_sign_is_found_at_once() -> None:
    """Not by the first one who asks for a token."""
    with pytest.raises(UnusableKey):
        TokenIssuer(KeyRing([public_key(public_pem(RSA))]), ISSUER, AUDIENCE)


def test_no_two_tokens_have_one_id() -> None:
    """The jti is random, and the scopes are listed in one order."""
    issued = [issue(scope=["publish", "subscribe"]) for _ in range(100)]
    assert len({token.token_id for token in issued}) == 100
    assert {token.scope for token in issued} == {"subscribe publish"}


def test_token_stays_out_of_its_repr() -> None:
    """A repr in a log by accident leaks no credential."""
    issued = issue()
    assert issued.access_token not in repr(issued)
    assert issued.access_token.split(".")[1] not in repr(issued)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"user_id": ""}, ClaimRefused),
        ({"user_id": "bob\n"}, ClaimRefused),
        ({"user_id": "b" * 129}, ClaimRefused),
        ({"tenant": "a:b"}, ClaimRefused),
        ({"tenant": "*"}, ClaimRefused),
        ({"scope": ["root"]}, ClaimRefused),
        ({"scope": ["subscribe publish"]}, ClaimRefused),
        ({"expires_in": 0}, ClaimRefused),
        ({"expires_in": -60}, ClaimRefused),
        ({"rate": 0}, ClaimRefused),
        ({"rate": -1}, ClaimRefused),
        ({"rooms": ["circle:1", "*"]}, RoomInvalid),
        ({"rooms": [f"circle:{n}" for n in range(129)]}, TooManyRooms),
        ({"rooms": [f"circle:{n}{'x' * 60}" for n in range(100)]}, TokenTooLong),
    ],
    ids=str,
)
def test_tokens_that_would_not_verify_are_not_issued(changed: dict[str, Any], error: type[AuthError]) -> None:
    """The error says so, with a code for the wire."""
    with pytest.raises(error) as caught:
        issue(**changed)
    assert caught.value.code in ("bad_message", "room_invalid", "too_many_rooms")


def test_token_names_the_cutoff_that_it_comes_after() -> None:
    """The token keeps its own second of issue, so that its life is as long as was asked."""
    issued = issue(now=NOW + 0.9, expires_in=60, cutoff=NOW + 0.8)
    identity = verifier().verify(issued.access_token, NOW + 0.9)
    assert (identity.issued_at, identity.expires_at, identity.cutoff) == (NOW, NOW + 60, NOW + 0.8)
    assert verifier().verify(issue(now=NOW).access_token, NOW).cutoff == 0.0
