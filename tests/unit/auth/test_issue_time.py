"""The rule about clocks: what a cutoff ends and what it does not, of our own issuer's tokens and of another's."""

from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.external import ClaimMapping, ClaimPath
from auth.identity import Identity
from auth.issue_time import CLOCK_SKEW, is_cut_off, is_early, is_fresh, newest_ended_iat
from auth.keys import KeyRing
from auth.tokens import TokenIssuer, TokenVerifier, TrustedIssuer
from tests.support.forge import (
    ADMIN_LIFETIME,
    AUDIENCE,
    ISSUER,
    LIFETIME,
    NOW,
    OLD_SECRET,
    OTHER_ISSUER,
    OTHER_KEY,
    RING,
    claims,
)

MAPPING = ClaimMapping(
    audiences=frozenset({AUDIENCE}),
    types=frozenset({"at+jwt"}),
    audience=ClaimPath.parse("aud"),
    tenant=ClaimPath.parse("tenant"),
    user=ClaimPath.parse("sub"),
    rooms=ClaimPath.parse("rooms"),
    scope=ClaimPath.parse("scope"),
)
VERIFIER = TokenVerifier(
    [TrustedIssuer(ISSUER, RING), TrustedIssuer(OTHER_ISSUER, KeyRing([OTHER_KEY]), mapping=MAPPING)],
    AUDIENCE,
    LIFETIME,
    ADMIN_LIFETIME,
)
OWN = TokenIssuer(RING, ISSUER, AUDIENCE)


def own(now: float, cutoff: float = 0.0) -> Identity:
    """The holder of a token that the gateways issued."""
    issued = OWN.issue(
        user_id="bob", tenant="acme", rooms=[], scope=[], expires_in=LIFETIME, now=now, cutoff=cutoff
    ).access_token
    return VERIFIER.verify(issued, now)


def other(iat: int, shown: float, **more: Any) -> Identity:
    """The holder of an identity provider's token."""
    said = claims(iss=OTHER_ISSUER, iat=iat, exp=iat + 600, **more)
    token = jwt.encode(said, OLD_SECRET, "HS256", {"typ": "at+jwt", "kid": OTHER_KEY.kid})
    return VERIFIER.verify(token, shown)


@pytest.mark.parametrize("ahead", range(CLOCK_SKEW + 2))
def test_an_accepted_token_is_cut_off(ahead: int) -> None:
    """For any `iat` of a token shown before, a later cutoff ends it permanently."""
    now = NOW + 0.25
    if is_early(NOW + ahead, now):
        assert ahead > CLOCK_SKEW
        return
    holder = other(NOW + ahead, now)
    assert is_fresh(holder.issued_at, now)
    cutoff = now + 0.5
    through = newest_ended_iat(cutoff, holder.issued_at)
    for later in (cutoff, NOW + 1.0, NOW + ahead + 0.0, NOW + ahead + 1.0, NOW + 500.0):
        assert is_cut_off(holder, cutoff, through, later)


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_an_unseen_token_is_cut_off_while_its_clock_is_ahead(ahead: int) -> None:
    """The clock of its issuer is ahead, so it may be from before; a token with a right clock and that `iat` is not."""
    cutoff = NOW + 0.5
    for later in (0.6, ahead - 0.01):
        assert is_cut_off(other(NOW + ahead, NOW + later), cutoff, cutoff, NOW + later)
    shown = NOW + ahead + 0.2
    assert not is_cut_off(other(NOW + ahead, shown), cutoff, cutoff, shown)


def test_another_issuers_token_of_the_same_second_ends_and_of_the_next_one_does_not() -> None:
    """Tokens of the same second cannot be ordered; from the next second on, and not 5 s later, users sign in again."""
    cutoff = NOW + 0.2
    assert is_cut_off(other(NOW, NOW + 0.9), cutoff, cutoff, NOW + 0.9)
    for later in (1, 2, 30):
        assert not is_cut_off(other(NOW + later, NOW + later + 0.1), cutoff, cutoff, NOW + later + 0.1)


def test_own_token_of_the_same_second_is_ordered_by_the_cutoff_that_it_names() -> None:
    """For its whole life: also when the second is over, and also where the cutoff reaches further than it was made."""
    cutoff = NOW + 0.2
    before, after = own(NOW + 0.1), own(NOW + 0.3, cutoff)
    for later in (NOW + 0.3, NOW + 1.5, NOW + 600.0):
        assert is_cut_off(before, cutoff, cutoff, later)
        assert not is_cut_off(after, cutoff, cutoff + CLOCK_SKEW, later)
    assert is_cut_off(after, cutoff + 0.2, cutoff + 0.2, NOW + 0.5)


@pytest.mark.parametrize("said", [2.0**33, "x", None, [1]])
def test_another_issuer_names_no_cutoff(said: object) -> None:
    """A foreign claim of that name, with any value, has no effect."""
    holder = other(NOW, NOW + 0.5, cutoff=said)
    assert holder.cutoff == 0.0
    assert is_cut_off(holder, NOW + 0.2, NOW + 0.2, NOW + 0.5)


@given(st.integers(-10, 10), st.floats(0, 10), st.floats(-5, 5), st.integers(-10, 10))
def test_cutoffs_reach_no_further_than_clocks_may_differ(iat: int, after: float, lead: float, shown: int) -> None:
    """A token with an `iat` more than `CLOCK_SKEW` after a cutoff is not ended by it, whatever was shown; and one at or
    before it is, however late it is judged."""
    holder = Identity("bob", "acme", own(NOW).grants, frozenset(), "jti", NOW + iat, NOW + 600)
    cutoff = NOW + lead
    ended = is_cut_off(holder, cutoff, newest_ended_iat(cutoff, NOW + shown), cutoff + after)
    if NOW + iat <= cutoff:
        assert ended
    if NOW + iat > cutoff + 2 * CLOCK_SKEW:
        assert not ended
