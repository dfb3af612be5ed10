"""Token verification and issuance (RFC 7519, RFC 8725).

PyJWT signs, and checks signatures. The envelope is parsed here, since PyJWT's parsing is more lenient than the protocol
(repeated members, any `typ`, numbers in strings) and reads the clock.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, TypeVar

import jwt
from pydantic import ValidationError

from auth import base64url
from auth.claims import MEDIA_TYPE, Claims, Header, claim_reason, decode_object, read_header
from auth.errors import AuthError, ClaimRefused, TokenInvalid, TokenMissing, TokenTooLong
from auth.external import ClaimMapping
from auth.grants import Grants
from auth.identity import LONGER_LIVED, SCOPES, Identity
from auth.keys import Key, KeyRing, KeySource
from auth.verified_tokens import MAX_LENGTH, VerifiedToken
from schemas.rooms import DEFAULT_KINDS, RoomKinds

_algorithms = {name: jwt.get_algorithm_by_name(name) for name in ("HS256", "RS256", "ES256", "EdDSA")}

_T = TypeVar("_T")
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """A trusted `iss` and its keys, which sign for no other issuer: equal `kid`s of two issuers do not conflict.

    Its tokens are limited to these scopes, whatever they contain, and to these tenants, or any for None. `mapping` is
    for the tokens of an identity provider; without one they must have the gateway's own form.
    """

    issuer: str
    keys: KeySource
    scopes: frozenset[str] = frozenset(SCOPES)
    tenants: frozenset[str] | None = None
    mapping: ClaimMapping | None = None


class TokenVerifier:
    """The verifier of tokens.

    `audience` is the one accepted `aud`, the lifetimes are seconds from `iat` to `exp`: `max_admin_lifetime` for tokens
    with the scope admin or platform. A token that grants rooms of other kinds than `kinds` is invalid.
    """

    def __init__(
        self,
        issuers: Sequence[TrustedIssuer],
        audience: str,
        max_lifetime: int,
        max_admin_lifetime: int,
        kinds: RoomKinds = DEFAULT_KINDS,
    ) -> None:
        self.issuers: Final = {trusted.issuer: trusted for trusted in issuers}
        self.audience: Final = audience
        self.max_lifetime: Final = max_lifetime
        self.max_admin_lifetime: Final = max_admin_lifetime
        self.kinds: Final = kinds

    def verify(self, token: str, now: float) -> Identity:
        """The identity in `token`, checked at `now` (seconds since the epoch).

        Raises TokenMissing for "", TokenExpired for an expired one, TokenInvalid for anything else. Revocations are
        checked separately.
        """
        return self.read(token).holder(now)

    def read(self, token: str) -> VerifiedToken:
        """The content of `token` that does not depend on the time. Raises TokenMissing, TokenInvalid."""
        if token == "":
            raise TokenMissing
        issuer, header, keys, members = self._signed_claims(token)
        mapping = issuer.mapping
        claims = self._own_claims(members) if mapping is None else mapping.read(members, self.kinds)
        if issuer.tenants is not None and claims.tenant not in issuer.tenants:
            raise TokenInvalid("tenant")
        scopes = _scopes(claims.scope, issuer.scopes)
        maximum = self.max_lifetime if scopes.isdisjoint(LONGER_LIVED) else self.max_admin_lifetime
        expires_at = claims.exp
        if mapping is not None:
            maximum = mapping.max_lifetime or maximum
            if mapping.max_age is not None:
                expires_at = min(expires_at, claims.iat + mapping.max_age)
        if not 0 <= claims.exp - claims.iat <= maximum:
            raise TokenInvalid("lifetime")
        grants = _read("claim_rooms", self._grants, claims.rooms)
        identity = Identity(
            claims.sub,
            claims.tenant,
            grants,
            scopes,
            claims.jti,
            claims.iat,
            expires_at,
            claims.rate or None,
            claims.iss,
            claims.cutoff,
        )
        return VerifiedToken(identity, max(claims.iat, claims.nbf), issuer.keys, header, keys)

    def tenant_of(self, token: str) -> str:
        """The tenant that a token names, for its place in a queue; "" where it names none or is forged. Only an HMAC is
        checked, in 5 us: other signatures take up to 100, and their tokens may name a tenant that is not theirs."""
        try:
            _, header, keys, members, signed, proof = self._envelope(token)
            if header.algorithm == "HS256":
                _check_signature(keys, signed, proof)
        except TokenInvalid:
            return ""
        tenant = members.get("tenant")
        return tenant if isinstance(tenant, str) else ""

    def _grants(self, rooms: list[str]) -> Grants:
        return Grants.parse(rooms, self.kinds)

    def _own_claims(self, members: dict[str, Any]) -> Claims:
        reason = "audience"
        try:
            claims = Claims.model_validate(members)
            if claims.aud == self.audience:
                return claims
        except ValidationError as error:
            reason = claim_reason(error)
        # Raised outside the handler, so that no error that quotes the token is its context.
        raise TokenInvalid(reason)

    def _signed_claims(self, token: str) -> tuple[TrustedIssuer, Header, Sequence[Key], dict[str, Any]]:
        issuer, header, keys, members, signed, proof = self._envelope(token)
        _check_signature(keys, signed, proof)
        return issuer, header, keys, members

    def _envelope(self, token: str) -> tuple[TrustedIssuer, Header, Sequence[Key], dict[str, Any], bytes, bytes]:
        """The issuer that the claims name, the header and the keys that it may mean, the claims, what is signed, and
        the signature."""
        # The length is checked first, so that a text of 1 MiB costs nothing.
        if not isinstance(token, str) or len(token) > MAX_LENGTH:
            raise TokenInvalid("length")
        if token.count(".") != 2:
            raise TokenInvalid("shape")
        header, payload, signature = token.split(".")
        head = _read("header", _header, header)
        members = _read("payload", decode_object, _read("shape", base64url.decode, payload))
        # Nothing is trusted yet: `iss` selects a configured issuer, and no address in the token is used.
        name = members.get("iss")
        issuer = self.issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise TokenInvalid("issuer")
        check_header = _check_own_header if issuer.mapping is None else issuer.mapping.check_header
        check_header(head)
        candidates = issuer.keys.candidates(head.kid, head.algorithm)
        if not candidates:
            raise TokenInvalid("key_unknown")
        proof = _read("shape", base64url.decode, signature)
        return issuer, head, candidates, members, f"{header}.{payload}".encode(), proof


def _check_signature(keys: Sequence[Key], signed: bytes, proof: bytes) -> None:
    # The key determines the algorithm, not the header (RFC 8725 section 3.1).
    if not any(_algorithms[key.algorithm].verify(signed, key.material, proof) for key in keys):
        raise TokenInvalid("signature")


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token just issued. `expires_in` is seconds, `expires_at` seconds since the epoch, `scope` space-separated."""

    access_token: str = field(repr=False)
    expires_in: int
    expires_at: int
    token_id: str
    tenant: str
    rooms: tuple[str, ...]
    scope: str


class TokenIssuer:
    """The issuer of tokens of one `iss` and `aud`, signed by the newest key of `keyring`; UnusableKey if none can
    sign."""

    def __init__(self, keyring: KeyRing, issuer: str, audience: str, kinds: RoomKinds = DEFAULT_KINDS) -> None:
        self._key, self._signer = keyring.signing()
        self._issuer = issuer
        self._audience = audience
        self._kinds = kinds

    def issue(
        self,
        *,
        user_id: str,
        tenant: str,
        rooms: Iterable[str],
        scope: Iterable[str],
        expires_in: int,
        now: float,
        rate: int | None = None,
        cutoff: float = 0.0,
    ) -> IssuedToken:
        """A token good for `expires_in` seconds from `now`. Who may ask for it has been judged before (`delegate`).

        `cutoff` is the time of the user's newest revocation or removal (`Revocations.newest_cutoff`), stored as the
        claim `cutoff`: that cutoff and earlier ones do not end the token. Raises RoomInvalid, TooManyRooms,
        ClaimRefused, TokenTooLong rather than issue what `verify` would refuse.
        """
        grants = Grants.parse(rooms, self._kinds)
        asked = frozenset(scope)
        if not asked <= _all_scopes:
            raise ClaimRefused("scope")
        if expires_in < 1:
            raise ClaimRefused("expires_in")
        issued_at = int(now)
        payload: dict[str, object] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": user_id,
            "tenant": tenant,
            "rooms": list(grants.patterns),
            "scope": " ".join(word for word in SCOPES if word in asked),
            "iat": issued_at,
            "exp": issued_at + expires_in,
            "jti": secrets.token_urlsafe(16),
        }
        if rate is not None:
            payload["rate"] = rate
        if cutoff:
            payload["cutoff"] = cutoff
        try:
            claims = Claims.model_validate(payload)
        except ValidationError as error:
            raise ClaimRefused(str(error.errors()[0]["loc"][0])) from None
        headers = {"typ": MEDIA_TYPE, "kid": self._key.kid}
        token = jwt.encode(payload, self._signer, self._key.algorithm, headers)
        if len(token) > MAX_LENGTH:
            raise TokenTooLong(MAX_LENGTH)
        return IssuedToken(token, expires_in, claims.exp, claims.jti, tenant, grants.patterns, claims.scope)


_all_scopes = frozenset(SCOPES)
_HEADER_MEMBERS: Final = frozenset({"alg", "typ", "kid"})


@lru_cache(maxsize=64)  # an issuer's tokens have one header for as long as its key lasts
def _header(segment: str) -> Header:
    return read_header(base64url.decode(segment))


def _check_own_header(header: Header) -> None:
    """Raise TokenInvalid for a header that the gateway does not write.

    Other members bring keys along (`jwk`, `jku`, `x5c`), change what was signed (`b64`) or demand to be understood
    (`crit`). `typ` keeps other JWTs of the same issuer out (RFC 8725 section 3.11).
    """
    if header.type != MEDIA_TYPE:
        raise TokenInvalid("header_typ")
    if not header.members <= _HEADER_MEMBERS:
        raise TokenInvalid("header_member")


@lru_cache(maxsize=256)  # connections of one kind share the set as they share their grants
def _scopes(text: str, allowed: frozenset[str]) -> frozenset[str]:
    """The allowed scopes in `text`; other words are another API's. Split at the space alone (RFC 6749 section 3.3)."""
    return allowed.intersection(text.split(" "))


def _read(reason: str, read: Callable[[_T], _Read], what: _T) -> _Read:
    """`read(what)`, or TokenInvalid."""
    try:
        return read(what)
    except (AuthError, ValueError, RecursionError):
        pass
    # Out of the handler, so that no error comes along which quotes the token: JSONDecodeError holds the whole text.
    raise TokenInvalid(reason)
