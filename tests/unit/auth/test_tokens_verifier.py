"""Verification of tokens, and the choice of the key."""

import time
from collections.abc import Sequence
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.errors import TokenExpired, TokenInvalid
from auth.keys import Key, KeyRing, hmac_key
from auth.tokens import TokenIssuer, TokenVerifier, TrustedIssuer
from tests.support.forge import (
    ABSENT,
    ADMIN_LIFETIME,
    AUDIENCE,
    EC_KEY,
    ED_KEY,
    HMAC_KEY,
    ISSUER,
    LIFETIME,
    NOW,
    OLD_SECRET,
    OTHER_ISSUER,
    OTHER_KEY,
    RSA_KEY,
    SECRET,
    claims,
    forge,
    header,
    verifier,
    with_claim,
)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(forge(claims(exp=NOW + 1)), id="a second before exp"),
        pytest.param(forge(claims(iat=NOW + 5)), id="issued by a clock 5 s ahead"),
        pytest.param(forge(claims(nbf=NOW + 5)), id="nbf by a clock 5 s ahead"),
        pytest.param(forge(claims(nbf=NOW - 1000)), id="nbf past"),
        pytest.param(forge(claims(iat=NOW, exp=NOW + LIFETIME)), id="a user's longest life"),
        pytest.param(forge(claims(scope="admin", iat=NOW, exp=NOW + ADMIN_LIFETIME)), id="an admin's longest life"),
        pytest.param(
            forge(claims(scope="platform", iat=NOW, exp=NOW + ADMIN_LIFETIME)), id="the platform's longest life"
        ),
        pytest.param(forge(head=header(typ="AT+JWT")), id="typ in capitals"),
        pytest.param(forge(head=header(kid=ABSENT)), id="no kid"),
        pytest.param(forge(claims(email="a@b", groups=["x"], cnf={"jkt": "y"})), id="claims nobody reads"),
        pytest.param(forge(claims(rooms=ABSENT, scope=ABSENT)), id="neither rooms nor scope"),
        pytest.param(forge(claims(rooms=[f"circle:{n}" for n in range(128)])), id="128 rooms"),
        pytest.param(forge(claims(sub="auth0|5f7c-8e.9_0+x@y")), id="a sub of an identity provider"),
    ],
)
def test_good_token_is_taken(token: str) -> None:
    """The edges of what is allowed are allowed."""
    assert verifier().verify(token, NOW).tenant == "acme"


def test_identity_is_what_the_token_says() -> None:
    """Every claim ends up where it belongs."""
    identity = verifier().verify(forge(claims(rate=7)), NOW)
    assert identity.user_id == "alice@example.org"
    assert identity.tenant == "acme"
    assert identity.grants.patterns == ("circle:1", "project:*")
    assert identity.scopes == {"subscribe", "publish"}
    assert identity.token_id == "token-1"
    assert (identity.issued_at, identity.expires_at) == (NOW - 10, NOW + 600)
    assert identity.rate == 7


def test_absent_claims_grant_nothing() -> None:
    """Without rooms, scope and rate there are no rooms, no scopes and no rate of its own."""
    identity = verifier().verify(forge(claims(rooms=ABSENT, scope=ABSENT)), NOW)
    assert (identity.grants.patterns, identity.scopes, identity.rate) == ((), frozenset(), None)


@pytest.mark.parametrize(
    ("scope", "known"),
    [
        ("openid email subscribe", {"subscribe"}),
        ("subscribe  publish ", {"subscribe", "publish"}),
        ("Admin PLATFORM", set()),
        ("publish\u00a0admin\tplatform\nadmin", set()),
        ("administrator superadmin admin:read", set()),
        ("subscribe,publish", set()),
    ],
)
def test_only_the_four_scopes_count(scope: str, known: set[str]) -> None:
    """Other words are another API's, and nothing but the space parts words."""
    assert verifier().verify(forge(claims(scope=scope)), NOW).scopes == known


def test_token_expires_at_exp_and_not_later() -> None:
    """Good in the last millisecond, not in the next."""
    token = forge(claims(exp=NOW + 60))
    assert verifier().verify(token, NOW + 59.999).expires_at == NOW + 60
    with pytest.raises(TokenExpired) as caught:
        verifier().verify(token, NOW + 60)
    assert caught.value.expires_at == NOW + 60


@pytest.mark.parametrize("key", [HMAC_KEY, RSA_KEY, EC_KEY, ED_KEY], ids=lambda key: key.algorithm)
@pytest.mark.parametrize("named", [True, False], ids=["with kid", "without kid"])
def test_each_algorithm_verifies(key: Key, named: bool) -> None:
    """PyJWT's own signatures of all four algorithms are taken."""
    headers = {"typ": "at+jwt"} | ({"kid": key.kid} if named else {})
    assert key.signer is not None
    token = jwt.encode(claims(), key.signer, key.algorithm, headers)
    assert verifier().verify(token, NOW).token_id == "token-1"


@pytest.mark.parametrize("key", [HMAC_KEY, RSA_KEY, EC_KEY, ED_KEY], ids=lambda key: key.algorithm)
def test_signature_has_one_spelling(key: Key) -> None:
    """The last character's unused bits are zero; a decoder that ignores them takes up to 16 texts for one token."""
    assert key.signer is not None
    token = jwt.encode(claims(), key.signer, key.algorithm, {"typ": "at+jwt", "kid": key.kid})
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    taken = []
    for last in alphabet:
        try:
            verifier().verify(token[:-1] + last, NOW)
        except TokenInvalid:
            continue
        taken.append(last)
    assert taken == [token[-1]]


def test_rotated_key_verifies_until_it_is_taken_out() -> None:
    """The newest key signs, the older one still verifies; out of the ring it does not."""
    old, new = hmac_key(OLD_SECRET), hmac_key(SECRET)
    token = issuer(KeyRing([old])).issue(**WANTED).access_token
    assert trusting(KeyRing([new, old])).verify(token, NOW).user_id == "bob"
    with pytest.raises(TokenInvalid):
        trusting(KeyRing([new])).verify(token, NOW)
    newer = issuer(KeyRing([new, old])).issue(**WANTED).access_token
    assert trusting(KeyRing([new])).verify(newer, NOW).user_id == "bob"


def test_same_kid_of_two_issuers_is_two_keys() -> None:
    """An issuer cannot sign for another, whatever it calls its key (CVE-2026-49998)."""
    mine, theirs = Key("1", "HS256", SECRET, SECRET), Key("1", "HS256", OLD_SECRET, OLD_SECRET)
    issuers = [TrustedIssuer(ISSUER, KeyRing([mine])), TrustedIssuer(OTHER_ISSUER, KeyRing([theirs]))]
    both = TokenVerifier(issuers, AUDIENCE, LIFETIME, ADMIN_LIFETIME)
    for iss, right, wrong in ((ISSUER, SECRET, OLD_SECRET), (OTHER_ISSUER, OLD_SECRET, SECRET)):
        for head in (header(kid="1"), header(kid=ABSENT)):
            assert both.verify(forge(claims(iss=iss), head, right), NOW).token_id == "token-1"
            with pytest.raises(TokenInvalid):
                both.verify(forge(claims(iss=iss), head, wrong), NOW)


def test_keys_may_change_while_the_verifier_lives() -> None:
    """The source is asked each time, and only with what the header says."""

    class Source:
        keys: Sequence[Key] = ()
        asked: list[tuple[str | None, str]] = []  # noqa: RUF012 - one instance, in this test

        def candidates(self, kid: str | None, algorithm: str) -> Sequence[Key]:
            self.asked.append((kid, algorithm))
            return self.keys

    source = Source()
    changing = TokenVerifier([TrustedIssuer(OTHER_ISSUER, source)], AUDIENCE, LIFETIME, ADMIN_LIFETIME)
    token = forge(claims(iss=OTHER_ISSUER), header(kid="other"), OLD_SECRET)
    with pytest.raises(TokenInvalid):
        changing.verify(token, NOW)
    source.keys = [OTHER_KEY]
    assert changing.verify(token, NOW).token_id == "token-1"
    assert source.asked == [("other", "HS256")] * 2


def test_algorithm_is_the_keys_even_if_a_source_errs() -> None:
    """A source that answers with a key of another algorithm does not get it used as the header says."""

    class Source:
        def candidates(self, kid: str | None, algorithm: str) -> Sequence[Key]:
            return [RSA_KEY]

    careless = TokenVerifier([TrustedIssuer(ISSUER, Source())], AUDIENCE, LIFETIME, ADMIN_LIFETIME)
    with pytest.raises(TokenInvalid):
        careless.verify(forge(), NOW)


WANTED: dict[str, Any] = {
    "user_id": "bob",
    "tenant": "acme",
    "rooms": ["circle:1"],
    "scope": ["subscribe"],
    "expires_in": 60,
    "now": NOW,
}


def issuer(ring: KeyRing) -> TokenIssuer:
    """An issuer of ISSUER and AUDIENCE."""
    return TokenIssuer(ring, ISSUER, AUDIENCE)


def trusting(ring: KeyRing) -> TokenVerifier:
    """A verifier that trusts ISSUER with one ring."""
    return TokenVerifier([TrustedIssuer(ISSUER, ring)], AUDIENCE, LIFETIME, ADMIN_LIFETIME)


mutations = st.tuples(st.integers(0, 4095), st.characters(codec="utf-8"))


@given(st.lists(mutations, min_size=1, max_size=4))
def test_changed_token_is_invalid_or_the_same(changes: list[tuple[int, str]]) -> None:
    """No change of characters makes another identity, nor any error beside TokenInvalid."""
    good = forge()
    changed = list(good)
    for place, character in changes:
        changed[place % len(good)] = character
    try:
        identity = verifier().verify("".join(changed), NOW)
    except TokenInvalid:
        return
    assert "".join(changed) == good
    assert identity == verifier().verify(good, NOW)


@given(st.text() | st.text("AQgw.-_=", max_size=60))
def test_any_text_is_refused_by_an_auth_error(text: str) -> None:
    """Unsigned text raises no other exception."""
    with pytest.raises(TokenInvalid):
        verifier().verify(text or ".", NOW)


def test_accepted_tokens_are_accepted_by_pyjwt() -> None:
    """The reading here is stricter than PyJWT's and otherwise the same."""
    now = int(time.time())
    token = forge(claims(iat=now, exp=now + 60))
    options: Any = {"require": ["exp", "iat", "sub", "aud", "iss", "jti"], "strict_aud": True}
    decoded = jwt.decode(token, SECRET, ["HS256"], options, audience=AUDIENCE, issuer=ISSUER)
    identity = verifier().verify(token, now)
    assert (identity.user_id, identity.token_id) == (decoded["sub"], decoded["jti"])
    with pytest.raises(TokenInvalid):  # and this PyJWT takes
        verifier().verify(with_claim("exp", '"9_999_999_999"'), now)


def test_an_issuer_gives_no_more_than_it_may() -> None:
    """Other scopes are passed over, an administrator's longer life with them, and other tenants are refused. Another
    issuer's tokens are as they were."""
    bounded = TrustedIssuer(ISSUER, KeyRing([HMAC_KEY]), frozenset({"subscribe", "publish"}), frozenset({"acme"}))
    free = TrustedIssuer(OTHER_ISSUER, KeyRing([HMAC_KEY]))
    both = TokenVerifier([bounded, free], AUDIENCE, LIFETIME, ADMIN_LIFETIME)
    scope = "subscribe admin platform"
    assert both.verify(forge(claims(scope=scope)), NOW).scopes == {"subscribe"}
    long = claims(scope=scope, iat=NOW, exp=NOW + ADMIN_LIFETIME)
    for refused in (long, claims(tenant="globex")):
        with pytest.raises(TokenInvalid):
            both.verify(forge(refused), NOW)
    other = both.verify(forge({**long, "iss": OTHER_ISSUER, "tenant": "globex"}), NOW)
    assert other.scopes == {"subscribe", "admin", "platform"}
    assert other.tenant == "globex"
