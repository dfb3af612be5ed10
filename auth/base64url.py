"""Base64url without padding (RFC 7515 section 2), in canonical form only."""

from binascii import a2b_base64, b2a_base64
from typing import Final

_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def encode(data: bytes) -> str:
    """The canonical base64url text of `data`."""
    return b2a_base64(data, newline=False).translate(_URL_SAFE, b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of `text`; ValueError for a text that is not canonical."""
    spelled = text.encode("ascii").translate(_STANDARD)
    data = a2b_base64(spelled + b"=" * (-len(spelled) % 4))
    # The decoder ignores characters outside the alphabet and leftover bits: one signature would have many spellings.
    # Only the canonical one is accepted.
    if encode(data) != text:
        raise ValueError("not canonical base64url")
    return data
