"""The version, which is that of the gateway in the same repository."""

from typing import Final

VERSION: Final = "0.1.0"
