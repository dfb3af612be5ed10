"""Idempotency keys: deduplication of retried events."""

from typing import Final, NamedTuple

from gateway.core.errors import IdempotencyConflict, RateLimited

_GENERATIONS: Final = 4
_FINGERPRINT: Final = (1 << 64) - 1
_MILLISECONDS_BITS: Final = 48
_MILLISECONDS: Final = (1 << _MILLISECONDS_BITS) - 1


class Appended(NamedTuple):
    """The offset and time (seconds since the epoch) of the event of a key."""

    offset: int
    at: float


def scoped_key(principal: str, key: str | None) -> str | None:
    """The key with its principal, so that equal keys of two principals differ. `principal` has no space, and is empty
    for in-process code."""
    return None if key is None else f"{principal} {key}"


class IdempotencyWindow:
    """The keys of one tenant, each remembered for at least `seconds` and at most a third longer.

    Keys live in generations that are dropped whole, so that expiry is O(1). An entry has the offset, the time and 64
    bits of a hash of the body, as one integer: about 200 bytes. Beyond `max_keys` new ones are refused: to drop one
    early would break the guarantee silently.
    """

    __slots__ = ("_generations", "_length", "_max_keys", "_older", "_turned_at")

    def __init__(self, seconds: float = 120.0, max_keys: int = 500_000) -> None:
        self._length = seconds / (_GENERATIONS - 1)
        self._max_keys = max_keys
        self._generations: list[dict[str, int]] = [{}]
        self._older = 0
        self._turned_at = 0.0

    def claim(self, key: str, body: bytes, offset: int, at: float, now: float) -> Appended | None:
        """The first append of `body` under `key`; or None, which records `offset` and `at` for it.

        `body` excludes everything that differs between retries; `now` is in seconds of a monotonic clock. Raises
        `IdempotencyConflict` where the key was used for another body.
        """
        if now - self._turned_at >= self._length:
            self._turn(now)
        # Python's hash is salted per process, which is as long as the keys live.
        fingerprint = hash(body) & _FINGERPRINT
        for generation in self._generations:
            if (value := generation.get(key)) is not None:
                if value & _FINGERPRINT != fingerprint:
                    raise IdempotencyConflict
                value >>= 64
                return Appended(value >> _MILLISECONDS_BITS, (value & _MILLISECONDS) / 1_000)
        if self._older + len(self._generations[0]) >= self._max_keys:
            raise RateLimited("too many idempotency keys in use in this tenant", self._length, self._max_keys)
        self._generations[0][key] = (offset << _MILLISECONDS_BITS | int(at * 1_000)) << 64 | fingerprint
        return None

    def release(self, key: str) -> None:
        """Forget a key that was claimed just now: its event was refused."""
        del self._generations[0][key]

    def sweep(self, now: float) -> None:
        if now - self._turned_at >= self._length:
            self._turn(now)

    def _turn(self, now: float) -> None:
        turns = int((now - self._turned_at) / self._length)
        if turns >= _GENERATIONS:
            self._turned_at, self._generations = now, [{}]
        else:
            self._turned_at += turns * self._length
            self._generations = [*({} for _ in range(turns)), *self._generations][:_GENERATIONS]
        self._older = sum(map(len, self._generations[1:]))
