"""Idempotency keys: deduplication of events that a publisher sends again."""

from typing import Final, NamedTuple

from gateway.core.errors import IdempotencyConflict, RateLimited

_GENERATIONS: Final = 4
_FINGERPRINT: Final = (1 << 64) - 1
_MILLISECONDS_BITS: Final = 48
_MILLISECONDS: Final = (1 << _MILLISECONDS_BITS) - 1


class Appended(NamedTuple):
    """Where and when (seconds since the epoch) the event of a key was appended."""

    offset: int
    at: float


def scoped_key(principal: str, key: str | None) -> str | None:
    """The key as logs remember it: keys of two principals are two keys, even where their texts are equal. `principal`
    holds no space, and is empty for code of this process."""
    return None if key is None else f"{principal} {key}"


class IdempotencyWindow:
    """The keys of one tenant, each remembered for at least `seconds` and at most a third longer.

    They live in generations that are dropped whole, so that forgetting costs nothing for each key. With a key are kept
    its offset, its time and 64 bits of a hash of the body, as one integer: about 200 bytes in all. When
    `max_keys` are in use, further ones are refused: forgetting one early would break the promise in silence.
    """

    __slots__ = ("_generations", "_length", "_max_keys", "_older", "_turned_at")

    def __init__(self, seconds: float = 120.0, max_keys: int = 500_000) -> None:
        self._length = seconds / (_GENERATIONS - 1)
        self._max_keys = max_keys
        self._generations: list[dict[str, int]] = [{}]
        self._older = 0
        self._turned_at = 0.0

    def claim(self, key: str, body: bytes, offset: int, at: float, now: float) -> Appended | None:
        """Where `body` was appended under `key`; or None, and from now on that is `offset`, `at` that time.

        `body` is without what differs from try to try, `now` in seconds of a clock that never goes back. Raises
        `IdempotencyConflict` where the key was used for another body.
        """
        if now - self._turned_at >= self._length:
            self._turn(now)
        # Python's own hash: keyed anew in each process, and the keys live no longer than that.
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
