"""Slices of a fan-out: one to a large room is divided, so that other tenants are served in between."""

from collections import deque
from typing import Final

from gateway.core.manager import Recipients

SLICE_COST: Final = 500
"""Microseconds of one slice."""

ALONE_SLICE_COST: Final = 20_000
"""Microseconds of one slice while no other tenant has work: the first that then has some waits no longer, however large
the room. To 4,000 clients, four slices cost about a tenth more than one."""

RECIPIENT_COST: Final = 4
"""Microseconds of a write to one recipient, and one more for each 1,000 bytes."""


def sliced(fan_out: list[Recipients], alone: bool = False) -> deque[list[Recipients]]:
    """A fan-out in slices that take about `SLICE_COST` each, or `ALONE_SLICE_COST`, in order; at least one.
    O(recipients) where it is divided, else O(batches)."""
    slices: deque[list[Recipients]] = deque([[]])
    left = most = ALONE_SLICE_COST if alone else SLICE_COST
    for batch, connections in fan_out:
        each = RECIPIENT_COST + len(batch.wire) // 1_000
        if len(connections) * each <= left:
            slices[-1].append((batch, connections))
            left -= len(connections) * each
            continue
        ordered = list(connections)
        start = 0
        while start < len(ordered):
            if left < each:
                slices.append([])
                left = most
            some = ordered[start : start + max(1, left // each)]
            slices[-1].append((batch, some))
            start += len(some)
            left -= len(some) * each
    return slices
