"""What things are called in Redis, and how long they take and last."""

import secrets
from hashlib import blake2b
from typing import Final

KEY_SECONDS: Final = 121
IDLE_SECONDS: Final = 7 * 86_400


class KeySpace:
    """Keys and channels, each beginning with `prefix`. `probe` is this node's own, a key and a channel."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.probe = f"{prefix}:node:{secrets.token_hex(8)}"

    def log(self, tenant: str) -> list[str]:
        """The stream, and the hash with what is known of it."""
        return [f"{self._of(tenant)}:log", f"{self._of(tenant)}:meta"]

    def key(self, tenant: str, key: str | None) -> str:
        """Of an idempotency key; where there is none, one that the script does not touch, in the same slot."""
        return f"{self._of(tenant)}:key:{'' if key is None else blake2b(key.encode(), digest_size=16).hexdigest()}"

    def channel(self, tenant: str) -> str:
        return f"{self._of(tenant)}:live"

    def _of(self, tenant: str) -> str:
        # The braces make a cluster keep a tenant's keys together; a tenant's name has none.
        return f"{self._prefix}:{{{tenant}}}"
