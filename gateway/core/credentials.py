"""Credentials in requests: the places for tokens and tickets, and their redaction from URLs."""

from collections.abc import Sequence
from typing import Final

from auth.errors import TokenInvalid, TokenMissing
from gateway.core.headers import Headers, Query, list_values, parse_query

BEARER_SUBPROTOCOL: Final = "gateway.bearer."
"""The prefix of a WebSocket subprotocol that carries a token."""

_SECRET_PARAMETERS: Final = ("token", "ticket")


class Secrets(tuple[str, ...]):
    """Strings that no representation, log or traceback shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"

    __str__ = __repr__


NO_SECRETS: Final = Secrets()


def require_single_token(tokens: Sequence[str]) -> str:
    """The single token among those sent. Raises `TokenMissing`, and `TokenInvalid` for two that differ."""
    if not tokens or not any(tokens):
        raise TokenMissing
    if any(token != tokens[0] for token in tokens[1:]):
        raise TokenInvalid("disagreeing")
    return tokens[0]


def bearer_tokens(query: Query, headers: Headers) -> Secrets:
    """All tokens of a request, in order of precedence."""
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
    """The tickets in a query, without empty ones."""
    return Secrets([value for name, value in query if name == "ticket" and value])


def redact_query(query_string: bytes) -> bytes:
    """The query string without credentials, fit for logs."""
    if not any(name.encode() in query_string for name in _SECRET_PARAMETERS) and b"%" not in query_string:
        return query_string
    kept = []
    for part in query_string.split(b"&"):
        # Decoded as `parse_qsl` does, or a spelling such as `%74oken` would pass.
        name = parse_query(part.partition(b"=")[0])
        if not (name and name[0][0] in _SECRET_PARAMETERS):
            kept.append(part)
    return b"&".join(kept)
