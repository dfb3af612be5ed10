"""Request headers and query strings in the form of ASGI (RFC 9110 section 5)."""

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qsl

Headers = Mapping[bytes, Sequence[bytes]]
"""The values of each header, in order, by lower-case name."""

Query = list[tuple[str, str]]


def group_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """`Headers` of the pairs that servers pass, whose names are in lower case already."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    return values


def list_values(headers: Headers, name: bytes) -> list[str]:
    """The elements of a list-valued header."""
    return [word.strip() for value in headers.get(name, ()) for word in value.decode("latin-1").split(",")]


def parse_query(query_string: bytes) -> Query:
    """The parameters of a query string, in order; invalid UTF-8 becomes U+FFFD, which no grammar here accepts."""
    text = query_string.decode("latin-1")
    if "%" in text or "+" in text:
        return parse_qsl(text, keep_blank_values=True, errors="replace")
    # The same for a query without percent-encoding, at a fifth of the cost: every connection pays for this.
    return [(name, value) for name, _, value in (part.partition("=") for part in text.split("&") if part)]
