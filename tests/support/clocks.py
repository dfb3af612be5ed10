"""Clocks that a test sets."""

import time


class AdjustableClock:
    """A wall clock that runs, `offset` seconds ahead of the real one."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset
