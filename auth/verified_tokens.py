"""Verified tokens, and a bounded cache of them: a publisher shows one token with every request."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from auth.claims import Header
from auth.errors import TokenExpired, TokenInvalid
from auth.identity import Identity
from auth.issue_time import is_early
from auth.keys import Key, KeySource

MAX_LENGTH: Final = 4096
"""Characters of a token."""

MAX_CACHED: Final = 1024
"""Tokens in a cache: some 10 MB at worst, where each grants 128 rooms with long names of its own."""


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token whose signature and claims are good: its holder, and the keys that its header meant then.

    Neither is for good: `holder` asks the clock, `keys_unchanged` the keys.
    """

    identity: Identity
    not_before: int
    source: KeySource
    header: Header
    keys: Sequence[Key]

    def holder(self, now: float) -> Identity:
        """The identity, judged at `now` (seconds since the epoch). Raises `TokenInvalid`, `TokenExpired`."""
        if is_early(self.not_before, now):
            raise TokenInvalid("not_yet_valid")
        # No leeway here: an expired token gets nothing more within 2 s.
        if self.identity.expires_at <= now:
            raise TokenExpired(self.identity.expires_at)
        return self.identity

    def keys_unchanged(self) -> bool:
        """Whether the header means the same keys as before, which are compared as objects."""
        return self.source.candidates(self.header.kid, self.header.algorithm) == self.keys


class VerifiedTokenCache:
    """A cache in front of `read` (`TokenVerifier.read`) with the same results: it saves decoding and verifying a token
    that was valid a moment ago. Expiry and keys are checked each time, so that a token ends with its `exp` and with the
    key that signed it; revocation is checked by `Revocations`, each time as well. Tokens are known by their SHA-256,
    and no text of one is kept. At most `size` tokens, only valid ones, least recently used first out (LRU); time is
    O(1)."""

    def __init__(self, read: Callable[[str], VerifiedToken], size: int = MAX_CACHED) -> None:
        self._read = read
        self._size = size
        self._known: OrderedDict[bytes, VerifiedToken] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def verify(self, token: str, now: float) -> Identity:
        """The identity in `token`, as `TokenVerifier.verify` has it, with the same errors."""
        if len(token) > MAX_LENGTH:  # hashing it would take longer than refusing it
            return self._read(token).holder(now)
        known, digest = self._known, sha256(token.encode("utf-8", "surrogatepass")).digest()
        found = known.get(digest)
        if found is not None and found.keys_unchanged():
            known.move_to_end(digest)
            return found.holder(now)
        known.pop(digest, None)
        found = self._read(token)
        identity = found.holder(now)
        known[digest] = found
        if len(known) > self._size:
            known.popitem(last=False)
        return identity
