"""Encryption (AES-256-GCM) of a stored token under its ticket, and the name that it is stored under."""

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
"""Another personalization than the name's: the name is stored, and says nothing of the key."""
_NONCE: Final = bytes(12)
"""Fixed, since each key encrypts once: a ticket is random and stands for one token."""

is_ticket: Final = re.compile(r"[A-Za-z0-9_-]{32}").fullmatch
"""Whether a text can be one, which spares asking for what cannot. The base64url of `BYTES`."""


def name_of(ticket: str) -> str:
    """The key that the sealed token is stored under."""
    return blake2b(ticket.encode(), digest_size=24, person=_PERSON).hexdigest()


def seal(ticket: str, token: str) -> str:
    """The token, encrypted and authenticated with a key that the ticket derives."""
    return b64encode(_cipher(ticket).encrypt(_NONCE, token.encode(), None)).decode()


def unseal(ticket: str, sealed: str) -> str:
    """The token that was given to `seal`. Raises ValueError where `sealed` was changed or is of another ticket."""
    try:
        return _cipher(ticket).decrypt(_NONCE, b64decode(sealed, validate=True), None).decode()
    except InvalidTag:
        raise ValueError("not sealed with this ticket") from None


def _cipher(ticket: str) -> AESGCM:
    return AESGCM(blake2b(ticket.encode(), digest_size=32, person=_KEY_PERSON).digest())
