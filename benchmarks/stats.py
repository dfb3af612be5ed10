"""Medians and spreads. Figures of one variant are compared with another's round by round."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value."""
        return cls(median(values), min(values), max(values))


def ratios(values: Sequence[float], others: Sequence[float]) -> Spread | None:
    """The ratio of `values` to `others`, round by round; None where no round has both.

    A machine shared with other work is slow for a while and then fast again: two figures of one round saw much the same
    of that, so their ratio spreads less than they do.
    """
    pairs = [value / other for value, other in zip(values, others, strict=False) if other]
    return Spread.of(pairs) if pairs else None


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of `ordered`, which is sorted and not empty, do not exceed (nearest rank)."""
    rank = -int(-share * len(ordered) // 1)  # the ceiling
    return ordered[min(max(rank, 1), len(ordered)) - 1]
