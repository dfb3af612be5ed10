"""The judge of the isolation canary: whether the events of one tenant arrive once, in order and in time, and no event
of another tenant does."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

Result = Literal["ok", "unavailable", "slow", "closed", "loss", "reordered", "duplicate", "leak"]

RESULTS: Final[tuple[Result, ...]] = ("ok", "unavailable", "slow", "closed", "loss", "reordered", "duplicate", "leak")
"""The results of a check, from the best to the worst. `unavailable` is a check that could not be made: the log refused
the event, or has reported a gap."""

MAX_SOURCES: Final = 1_000
"""The nodes whose canaries a judge follows; the one without an event for longest goes first."""

_RECENT: Final = 8


class Verdict(NamedTuple):
    """The result of a check, the worst of what was found, and all of it in words."""

    result: Result
    detail: str

    @property
    def failed(self) -> bool:
        return self.result not in ("ok", "unavailable")


@dataclass(slots=True)
class _Source:
    """The canary of one node: the number of its newest event here, and the latest numbers that came."""

    newest: int
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=_RECENT))


class CanaryJudge:
    """Judges what one canary connection receives: the events of its own node's canary (`source`), one in each check,
    and those of other nodes' canaries in the same tenant.

    Each event names the one before it that its log has accepted, so that a missing event is noticed by the next one of
    its source, whichever node published it. Memory is O(sources), bounded. Times are seconds of a monotonic clock.
    """

    def __init__(self, tenant: str, source: str) -> None:
        self._tenant = tenant
        self._source = source
        self._number = 0
        self._accepted = 0
        self._began = 0.0
        self._sources: dict[str, _Source] = {}
        self._found: dict[Result, str] = {}
        self.seconds: float | None = None
        """Seconds from the beginning of the check until its event arrived; None before."""

    def begin(self, now: float) -> dict[str, Any]:
        """Begin a check; returns the data of its event."""
        self._number += 1
        self._began = now
        self.seconds = None
        return {"tenant": self._tenant, "source": self._source, "number": self._number, "after": self._accepted}

    def accept(self) -> None:
        """Note that the log has accepted the event of this check."""
        self._accepted = self._number

    @property
    def accepted(self) -> bool:
        """Whether the event of this check is in the log."""
        return self._accepted == self._number

    @property
    def sources_kept(self) -> int:
        """The number of sources in memory."""
        return len(self._sources)

    def receive(self, event: Mapping[str, Any], now: float, live: bool = True) -> None:
        """Judge an event that was written to the connection. Where it was not `live`, in a catch-up, earlier ones of
        its source may have been superseded."""
        data = event["data"]
        tenant, source, number = data.get("tenant"), data.get("source"), data.get("number")
        if tenant != self._tenant or not isinstance(source, str) or not isinstance(number, int):
            self.note("leak", f"{event['event_id']} of another tenant")
            return
        next_one = self._is_next(source, number, data["after"] if live else 0)
        if next_one and source == self._source and number == self._number:
            self.seconds = now - self._began

    def forget(self) -> None:
        """Expect nothing of earlier events: the connection is new, or the log has reported a gap."""
        self._sources.clear()

    def note(self, result: Result, detail: str) -> None:
        """Note something that was found; of each result the first one is kept."""
        self._found.setdefault(result, detail)

    def conclude(self, now: float, bound: float, complete: bool) -> Verdict:
        """The verdict on the check, and on what came since the one before. `bound` is the longest time in seconds until
        the event arrives. `complete` says that the gateway claims to have written all accepted events to the
        connection."""
        own = f"number {self._number} of this node"
        if self.seconds is not None and self.seconds > bound:
            self.note("slow", f"{own} took {self.seconds:.3f} s")
        elif (self.seconds is None or not self.accepted) and not self._found.keys() & {"unavailable", "closed"}:
            missing = "there" if self.seconds is None else "confirmed"
            if self.seconds is None and self.accepted and complete:
                self.note("loss", own)
                self._of(self._source).newest = self._number
            else:
                self.note("slow", f"{own} is not {missing} after {now - self._began:.3f} s")
        found, self._found = self._found, {}
        worst = max(found, key=RESULTS.index, default=RESULTS[0])
        return Verdict(worst, "; ".join(f"{result}: {detail}" for result, detail in found.items()))

    def _is_next(self, source: str, number: int, after: int) -> bool:
        """Whether the event is newer than those of its source before it; notes what is wrong with it or missing."""
        known = source in self._sources
        seen = self._of(source)
        if number in seen.recent:
            self.note("duplicate", f"number {number} of {self._name(source)}")
            return False
        seen.recent.append(number)
        if number <= seen.newest:
            self.note("reordered", f"number {number} of {self._name(source)} after {seen.newest}")
            return False
        if known and after > seen.newest:
            self.note("loss", f"number {after} of {self._name(source)}")
        seen.newest = number
        return True

    def _of(self, source: str) -> _Source:
        """The source, now the last to be forgotten."""
        found = self._sources.pop(source, None)
        if found is None:
            found = _Source(0)
            while len(self._sources) >= MAX_SOURCES:
                del self._sources[next(iter(self._sources))]
        self._sources[source] = found
        return found

    def _name(self, source: str) -> str:
        return "this node" if source == self._source else f"node {source}"
