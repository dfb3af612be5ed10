"""Horizons: the rounds of catch-up under way in a window, and the superseded entries that they still need."""

from bisect import bisect_left
from collections.abc import Mapping
from operator import attrgetter


class Horizon:
    """An offset up to which rounds of catch-up go, and how many are under way; without an owner once it is released."""

    __slots__ = ("end", "owner", "rounds")

    def __init__(self, owner: "Horizons", offset: int) -> None:
        self.owner: Horizons | None = owner
        self.end = offset
        self.rounds = 0

    def end_round(self) -> None:
        """Decrement the number of rounds: one has ended or was given up, or its connection has ended."""
        self.rounds -= 1
        if not self.rounds and self.owner is not None:
            self.owner.release_from(self.end, self.end)


class Horizons:
    """The horizons in use. Rounds share them, so that there are few: at most as many as rounds. `take`, `hold` and
    `renew` are O(log horizons)."""

    __slots__ = ("_held", "newest")

    def __init__(self) -> None:
        self._held: list[Horizon] = []
        self.newest = 0
        """The highest horizon in use, 0 without one; read for every keyed event."""

    def __len__(self) -> int:
        return len(self._held)

    def take(self, after: int, head: int) -> Horizon:
        """The horizon of a round that begins after the offset `after`: the newest where it is ahead, else the head."""
        return self.hold(self.newest if self.newest > after else head)

    def hold(self, offset: int) -> Horizon:
        """Start a round up to this offset: the newest horizon, or a later one."""
        if not self._held or self.newest != offset:
            self._held.append(Horizon(self, offset))
            self.newest = offset
        horizon = self._held[-1]
        horizon.rounds += 1
        return horizon

    def renew(self, horizon: Horizon, head: int) -> Horizon:
        """The horizon of a round under way: a later one where its own was released, or is of another window."""
        if horizon.owner is self:
            return horizon
        at = self._index(horizon.end)
        if at == len(self._held):
            return self.hold(head)
        later = self._held[at]
        later.rounds += 1
        return later

    def release_from(self, lowest: int, highest: int) -> None:
        """Release the horizons from one offset to another: their rounds take later ones."""
        low, high = self._index(lowest), self._index(highest + 1)
        for horizon in self._held[low:high]:
            horizon.owner = None
        del self._held[low:high]
        self.newest = self._held[-1].end if self._held else 0

    def first(self, offset: int, until: int) -> int:
        """The lowest horizon that is at `offset` or later, but before `until`; 0 without one."""
        at = self._index(offset)
        if at < len(self._held) and (found := self._held[at].end) < until:
            return found
        return 0

    def needed(self, superseded_by: Mapping[int, int], limit: int) -> list[int]:
        """The superseded offsets that rounds need; `superseded_by` maps each to its next version. Beyond `limit` the
        latest horizons are released; not the lowest, of the slowest client, which needs at most as many as were
        entries when its round began. O(superseded log horizons)."""
        by_horizon: dict[int, list[int]] = {}
        for offset, until in superseded_by.items():
            if horizon := self.first(offset, until):
                by_horizon.setdefault(horizon, []).append(offset)
        needed: list[int] = []
        for horizon, offsets in sorted(by_horizon.items()):
            if needed and len(needed) + len(offsets) > limit:
                self.release_from(horizon, self.newest)
                break
            needed += offsets
        return needed

    def _index(self, offset: int) -> int:
        return bisect_left(self._held, offset, key=attrgetter("end"))
