"""Tickets, and what is kept of them: neither a ticket nor a token can be had from it."""

import re
from base64 import b64decode, b64encode
from hashlib import blake2b, shake_256
from typing import Final

BYTES: Final = 24
"""Random bytes of a ticket: 192 bits cannot be guessed within its lifetime."""

_PERSON: Final = b"gateway-tickets"

is_ticket: Final = re.compile(r"[A-Za-z0-9_-]{32}").fullmatch
"""Whether a text can be one, which spares asking for what cannot. The base64url of `BYTES`."""


def name_of(ticket: str) -> str:
    """The key that the sealed token is stored under."""
    return blake2b(ticket.encode(), digest_size=24, person=_PERSON).hexdigest()


def seal(ticket: str, token: str) -> str:
    """The token, to be read only by whoever has the ticket.

    A pad as long as the token, derived from a ticket that seals nothing else. Whether it was tampered with shows when
    the token's signature is verified.
    """
    return b64encode(_pad(ticket, token.encode())).decode()


def unseal(ticket: str, sealed: str) -> str:
    """The token that was given to `seal`; some other text where `sealed` is another ticket's, or nobody's."""
    try:
        return _pad(ticket, b64decode(sealed, validate=True)).decode("ascii", "replace")
    except ValueError:
        return "\ufffd"


def _pad(ticket: str, data: bytes) -> bytes:
    pad = shake_256(_PERSON + ticket.encode()).digest(len(data))
    return bytes(left ^ right for left, right in zip(data, pad, strict=True))
