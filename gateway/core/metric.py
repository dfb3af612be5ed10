"""Metrics: numbers that the parts of the gateway count anyway, described for a scrape that reads them."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

LATENCY_SECONDS: Final = (0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The buckets of latencies: from a fan-out to one client up to a stalled event loop."""


class Histogram:
    """Counts of observed values by bucket; `bounds` are the upper ends, ascending. O(bounds) memory; an observation
    costs O(log bounds), 0.2 us."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = LATENCY_SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def cumulative(self) -> Iterable[int]:
        """The number of values up to each bound, and of all."""
        return accumulate(self.counts)


Reading = float | Histogram | Mapping[tuple[str, ...], float]
"""The value of a metric: of one without labels, of a histogram, or by the values of its labels."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its name without the prefix `gateway_`, but with the unit and `_total` of a counter; its help text;
    and `read`, called at each scrape. The values of `labels` are bounded: no tenant, user, room or type of event."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    read: Callable[[], Reading]
    labels: tuple[str, ...] = ()
