"""Token inspection for people: content, verdict, and the reason of a refusal."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from auth import base64url
from auth.claims import MEDIA_TYPE, decode_object
from auth.errors import AuthError, TokenExpired, TokenInvalid
from auth.external import NO_TYPE, ClaimMapping
from auth.identity import Identity
from auth.issue_time import CLOCK_SKEW
from auth.tokens import TokenVerifier
from auth.verified_tokens import MAX_LENGTH
from schemas.rooms import ID_GRAMMAR

_LONGEST: Final = 200
"""Characters of a claim in an explanation."""

_CLAIM_SETTINGS: Final = {
    "sub": "GATEWAY_EXTERNAL_USER_CLAIM",
    "tenant": "GATEWAY_EXTERNAL_TENANT_CLAIM",
    "rooms": "GATEWAY_EXTERNAL_ROOMS_CLAIM",
    "scope": "GATEWAY_EXTERNAL_SCOPE_CLAIM",
}

_FORMS: Final = {
    "aud": "one text",
    "sub": "needed: at most 128 letters, digits and ._@+|-, a letter or digit first",
    "tenant": f"needed: {ID_GRAMMAR}",
    "jti": "1 to 128 printable ASCII characters",
    "iat": "needed: a whole number, in seconds since 1970",
    "exp": "needed: a whole number, in seconds since 1970",
    "nbf": "a whole number, in seconds since 1970",
    "rooms": "a list of at most 128 patterns such as circle:1, circle:* or tenant, of the kinds in GATEWAY_ROOM_KINDS",
    "scope": "words separated by spaces, or with an identity provider a list",
    "rate": "a whole number above 0, in events a second",
    "cutoff": "a number, in seconds since 1970",
}


@dataclass(frozen=True, slots=True)
class TokenInspection:
    """The content of a token and the verdict: an identity, or the `reason` of the refusal and a sentence about it."""

    header: dict[str, Any] | None
    claims: dict[str, Any] | None
    identity: Identity | None = None
    reason: str = ""
    explanation: str = ""


def inspect_token(token: str, verifier: TokenVerifier, now: float) -> TokenInspection:
    """Inspect `token` as the gateway would verify it at `now`, except for revocations."""
    parts = token.split(".")
    header, claims = _decoded(parts[0]), _decoded(parts[1] if len(parts) > 1 else "")
    try:
        return TokenInspection(header, claims, verifier.verify(token, now))
    except TokenInvalid as error:
        explanation = _explanation(error.reason, token, header or {}, claims or {}, verifier, now)
        return TokenInspection(header, claims, None, error.reason, explanation)
    except TokenExpired as error:
        ago = int(now) - error.expires_at
        return TokenInspection(header, claims, None, error.code, f"it ended {ago} seconds ago; get a fresh one")
    except AuthError as error:
        return TokenInspection(header, claims, None, error.code, str(error))


@dataclass(frozen=True, slots=True)
class TokenRights:
    """The rights of a token's holder, in words."""

    follows: str
    publishes: str
    revocable_by: str


def member_texts(members: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The members of a header or of claims as JSON text in ASCII, which is safe to show."""
    for name, value in members.items():
        try:
            text = json.dumps(value)
        except RecursionError:
            text = "nested too deeply"
        yield json.dumps(name)[1:-1], text


def rights_of(identity: Identity) -> TokenRights:
    rooms = ", ".join(identity.grants.patterns)
    own = f"user:{identity.user_id}"
    follows = f"{own}, {rooms}" if rooms else own
    if not identity.has_scope("subscribe"):
        follows = f"{own} only, without the scope subscribe"
    if identity.has_scope("platform"):
        publishes = "everywhere, in every tenant"
    elif identity.has_scope("admin"):
        publishes = "everywhere in its tenant"
    else:
        publishes = (rooms or own) if identity.has_scope("publish") else "nothing, without the scope publish"
    revocable_by = "jti, user or tenant" if identity.token_id else "user or tenant, since it has no jti"
    return TokenRights(follows, publishes, revocable_by)


def pasted_token(text: str) -> str:
    """The token in a text as copied: with the scheme of its header, in quotes, or broken into lines."""
    return "".join(text.split()).strip("'\"").removeprefix("Bearer")


def _decoded(segment: str) -> dict[str, Any] | None:
    with suppress(ValueError, RecursionError):
        return decode_object(base64url.decode(segment))
    return None


def _explanation(
    reason: str,
    token: str,
    header: Mapping[str, Any],
    claims: Mapping[str, Any],
    verifier: TokenVerifier,
    now: float,
) -> str:
    """The explanation of a refusal, with values of the token and a remedy."""
    trusted = verifier.issuers.get(claims["iss"]) if isinstance(claims.get("iss"), str) else None
    mapping = None if trusted is None else trusted.mapping
    if reason.startswith("claim_"):
        return _about_claim(reason.removeprefix("claim_"), claims, mapping)
    if reason == "length":
        return f"it has {len(token):,} characters, and the maximum is {MAX_LENGTH:,}; leave groups and roles out"
    if reason == "shape":
        return (
            "it is not a JWT, which has three parts of base64url separated by dots; for an opaque access token, "
            "ask the provider for one for an API (audience)"
        )
    if reason in ("header", "payload"):
        return f"its {reason} is not a JSON object with unique members"
    if reason == "issuer":
        return f"iss is {_shown(claims.get('iss'))}; accepted: {_listed(verifier.issuers)}; set GATEWAY_EXTERNAL_ISSUER"
    if reason == "header_typ":
        types = (MEDIA_TYPE,) if mapping is None else sorted(mapping.types)
        hint = "" if mapping is None else "; set GATEWAY_EXTERNAL_PROVIDER or GATEWAY_EXTERNAL_TYPES"
        return f"typ of the header is {_shown(header.get('typ', NO_TYPE))}; accepted: {_listed(types)}{hint}"
    if reason in ("header_member", "header_crit"):
        return f"the header has {_listed(header.keys() - {'alg', 'typ', 'kid'})}, which must not be there"
    if reason == "key_unknown":
        hint = "GATEWAY_JWT_SECRET or the keys" if mapping is None else "GATEWAY_EXTERNAL_JWKS_URL or _SECRET"
        return (
            f"no key with the kid {_shown(header.get('kid'))} for the algorithm {_shown(header.get('alg'))}; "
            f"look at {hint}, and whether the keys could be fetched"
        )
    if reason == "signature":
        return "it was not signed with a key that is configured here, or was modified; compare the keys"
    if reason == "audience":
        accepted, setting = [verifier.audience], "GATEWAY_JWT_AUDIENCE"
        if mapping is not None:
            accepted, setting = sorted(mapping.audiences), "GATEWAY_EXTERNAL_AUDIENCE"
        found = claims.get("aud") if mapping is None else mapping.audience.find(claims)
        return f"aud is {_shown(found)}; accepted: {_listed(accepted)}; set {setting}"
    if reason == "tenant" and mapping is not None:
        return (
            f"the tenant {_shown(mapping.tenant.find(claims))} is not one of {_listed(mapping.tenants or ())}; "
            "add it to GATEWAY_EXTERNAL_TENANTS, as value=tenant to rename it"
        )
    if reason == "lifetime":
        return _about_lifetime(claims, verifier, mapping)
    if reason == "not_yet_valid":
        ahead = max(_number(claims.get("iat")), _number(claims.get("nbf"))) - now
        return f"iat or nbf is {ahead:.0f} seconds ahead, more than the {CLOCK_SKEW} allowed; synchronise the clocks"
    return "it is not valid here; get a token of this gateway"


def _about_claim(name: str, claims: Mapping[str, Any], mapping: ClaimMapping | None) -> str:
    value = claims.get(name)
    hint = ""
    if mapping is not None and name in _CLAIM_SETTINGS:
        path = {"sub": mapping.user, "tenant": mapping.tenant, "rooms": mapping.rooms, "scope": mapping.scope}[name]
        value = path.find(claims)
        hint = f"; set {_CLAIM_SETTINGS[name]} (now {path}), a nested claim as /outer/inner"
        if name == "tenant" and value is not None:
            hint = "; give it a tenant's name in GATEWAY_EXTERNAL_TENANTS, as value=tenant"
    return f"{name} is {_shown(value)}, and is {_FORMS[name]}{hint}"


def _about_lifetime(claims: Mapping[str, Any], verifier: TokenVerifier, mapping: ClaimMapping | None) -> str:
    lifetime = _number(claims.get("exp")) - _number(claims.get("iat"))
    if mapping is not None:
        maximum, setting = mapping.max_lifetime or verifier.max_lifetime, "GATEWAY_EXTERNAL_MAX_LIFETIME"
    else:
        maximum, setting = verifier.max_lifetime, "GATEWAY_MAX_TOKEN_LIFETIME"
    return f"the lifetime, exp - iat, is {lifetime:.0f} seconds, more than the maximum of {maximum}; set {setting}"


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else 0


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(json.dumps(name) for name in names) or "none"
