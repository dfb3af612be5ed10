"""Places in a tenant's log, and the opaque cursors that stand for them on the wire."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from gateway.core.errors import CursorInvalid

EPOCH_BYTES: Final = 7
_OFFSET_BYTES: Final = 6
_TAG_BYTES: Final = 8
_PLAIN_BYTES: Final = EPOCH_BYTES + _OFFSET_BYTES
# 21 bytes are 28 characters of base64, with no padding.
_PREFIX: Final = "evt_"
_LENGTH: Final = len(_PREFIX) + (_TAG_BYTES + _PLAIN_BYTES) * 4 // 3


@dataclass(frozen=True, slots=True)
class Position:
    """A place in one tenant's log: just after the entry at `offset`; 0 is before the first one.

    `epoch` (7 bytes) names one life of the log: offsets of different epochs cannot be compared.
    """

    epoch: bytes
    offset: int


class Cursors:
    """Encodes and decodes the positions of one tenant.

    A cursor is the position, encrypted and authenticated deterministically (the construction of RFC 5297, with keyed
    BLAKE2b as the two functions), so that the same event has the same id on every node, two ids say nothing about how
    many events lie between them, and a cursor of one tenant is no cursor of another's. `keys` are the newest first:
    the first encodes and all decode, so that changing the secret keeps the cursors that clients hold.
    """

    __slots__ = ("_codecs",)

    def __init__(self, keys: tuple[bytes, ...], tenant: str) -> None:
        self._codecs = tuple(_Codec(key, tenant) for key in keys)

    def encode(self, epoch: bytes, offset: int) -> str:
        return self._codecs[0].encode(epoch, offset)

    def decode(self, cursor: str) -> Position:
        """Raises `CursorInvalid` for everything that `encode` did not make for this tenant with a key still known."""
        if len(cursor) != _LENGTH or not cursor.startswith(_PREFIX) or "+" in cursor or "/" in cursor:
            raise CursorInvalid
        try:
            # The decoder takes both alphabets of base64 and skips what is in neither: many texts for one cursor.
            raw = urlsafe_b64decode(cursor[len(_PREFIX) :])
            if len(raw) != _TAG_BYTES + _PLAIN_BYTES:
                raise CursorInvalid
        except (Base64Error, ValueError):
            raise CursorInvalid from None
        for codec in self._codecs:
            if (position := codec.decode(raw)) is not None:
                return position
        raise CursorInvalid


class _Codec:
    __slots__ = ("_mac", "_pad")

    def __init__(self, key: bytes, tenant: str) -> None:
        # Copying a keyed state that was set up once is a third of the cost of keying each time.
        own = blake2b(tenant.encode(), key=key, digest_size=32, person=b"gateway-tenant").digest()
        self._mac = blake2b(key=own, digest_size=_TAG_BYTES, person=b"gateway-tag")
        self._pad = blake2b(key=own, digest_size=_PLAIN_BYTES, person=b"gateway-pad")

    def encode(self, epoch: bytes, offset: int) -> str:
        plain = epoch + offset.to_bytes(_OFFSET_BYTES)
        tag = self._tag(plain)
        return _PREFIX + urlsafe_b64encode(tag + self._xor(plain, tag)).decode()

    def decode(self, raw: bytes) -> Position | None:
        tag = raw[:_TAG_BYTES]
        plain = self._xor(raw[_TAG_BYTES:], tag)
        if self._tag(plain) != tag:
            return None
        return Position(plain[:EPOCH_BYTES], int.from_bytes(plain[EPOCH_BYTES:]))

    def _tag(self, plain: bytes) -> bytes:
        state = self._mac.copy()
        state.update(plain)
        return state.digest()

    def _xor(self, data: bytes, tag: bytes) -> bytes:
        state = self._pad.copy()
        state.update(tag)
        return (int.from_bytes(data) ^ int.from_bytes(state.digest())).to_bytes(_PLAIN_BYTES)
