"""The body of a request, kept in the parts in which it came.

A single buffer is copied whenever it has grown by an eighth: the last copies of 16 MiB hold the event loop for 9 ms
each.
"""

from bisect import bisect_right
from typing import Final

PART: Final = 256 * 1024
"""Bytes of a part: what uvloop reads at once. Smaller ones are joined up to there."""


class Body:
    """A body in parts. At most one part in two has less than `PART // 2` bytes, whatever the pieces that are appended.
    Reading costs O(log parts) and what is read."""

    __slots__ = ("_joined", "_starts", "parts", "size")

    def __init__(self) -> None:
        self.parts: list[bytes | bytearray] = []
        self._starts: list[int] = []
        self._joined: bytearray | None = None
        self.size = 0

    def append(self, piece: bytes) -> None:
        joined = self._joined
        if joined is not None and len(joined) + len(piece) <= PART:
            joined += piece
        else:
            self._joined = bytearray(piece) if len(piece) < PART // 2 else None
            self._starts.append(self.size)
            self.parts.append(piece if self._joined is None else self._joined)
        self.size += len(piece)

    def __len__(self) -> int:
        return self.size

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)

    def read(self, start: int, stop: int) -> bytes:
        """A copy of the bytes from `start` on and before `stop`."""
        found = []
        for at in range(max(0, bisect_right(self._starts, start) - 1), len(self.parts)):
            first = self._starts[at]
            if first >= stop:
                break
            part = memoryview(self.parts[at])
            found.append(part[max(0, start - first) : stop - first])
        return b"".join(found)
