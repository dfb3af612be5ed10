"""Ticket sealing: encryption (AES-256-GCM) of a stored token under its ticket, and its storage key."""

import re
from base64 import b64decode, b64encode
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

BYTES: Final = 24
"""Random bytes of a ticket: 192 bits cannot be guessed within its lifetime."""

_PERSON: Final = b"gateway-tickets"
_KEY_PERSON: Final = b"gateway-sealing"
"""A personalization other than that of the storage key, which must not reveal the encryption key."""
_NONCE: Final = bytes(12)
"""A fixed nonce, since each key encrypts once: a ticket is random and stands for one token."""

is_ticket: Final = re.compile(r"[A-Za-z0-9_-]{32}").fullmatch
"""Whether a text has the form of a ticket: base64url of `BYTES`. Others are not looked up."""


def name_of(ticket: str) -> str:
    """The storage key of a sealed token."""
    return blake2b(ticket.encode(), digest_size=24, person=_PERSON).hexdigest()


def seal(ticket: str, token: str) -> str:
    """The token, encrypted and authenticated under a key derived from the ticket."""
    return b64encode(_cipher(ticket).encrypt(_NONCE, token.encode(), None)).decode()


def unseal(ticket: str, sealed: str) -> str:
    """The token given to `seal`. Raises ValueError where `sealed` was changed or is of another ticket."""
    try:
        return _cipher(ticket).decrypt(_NONCE, b64decode(sealed, validate=True), None).decode()
    except InvalidTag:
        raise ValueError("not sealed with this ticket") from None


def _cipher(ticket: str) -> AESGCM:
    return AESGCM(blake2b(ticket.encode(), digest_size=32, person=_KEY_PERSON).digest())
