"""Tokens of other issuers: mapping of an identity provider's claims (OpenID Connect, RFC 9068)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

from pydantic import ValidationError

from auth.claims import Header, MappedClaims, claim_reason
from auth.errors import TokenInvalid
from auth.identity import SCOPES
from schemas.rooms import RoomKinds

NO_TYPE: Final = "none"
"""The word for an absent `typ` in a list of types."""


@dataclass(frozen=True, slots=True)
class ClaimPath:
    """The path of a claim: a member's name, or a JSON Pointer (RFC 6901) to a nested one; the first of several that
    exists."""

    paths: tuple[tuple[str, ...], ...]

    @staticmethod
    def parse(*texts: str) -> "ClaimPath":
        """The path of texts that are pointers if they begin with `/`, else names. Raises ValueError."""
        return ClaimPath(tuple(_steps(text) for text in texts))

    def __str__(self) -> str:
        return " or ".join(_written(path) for path in self.paths)

    def find(self, claims: Mapping[str, Any]) -> Any:
        """The value, None if there is none."""
        for path in self.paths:
            found: Any = claims
            for step in path:
                found = _child(found, step)
            if found is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class ClaimMapping:
    """The mapping of one other issuer's tokens.

    `types` are the accepted `typ`s, in lower case; `audiences` are accepted values of `audience`, of which a token
    needs one. `tenants` maps values of the tenant claim to tenants and refuses others; None accepts all as they are.
    The defaults are for tokens without a room pattern, or without a scope of the gateway. Lifetimes are seconds; None
    leaves them to the verifier, and to `exp`.
    """

    audiences: frozenset[str]
    types: frozenset[str]
    audience: ClaimPath
    tenant: ClaimPath
    user: ClaimPath
    rooms: ClaimPath
    scope: ClaimPath
    tenants: Mapping[str, str] | None = field(default=None, hash=False)
    default_rooms: tuple[str, ...] = ()
    default_scope: str = ""
    max_lifetime: int | None = None
    max_age: int | None = None

    def check_header(self, header: Header) -> None:
        """Raise TokenInvalid for a type that is not accepted, and for critical members (`crit`).

        Other members are ignored: neither keys (`jwk`, `x5c`) nor addresses (`jku`) are read.
        """
        if (header.type or NO_TYPE) not in self.types:
            raise TokenInvalid("header_typ")
        if "crit" in header.members:
            raise TokenInvalid("header_crit")

    def read(self, claims: Mapping[str, Any], kinds: RoomKinds) -> MappedClaims:
        """The mapped claims, with the room patterns of these kinds. Raises TokenInvalid."""
        audience = self.audiences.intersection(_texts(self.audience.find(claims), "audience"))
        if not audience:
            raise TokenInvalid("audience")
        rooms = [room for room in _words(self.rooms.find(claims), "claim_rooms") if kinds.is_pattern(room)]
        scope = [word for word in _words(self.scope.find(claims), "claim_scope") if word in SCOPES]
        jti = claims.get("jti")
        mapped = {
            "iss": claims["iss"],
            "aud": min(audience),
            "sub": _single(self.user.find(claims)),
            "tenant": self._tenant(claims),
            "jti": jti if isinstance(jti, str) else "",
            "iat": _seconds(claims.get("iat")),
            "exp": _seconds(claims.get("exp")),
            "nbf": _seconds(claims.get("nbf", 0)),
            "rooms": list(dict.fromkeys(rooms)) or list(self.default_rooms),
            "scope": " ".join(scope) or self.default_scope,
            **({"rate": claims["rate"]} if "rate" in claims else {}),
        }
        reason = "claims"
        try:
            return MappedClaims.model_validate(mapped)
        except ValidationError as error:
            reason = claim_reason(error)
        raise TokenInvalid(reason)

    def _tenant(self, claims: Mapping[str, Any]) -> str | None:
        value = _single(self.tenant.find(claims))
        if self.tenants is None or value is None:
            return value
        if value not in self.tenants:
            raise TokenInvalid("tenant")
        return self.tenants[value]


def _steps(text: str) -> tuple[str, ...]:
    if not text.startswith("/"):
        return (text,)
    steps = text[1:].split("/")
    if any("~" in step.replace("~0", "").replace("~1", "") for step in steps):
        raise ValueError("in a JSON Pointer ~ is written ~0 and / is written ~1")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in steps)


def _written(path: tuple[str, ...]) -> str:
    if len(path) == 1:
        return path[0]
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in path)


def _child(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and step.isascii() and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    return None


def _single(value: Any) -> str | None:
    """The text or whole number in `value`, or in a list of one; None for anything else.

    Keycloak writes an organization as its name in a list, or as an object with details under the name.
    """
    if isinstance(value, dict) and all(isinstance(details, dict) for details in value.values()):
        value = list(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _texts(value: Any, reason: str) -> list[str]:
    """The texts in a list, or a single text. Raises TokenInvalid for other values."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise TokenInvalid(reason)
    return [item for item in value if isinstance(item, str)]


def _words(value: Any, reason: str) -> list[str]:
    """The texts in a list, or the space-separated words of a text (RFC 6749 section 3.3)."""
    return value.split(" ") if isinstance(value, str) else _texts(value, reason)


def _seconds(value: Any) -> Any:
    """A NumericDate without its fraction (RFC 7519 section 2)."""
    return int(value) if isinstance(value, float) and isfinite(value) else value
