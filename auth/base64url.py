"""Base64url without padding (RFC 7515 section 2), in its one canonical spelling."""

import re
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from typing import Final

# The last character of an incomplete group holds bits that a decoder throws away. Only zero is taken for them, or one
# signature would have several spellings. The groups are possessive, so that no text can make it backtrack.
CANONICAL: Final = r"(?:[A-Za-z0-9_-]{4})*+(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?"

_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_canonical = re.compile(CANONICAL).fullmatch


def encode(data: bytes) -> str:
    """The text for `data`."""
    return b2a_base64(data, newline=False).translate(_URL_SAFE, b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of `text`; ValueError if it is not canonical."""
    if _canonical(text) is None:
        raise ValueError("not canonical base64url")
    return decode_canonical(text)


def decode_canonical(text: str) -> bytes:
    """The bytes of `text`, which matched CANONICAL before."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
