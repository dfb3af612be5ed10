"""Positions in a tenant's log, and their opaque wire form, cursors."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from auth import base64url
from gateway.core.errors import CursorInvalid

EPOCH_BYTES: Final = 7
_BLOCK_BYTES: Final = 16
_OFFSET_BYTES: Final = _BLOCK_BYTES - EPOCH_BYTES
_MAX_OFFSET: Final = 1 << 48
_PREFIX: Final = "evt_"
# 16 bytes are 22 characters of base64 and two of padding, which are left out.
CURSOR_LENGTH: Final = len(_PREFIX) + 22


def is_cursor(text: str) -> bool:
    """Whether a text has the form of a cursor; only its tenant's `Cursors` know whether it is one."""
    return len(text) == CURSOR_LENGTH and text.startswith(_PREFIX)


@dataclass(frozen=True, slots=True)
class Position:
    """A position in one tenant's log: just after the entry at `offset`; 0 is before the first one.

    `epoch` (7 bytes) identifies the log since its last reset: offsets of different epochs cannot be compared.
    """

    epoch: bytes
    offset: int


class Cursors:
    """The codec of one tenant's cursors.

    A cursor is the position as one block, encrypted with AES-256 (ECB) under a key of the tenant. Each position is a
    different block, so no mode with an IV is needed: an event has the same id on every node, ids do not reveal how many
    events lie between them, and a cursor of one tenant is invalid in another. There is no MAC: a forged cursor decrypts
    to random bytes and is refused for its offset, except one in 16 million, which has an unknown epoch. `keys` are the
    newest first: the first encodes and all decode, so that cursors outlive a rotation of the secret.
    """

    __slots__ = ("_decrypt", "_encrypt")

    def __init__(self, keys: tuple[bytes, ...], tenant: str) -> None:
        own = [blake2b(tenant.encode(), key=key, digest_size=32, person=b"gateway-tenant").digest() for key in keys]
        ciphers = [Cipher(AES(key), ECB()) for key in own]  # noqa: S305 - no two blocks are alike
        # In ECB mode a context has no state between blocks, so one is reused.
        self._encrypt = ciphers[0].encryptor().update
        self._decrypt = tuple(cipher.decryptor().update for cipher in ciphers)

    def encode(self, epoch: bytes, offset: int) -> str:
        block = self._encrypt(epoch + offset.to_bytes(_OFFSET_BYTES))
        return _PREFIX + base64url.encode(block)

    def decode(self, cursor: str) -> Position:
        """The position. Raises `CursorInvalid` for a text that is not a cursor of this tenant under a known key."""
        if not is_cursor(cursor):
            raise CursorInvalid
        try:
            block = base64url.decode(cursor[len(_PREFIX) :])
        except ValueError:
            raise CursorInvalid from None
        for decrypt in self._decrypt:
            plain = decrypt(block)
            offset = int.from_bytes(plain[EPOCH_BYTES:])
            if offset < _MAX_OFFSET:
                return Position(plain[:EPOCH_BYTES], offset)
        raise CursorInvalid
