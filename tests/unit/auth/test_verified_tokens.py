"""The cache of verified tokens: it answers as the verifier does, whatever time and keys have done meanwhile."""

from collections.abc import Callable, Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.errors import AuthError, TokenExpired, TokenInvalid
from auth.identity import Identity
from auth.keys import Key, hmac_key
from auth.tokens import TokenVerifier, TrustedIssuer
from auth.verified_tokens import VerifiedToken, VerifiedTokenCache
from gateway.core.control import ControlMessage
from gateway.core.revocations import Revocations
from tests.support.forge import (
    ABSENT,
    ADMIN_LIFETIME,
    AUDIENCE,
    HMAC_KEY,
    ISSUER,
    LIFETIME,
    NOW,
    OLD_SECRET,
    SECRET,
    claims,
    forge,
    header,
)

OLD_KEY: Final = hmac_key(OLD_SECRET)
NAMESAKE: Final = Key(HMAC_KEY.kid, "HS256", OLD_SECRET)
"""Another key of the same name, as an issuer may have published by mistake and withdrawn."""


class Keys:
    """A KeySource whose keys change, as those of a JWK Set do."""

    def __init__(self, *keys: Key) -> None:
        self.keys = keys

    def candidates(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        return tuple(key for key in self.keys if kid in (None, key.kid) and key.algorithm == algorithm)


def verifier_of(keys: Keys) -> TokenVerifier:
    return TokenVerifier([TrustedIssuer(ISSUER, keys)], AUDIENCE, LIFETIME, ADMIN_LIFETIME)


def outcome(verify: Callable[[str, float], Identity], token: str, now: float) -> object:
    """The identity, or what the refusal says to callers and operators."""
    try:
        return verify(token, now)
    except AuthError as error:
        return type(error), str(error), getattr(error, "reason", None), getattr(error, "expires_at", None)


TOKENS: Final = [
    forge(claims(sub="bob", exp=NOW + 3)),
    forge(claims(sub="early", iat=NOW + 8, exp=NOW + 20)),
    forge(claims(sub="later", nbf=NOW + 12, exp=NOW + 20)),
    forge(claims(sub="nameless", exp=NOW + 9), header(kid=ABSENT)),
    forge(claims(sub="old", exp=NOW + 9), header(kid=OLD_KEY.kid), OLD_SECRET),
    forge(claims(sub="namesake"), header(), OLD_SECRET),
]
REFUSED: Final = [
    forge(claims(rooms=["no room"])),
    forge(secret=bytes(32)),
    forge(claims(exp=NOW - 1)),
    "",
    "no.token",
    "x" * 5_000,
    "\ud800.a.b",
]

steps = st.one_of(
    st.sampled_from(TOKENS),
    st.sampled_from(TOKENS[:2]),
    st.sampled_from(REFUSED),
    st.sampled_from([-7.0, 0.5, 3.0, 12.0]),
    st.lists(st.sampled_from([HMAC_KEY, OLD_KEY, NAMESAKE]), unique=True).map(tuple),
)


@given(st.lists(steps, min_size=20, max_size=60), st.integers(1, 4))
def test_it_answers_as_the_verifier_does(steps: list[str | float | tuple[Key, ...]], size: int) -> None:
    """The same identity or refusal: before and after `exp`, with the clock put back, with keys that come and go."""
    keys, now = Keys(HMAC_KEY, OLD_KEY), float(NOW)
    verifier = verifier_of(keys)
    cache = VerifiedTokenCache(verifier.read, size)
    for step in steps:
        if isinstance(step, float):
            now += step
        elif isinstance(step, tuple):
            keys.keys = step
        else:
            assert outcome(cache.verify, step, now) == outcome(verifier.verify, step, now)
        assert len(cache) <= size


@given(st.lists(st.sampled_from([*TOKENS, "user", "token", "tenant"]), max_size=30))
def test_a_revocation_ends_a_token_that_is_known(steps: list[str]) -> None:
    """Revocations are checked with each request, for the cached identity as for the verifier's."""
    keys = Keys(HMAC_KEY, OLD_KEY)
    verifier, revocations = verifier_of(keys), Revocations()
    cache = VerifiedTokenCache(verifier.read)
    now = float(NOW)

    def judged(verify: Callable[[str, float], Identity]) -> Callable[[str, float], Identity]:
        def judge(token: str, now: float) -> Identity:
            identity = verify(token, now)
            revocations.check(identity, now)
            return identity

        return judge

    revoked = False
    for step in steps:
        now += 0.01
        if step == "user":
            revocations.add(ControlMessage("user_revoked", "acme", "bob", now, 600, through=now), now)
        elif step == "token":
            revocations.add(ControlMessage("token_revoked", "acme", "token-1", now, 600, through=now), now)
            revoked = True
        elif step == "tenant":
            revocations.add(ControlMessage("tenant_revoked", "acme", "", now, 600, through=now), now)
            revoked = True
        else:
            found = outcome(judged(cache.verify), step, now)
            assert found == outcome(judged(verifier.verify), step, now)
            assert not (revoked and isinstance(found, Identity))


class Reading:
    """A verifier's `read`, counted."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self.count = 0
        self._verifier = verifier

    def __call__(self, token: str) -> VerifiedToken:
        self.count += 1
        return self._verifier.read(token)


def test_a_token_is_read_once_for_as_long_as_its_keys_are_the_same() -> None:
    """Again where a key was replaced by one of the same name; and not at all with it once that is gone."""
    keys = Keys(HMAC_KEY, OLD_KEY)
    reading = Reading(verifier_of(keys))
    cache, token = VerifiedTokenCache(reading), forge()
    first = cache.verify(token, NOW)
    assert cache.verify(token, NOW + 1) is first
    assert reading.count == 1
    keys.keys = (HMAC_KEY,)  # another one is not its concern
    assert cache.verify(token, NOW + 2) is first
    keys.keys = (Key(HMAC_KEY.kid, "HS256", SECRET),)
    assert cache.verify(token, NOW + 3) == first
    assert reading.count == 2
    for gone in ((NAMESAKE,), ()):
        keys.keys = gone
        with pytest.raises(TokenInvalid):
            cache.verify(token, NOW + 4)
    assert len(cache) == 0


def test_refused_tokens_are_not_cached() -> None:
    """An expired token that was never valid here is not cached, and so no forged one is."""
    cache = VerifiedTokenCache(verifier_of(Keys(HMAC_KEY)).read)
    for token, error in ((forge(claims(exp=NOW)), TokenExpired), (forge(secret=bytes(32)), TokenInvalid)):
        with pytest.raises(error):
            cache.verify(token, NOW)
    assert len(cache) == 0


def test_the_token_that_was_not_shown_for_longest_goes_first() -> None:
    """So that those which are in use stay, however many others come by."""
    reading = Reading(verifier_of(Keys(HMAC_KEY)))
    cache, busy = VerifiedTokenCache(reading, 4), forge()
    for number in range(50):
        cache.verify(forge(claims(jti=f"passing-{number}")), NOW)
        cache.verify(busy, NOW)
    assert reading.count == 51
    assert len(cache) == 4


def test_a_token_that_is_known_expires() -> None:
    """To the second, and counts again where the clock was put back; before its time it does not count either."""
    cache, token = VerifiedTokenCache(verifier_of(Keys(HMAC_KEY)).read), forge(claims(iat=NOW, exp=NOW + 5))
    cache.verify(token, NOW)
    for now in (NOW + 5, NOW + 500):
        with pytest.raises(TokenExpired):
            cache.verify(token, now)
    assert cache.verify(token, NOW + 4.9).user_id == "alice@example.org"
    with pytest.raises(TokenInvalid):
        cache.verify(token, NOW - 6)
