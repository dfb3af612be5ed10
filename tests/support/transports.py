"""A transport without a socket."""

import json
from typing import Any

from gateway.core.frame import Batch
from gateway.core.transport import Kind


class FakeTransport:
    """A `Transport` that records its writes. Full after `capacity` frames, or while `full` is set, until it is reset;
    `ended` is how it was closed, `late` counts frames that came after that."""

    kind: Kind = "websocket"
    pings = True
    unacknowledged: int | None = 0

    def __init__(self, capacity: int | None = None, fd: int | None = None) -> None:
        self.capacity = capacity
        self.fd = fd
        self.full = False
        self.payloads: list[bytes] = []
        self.ended: tuple[int, str] | None = None
        self.late = 0
        self._decoded: list[dict[str, Any]] = []

    def write(self, batch: Batch) -> bool:
        if self.ended is not None:
            self.late += len(batch.frames)
            return True
        self.payloads += [frame.payload for frame in batch.frames]
        return not self.full and (self.capacity is None or len(self.payloads) < self.capacity)

    def close(self, code: int, reason: str) -> None:
        self.ended = self.ended or (int(code), str(reason))

    def abort(self) -> None:
        self.ended = self.ended or (1006, "")

    @property
    def offsets(self) -> list[int]:
        """Where the payloads are the offsets of `tests.support.entries`."""
        return [int(payload) for payload in self.payloads]

    @property
    def frames(self) -> list[dict[str, Any]]:
        """Where they are JSON."""
        self._decoded += [json.loads(payload) for payload in self.payloads[len(self._decoded) :]]
        return self._decoded

    @property
    def kinds(self) -> list[str]:
        return [frame["type"] for frame in self.frames]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if "event_id" in frame]

    def last(self, kind: str) -> dict[str, Any]:
        return next(frame for frame in reversed(self.frames) if frame["type"] == kind)
