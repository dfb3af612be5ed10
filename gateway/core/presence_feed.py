"""Join and leave notifications for a room, with leave debouncing."""

from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

W = TypeVar("W", bound=Hashable)


class PresenceEvent(NamedTuple):
    """A user's first connection has come into the room (`joined`), or the last one has left it."""

    user_id: str
    joined: bool


class PresenceFeed(Generic[W]):
    """One room that somebody watches. Who is in it is not kept here: it is told of first and last connections.

    Who leaves is only told of after `grace` seconds, and who is back by then was never away. A user's `left` is thus at
    least `grace` after the `joined` before it, and so is the next `left`. Times are seconds of a clock that never goes
    back. Each call costs what is new, however many are in the room.
    """

    __slots__ = ("_events", "_grace", "_leaving", "_returned", "_synced_at", "_watchers")

    def __init__(self, grace: float) -> None:
        self._grace = grace
        # From which of the news on each watcher is to be told, so that nobody hears of what was before, such as its
        # own arrival.
        self._watchers: dict[W, int] = {}
        self._events: list[PresenceEvent] = []
        self._leaving: dict[str, float] = {}
        self._synced_at: dict[W, float] = {}
        self._returned: list[tuple[W, str]] = []

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    @property
    def has_notifications(self) -> bool:
        return bool(self._events or self._returned)

    def watch(self, watcher: W, now: float) -> None:
        if watcher not in self._watchers:
            self._watchers[watcher] = len(self._events)
            self.mark_synced(watcher, now)

    def unwatch(self, watcher: W) -> None:
        self._watchers.pop(watcher, None)
        self._synced_at.pop(watcher, None)

    def mark_synced(self, watcher: W, now: float) -> None:
        """The watcher has seen who is in the room, which does not count those who have left and may be back."""
        if watcher in self._watchers:
            self._synced_at.pop(watcher, None)
            self._synced_at[watcher] = now
            # Only who looked since the first of those who may be back left will ever be asked for.
            since = next(iter(self._leaving.values()), now)
            while self._synced_at[first := next(iter(self._synced_at))] < since:
                del self._synced_at[first]

    def enter(self, user_id: str) -> None:
        """The user's first connection is in."""
        left_at = self._leaving.pop(user_id, None)
        if left_at is None:
            self._events.append(PresenceEvent(user_id, True))
            return
        for watcher, at in reversed(self._synced_at.items()):
            if at < left_at:
                break
            # It has not seen the user, and nobody would tell it otherwise.
            self._returned.append((watcher, user_id))

    def leave(self, user_id: str, now: float) -> None:
        """The user's last connection is out."""
        self._leaving.pop(user_id, None)
        self._leaving[user_id] = now

    def expire_leaves(self, now: float, is_in: Callable[[str], bool]) -> None:
        """Those whose grace is over have left, but for who `is_in` nevertheless."""
        while self._leaving:
            user_id, left_at = next(iter(self._leaving.items()))
            if left_at + self._grace > now:
                break
            del self._leaving[user_id]
            if not is_in(user_id):
                self._events.append(PresenceEvent(user_id, False))

    def take_notifications(self) -> list[tuple[list[PresenceEvent], list[W]]]:
        """What is to be told, in order, and to whom; it is told after that."""
        groups: dict[int, list[W]] = {}
        for watcher, start in self._watchers.items():
            if start < len(self._events):
                groups.setdefault(start, []).append(watcher)
        # Who was back comes first: it may have left again since, and that is among the news.
        returned = ((watcher, user_id) for watcher, user_id in self._returned if watcher in self._watchers)
        notifications = [([PresenceEvent(user_id, True)], [watcher]) for watcher, user_id in returned]
        notifications += [(self._events[start:], watchers) for start, watchers in groups.items()]
        self._events, self._returned = [], []
        self._watchers = dict.fromkeys(self._watchers, 0)
        return notifications
