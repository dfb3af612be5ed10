"""Header and claims of a token, parsed more strictly than JSON and RFC 7519 require."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, Final, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.rooms import ID_PATTERN, SUBJECT_PATTERN, TOKEN_ID_PATTERN

MEDIA_TYPE: Final = "at+jwt"

Seconds = Annotated[int, Field(ge=0, lt=2**40)]


class Claims(BaseModel):
    """The claims that the gateway reads; others are ignored (RFC 7519 section 4). Times are seconds since the epoch.

    Nothing is converted: PyJWT accepts `"exp": "9_999_999_999"` as a number. An absent `nbf`, `rate` or `cutoff` is 0;
    null is refused. Errors do not quote their input.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    iss: str
    aud: str
    # \A and \z of pydantic's regex engine: the whole text, without a trailing newline.
    sub: Annotated[str, Field(pattern=rf"\A{SUBJECT_PATTERN}\z")]
    tenant: Annotated[str, Field(pattern=rf"\A{ID_PATTERN}\z")]
    jti: Annotated[str, Field(pattern=rf"\A{TOKEN_ID_PATTERN}\z")]
    iat: Seconds
    exp: Seconds
    nbf: Seconds = 0
    rooms: list[str] = []
    scope: str = ""
    rate: Annotated[int, Field(gt=0, lt=2**31)] = 0
    cutoff: Annotated[float, Field(ge=0, lt=2**40)] = 0.0


class MappedClaims(Claims):
    """The claims of another issuer's token after mapping. `jti` may be empty: such a token cannot be revoked by its
    id."""

    jti: Annotated[str, Field(pattern=rf"\A(?:{TOKEN_ID_PATTERN})?\z")] = ""


@dataclass(frozen=True, slots=True)
class Header:
    """A token's header (RFC 7515 section 4). `type` is `typ` in lower case, "" if absent; `members` are the names of
    all members."""

    algorithm: str
    kid: str | None
    type: str
    members: frozenset[str]


def decode_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`: UTF-8 without a byte order mark, unique members, no NaN. Raises ValueError,
    RecursionError."""
    decoded = _decoder.decode(data.decode())
    if not isinstance(decoded, dict):
        raise ValueError("not an object")
    return decoded


def read_header(data: bytes) -> Header:
    """The header in `data`. Raises ValueError, RecursionError.

    `typ` is a media type, which may be written in either case (RFC 7515 section 4.1.9).
    """
    header = decode_object(data)
    algorithm, kid, kind = header.get("alg"), header.get("kid", ""), header.get("typ", "")
    if not (isinstance(algorithm, str) and isinstance(kid, str) and isinstance(kind, str)):
        raise ValueError("not a header of a signed token")
    return Header(algorithm, kid if "kid" in header else None, kind.lower(), frozenset(header))


def claim_reason(error: ValidationError) -> str:
    """The `TokenInvalid.reason` for the first invalid claim."""
    return f"claim_{error.errors(include_input=False, include_url=False)[0]['loc'][0]}"


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    decoded = dict(members)
    if len(decoded) != len(members):  # json would take the last, another reader the first
        raise ValueError("a member comes twice")
    return decoded


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
