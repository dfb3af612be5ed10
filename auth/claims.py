"""What a token says: its header and its claims, read more strictly than JSON and RFC 7519 ask (PROTOCOL section 2)."""

import json
from typing import Annotated, Any, Final, NoReturn

from pydantic import BaseModel, ConfigDict, Field

from schemas.rooms import ID_PATTERN, SUBJECT_PATTERN

MEDIA_TYPE: Final = "at+jwt"
CLOCK_SKEW: Final = 5
"""Seconds by which an issuer's clock may be ahead of ours."""

_HEADER_MEMBERS: Final = frozenset({"alg", "typ", "kid"})

Seconds = Annotated[int, Field(ge=0, lt=2**40)]


class Claims(BaseModel):
    """The claims that count here; others are passed over (RFC 7519 section 4). Times are seconds since the epoch.

    Nothing is converted: PyJWT takes `"exp": "9_999_999_999"` for a number. An absent `nbf` or `rate` is 0, and null is
    refused. Errors do not quote their input.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    iss: str
    aud: str
    # \A and \z of pydantic's regex engine: the whole text, with no newline after it.
    sub: Annotated[str, Field(pattern=rf"\A{SUBJECT_PATTERN}\z")]
    tenant: Annotated[str, Field(pattern=rf"\A{ID_PATTERN}\z")]
    jti: Annotated[str, Field(pattern=r"\A[!-~]{1,128}\z")]
    iat: Seconds
    exp: Seconds
    nbf: Seconds = 0
    rooms: list[str] = []
    scope: str = ""
    rate: Annotated[int, Field(gt=0, lt=2**31)] = 0


def decode_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`: UTF-8 without a mark, no member twice, no NaN. Raises ValueError, RecursionError."""
    decoded = _decoder.decode(data.decode())
    if not isinstance(decoded, dict):
        raise ValueError("not an object")
    return decoded


def read_header(data: bytes) -> tuple[str, str | None]:
    """`alg` and `kid` of a header. Raises ValueError, RecursionError.

    Members beyond `alg`, `typ` and `kid` are refused: they bring keys along (`jwk`, `jku`, `x5c`), change what was
    signed (`b64`) or demand to be understood (`crit`). `typ` keeps other JWTs of the same issuer out (RFC 8725 section
    3.11); being a media type, it may be written in either case (RFC 7515 section 4.1.9).
    """
    header = decode_object(data)
    algorithm, kid, kind = header.get("alg"), header.get("kid", ""), header.get("typ")
    if not header.keys() <= _HEADER_MEMBERS or not (isinstance(algorithm, str) and isinstance(kid, str)):
        raise ValueError("not a header for an access token")
    if not isinstance(kind, str) or kind.lower() != MEDIA_TYPE:
        raise ValueError("not an access token")
    return algorithm, kid if "kid" in header else None


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    decoded = dict(members)
    if len(decoded) != len(members):  # json would take the last, another reader the first
        raise ValueError("a member comes twice")
    return decoded


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
