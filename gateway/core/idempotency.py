"""Which idempotency keys a tenant has used of late, and for what."""

from hashlib import blake2b
from typing import Final

from gateway.core.errors import IdempotencyConflict, RateLimited

_GENERATIONS: Final = 4


class Keys:
    """The keys of one tenant, each remembered for at least `seconds` and at most a third longer.

    They live in generations that are dropped whole, so that forgetting costs nothing for each key. A key is kept as
    16 bytes of its hash, and its place and 8 bytes of the body's hash as one integer: about 150 bytes. When
    `max_keys` are in use, further ones are refused: forgetting one early would break the promise in silence.
    """

    __slots__ = ("_generations", "_length", "_max_keys", "_turned_at")

    def __init__(self, seconds: float = 120.0, max_keys: int = 1_000_000) -> None:
        self._length = seconds / (_GENERATIONS - 1)
        self._max_keys = max_keys
        self._generations: list[dict[bytes, int]] = [{}]
        self._turned_at = 0.0

    def find(self, key: str, body: bytes, now: float) -> int | None:
        """The offset at which `body` was appended under `key`, or None. Raises `IdempotencyConflict`.

        `now` is in seconds of a clock that never goes back. `body` is without what differs from try to try.
        """
        self._turn(now)
        digest = _digest(key.encode(), 16)
        for generation in self._generations:
            if (value := generation.get(digest)) is not None:
                offset, fingerprint = divmod(value, 1 << 64)
                if fingerprint != _fingerprint(body):
                    raise IdempotencyConflict
                return offset
        if sum(map(len, self._generations)) >= self._max_keys:
            raise RateLimited("too many idempotency keys in use in this tenant", self._length, self._max_keys)
        return None

    def remember(self, key: str, body: bytes, offset: int) -> None:
        self._generations[0][_digest(key.encode(), 16)] = offset << 64 | _fingerprint(body)

    def sweep(self, now: float) -> None:
        self._turn(now)

    def _turn(self, now: float) -> None:
        while now - self._turned_at >= self._length:
            idle = now - self._turned_at >= self._length * _GENERATIONS
            self._turned_at = now if idle else self._turned_at + self._length
            self._generations = [{}] if idle else [{}, *self._generations[: _GENERATIONS - 1]]


def _digest(data: bytes, size: int) -> bytes:
    return blake2b(data, digest_size=size).digest()


def _fingerprint(body: bytes) -> int:
    return int.from_bytes(_digest(body, 8))
