"""Join and leave notifications for a room, with leave debouncing."""

from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

W = TypeVar("W", bound=Hashable)


class PresenceEvent(NamedTuple):
    """A user's first connection has joined the room (`joined`), or the last one has left it."""

    user_id: str
    joined: bool


class PresenceFeed(Generic[W]):
    """The notifications of one watched room. It holds no members: it is called with first and last connections of
    users.

    A leave is debounced: it is reported after `grace` seconds, unless the user has rejoined by then. So `left` comes at
    least `grace` after the last `joined`, and the next `left` at least as long after that. Times are seconds of a
    monotonic clock. Each call costs what is new, however many users are in the room.
    """

    __slots__ = ("_events", "_grace", "_leaving", "_returned", "_synced_at", "_watchers")

    def __init__(self, grace: float) -> None:
        self._grace = grace
        # By watcher, the index of its first event: no watcher is notified of earlier ones, such as its own join.
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
        """Record that the watcher got the list of users, which omits those in their grace."""
        if watcher in self._watchers:
            self._synced_at.pop(watcher, None)
            self._synced_at[watcher] = now
            # Only watchers that synced since the oldest pending leave matter for `enter`.
            since = next(iter(self._leaving.values()), now)
            while self._synced_at[first := next(iter(self._synced_at))] < since:
                del self._synced_at[first]

    def enter(self, user_id: str) -> None:
        """A user's first connection has joined."""
        left_at = self._leaving.pop(user_id, None)
        if left_at is None:
            self._events.append(PresenceEvent(user_id, True))
            return
        for watcher, at in reversed(self._synced_at.items()):
            if at < left_at:
                break
            # Its list omitted the user, who never counted as left.
            self._returned.append((watcher, user_id))

    def leave(self, user_id: str, now: float) -> None:
        """A user's last connection has left."""
        self._leaving.pop(user_id, None)
        self._leaving[user_id] = now

    def expire_leaves(self, now: float, is_in: Callable[[str], bool]) -> None:
        """Report the users whose grace is over, unless `is_in` finds them in the room."""
        while self._leaving:
            user_id, left_at = next(iter(self._leaving.items()))
            if left_at + self._grace > now:
                break
            del self._leaving[user_id]
            if not is_in(user_id):
                self._events.append(PresenceEvent(user_id, False))

    def take_notifications(self) -> list[tuple[list[PresenceEvent], list[W]]]:
        """The pending notifications, in order, each with its watchers; they count as sent."""
        groups: dict[int, list[W]] = {}
        for watcher, start in self._watchers.items():
            if start < len(self._events):
                groups.setdefault(start, []).append(watcher)
        # Returned users first: their next leave may be among the events.
        returned = ((watcher, user_id) for watcher, user_id in self._returned if watcher in self._watchers)
        notifications = [([PresenceEvent(user_id, True)], [watcher]) for watcher, user_id in returned]
        notifications += [(self._events[start:], watchers) for start, watchers in groups.items()]
        self._events, self._returned = [], []
        self._watchers = dict.fromkeys(self._watchers, 0)
        return notifications
