"""Where a request carries its token or ticket, and how a URL is stripped of them for logs."""

from collections.abc import Sequence
from typing import Final

from auth.errors import TokenInvalid, TokenMissing
from gateway.core.headers import Headers, Query, list_values, parse_query

BEARER_SUBPROTOCOL: Final = "gateway.bearer."
"""Of a WebSocket subprotocol that carries a token, what comes before it."""

_SECRET_PARAMETERS: Final = ("token", "ticket")


class Secrets(tuple[str, ...]):
    """Texts that show in no representation, log or traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"

    __str__ = __repr__


NO_SECRETS: Final = Secrets()


def require_single_token(tokens: Sequence[str]) -> str:
    """The token to believe among those that came. Raises `TokenMissing`, and `TokenInvalid` for two that disagree."""
    if not tokens or not any(tokens):
        raise TokenMissing
    if any(token != tokens[0] for token in tokens[1:]):
        raise TokenInvalid("disagreeing")
    return tokens[0]


def bearer_tokens(query: Query, headers: Headers) -> Secrets:
    """Every token in the places where a client may put one, the first place first."""
    tokens: list[str] = []
    for value in headers.get(b"authorization", ()):
        scheme, _, credentials = value.decode("latin-1").partition(" ")
        if scheme.lower() == "bearer":
            tokens.append(credentials.strip())
    offered = list_values(headers, b"sec-websocket-protocol")
    tokens += [word[len(BEARER_SUBPROTOCOL) :] for word in offered if word.startswith(BEARER_SUBPROTOCOL)]
    tokens += [value for name, value in query if name == "token"]
    return Secrets(tokens)


def tickets_from(query: Query) -> Secrets:
    """The tickets in a query. One that is empty is none."""
    return Secrets([value for name, value in query if name == "ticket" and value])


def redact_query(query_string: bytes) -> bytes:
    """The query string with the credentials taken out, fit for logs."""
    if not any(name.encode() in query_string for name in _SECRET_PARAMETERS) and b"%" not in query_string:
        return query_string
    kept = []
    for part in query_string.split(b"&"):
        # As `parse_qsl` reads the name, or a spelling such as `%74oken` would pass.
        name = parse_query(part.partition(b"=")[0])
        if not (name and name[0][0] in _SECRET_PARAMETERS):
            kept.append(part)
    return b"&".join(kept)
