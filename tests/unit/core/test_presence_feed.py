"""The notifications of a room's watchers, against its real members."""

from collections import defaultdict
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core.presence_feed import PresenceEvent, PresenceFeed

LEAVE_GRACE = 5.0
USERS = ("ada", "bob", "eve")
WATCHERS = ("w1", "w2", "w3")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("connect"), st.sampled_from(USERS)),
        st.tuples(st.just("disconnect"), st.sampled_from(USERS)),
        st.tuples(st.just("pass"), st.sampled_from([0.5, 2.0, 4.9, 5.0, 11.0])),
        st.tuples(st.just("tell"), st.none()),
        st.tuples(st.just("watch"), st.sampled_from(WATCHERS)),
        st.tuples(st.just("look"), st.sampled_from(WATCHERS)),
        st.tuples(st.just("unwatch"), st.sampled_from(WATCHERS)),
    ),
    max_size=60,
)


class World:
    """A room, its members as a dictionary, and the view of each watcher from its snapshot and notifications."""

    def __init__(self) -> None:
        self.now = 100.0
        self.room: PresenceFeed[str] = PresenceFeed(LEAVE_GRACE)
        self.connections: dict[str, int] = defaultdict(int)
        self.believes: dict[str, set[str]] = {}
        self.notified: list[tuple[float, str, PresenceEvent]] = []
        self.looks: list[tuple[float, str]] = []

    @property
    def present(self) -> set[str]:
        return {user for user, count in self.connections.items() if count}

    def connect(self, user: str) -> None:
        self.connections[user] += 1
        if self.connections[user] == 1:
            self.room.enter(user)

    def disconnect(self, user: str) -> None:
        if self.connections[user]:
            self.connections[user] -= 1
            if not self.connections[user]:
                self.room.leave(user, self.now)

    def watch(self, watcher: str) -> None:
        if watcher not in self.believes:
            self.room.watch(watcher, self.now)
            self.look(watcher)

    def look(self, watcher: str) -> None:
        self.room.mark_synced(watcher, self.now)
        self.believes[watcher] = set(self.present)
        self.looks.append((self.now, watcher))

    def unwatch(self, watcher: str) -> None:
        self.room.unwatch(watcher)
        self.believes.pop(watcher, None)

    def tell(self, _: None = None) -> None:
        self.room.expire_leaves(self.now, self.present.__contains__)
        for news, watchers in self.room.take_notifications():
            for watcher in watchers:
                for one in news:
                    self.notified.append((self.now, watcher, one))
                    (self.believes[watcher].add if one.joined else self.believes[watcher].discard)(one.user_id)

    def do(self, step: tuple[str, object]) -> None:
        name, argument = step
        if name == "pass":
            assert isinstance(argument, float)
            self.now += argument
        elif name == "look":
            if argument in self.believes:
                self.look(str(argument))
        else:
            getattr(self, name)(argument)


@given(steps)
@example([("connect", "ada"), ("disconnect", "ada"), ("watch", "w1"), ("connect", "ada"), ("disconnect", "ada")])
@example(
    [("connect", "eve"), ("disconnect", "eve"), ("watch", "w1"), ("pass", 11.0), ("watch", "w2"), ("connect", "eve")]
)
@settings(max_examples=300)
def test_watchers_converge_to_the_members(steps: list[tuple[str, object]]) -> None:
    """For any joins, leaves and flicker: once all grace periods are over, each watcher's view is exact, and before that
    it lacks no present user."""
    world = World()
    for step in steps:
        world.do(step)
        if step[0] == "tell":
            for believed in world.believes.values():
                assert world.present <= believed
    world.now += 2 * LEAVE_GRACE
    world.tell()
    for watcher, believed in world.believes.items():
        assert believed == world.present, watcher


@given(steps)
def test_a_flapping_user_is_reported_once_in_a_grace(steps: list[tuple[str, object]]) -> None:
    """However the user flickers: to a watcher that does not itself look again, at most one `joined` and one `left` of
    the same user within the grace, and the two in turns."""
    world = World()
    for step in steps:
        if step[0] not in ("look", "unwatch") and not (step[0] == "watch" and step[1] in world.believes):
            world.do(step)
            if step[0] in ("connect", "disconnect"):
                world.tell()
    for watcher in world.believes:
        began = next(at for at, who in world.looks if who == watcher)
        for user in USERS:
            notified = [
                (at, one.joined)
                for at, who, one in world.notified
                if who == watcher and one.user_id == user and at > began + LEAVE_GRACE
            ]
            for (at, joined), (later, then) in pairwise(notified):
                assert joined != then
                if joined:
                    assert later - at >= LEAVE_GRACE
            for kind in (True, False):
                times = [at for at, joined in notified if joined is kind]
                assert all(b - a >= LEAVE_GRACE for a, b in pairwise(times))


def watched(*watchers: str) -> PresenceFeed[str]:
    room: PresenceFeed[str] = PresenceFeed(LEAVE_GRACE)
    for watcher in watchers:
        room.watch(watcher, 0.0)
    return room


def test_earlier_members_are_not_reported() -> None:
    """A user's own join is one, though the others have not been notified of it yet."""
    room = watched("old")
    room.enter("ada")
    room.watch("new", 1.0)
    room.enter("bob")
    assert room.take_notifications() == [
        ([PresenceEvent("ada", True), PresenceEvent("bob", True)], ["old"]),
        ([PresenceEvent("bob", True)], ["new"]),
    ]
    assert room.take_notifications() == []


def test_a_return_within_the_grace_is_no_absence() -> None:
    room = watched("w")
    room.enter("ada")
    room.take_notifications()
    for n in range(50):
        room.leave("ada", 10.0 + n)
        room.expire_leaves(14.9 + n, lambda user: False)
        room.enter("ada")
    assert room.take_notifications() == []
    room.leave("ada", 100.0)
    room.expire_leaves(104.9, lambda user: False)
    assert room.take_notifications() == []
    room.expire_leaves(105.0, lambda user: False)
    assert room.take_notifications() == [([PresenceEvent("ada", False)], ["w"])]


def test_a_watcher_that_saw_the_absence_is_notified_of_the_return() -> None:
    """Its snapshot was without the user, and it would otherwise never learn of the return."""
    room = watched("before", "looks")
    room.enter("ada")
    room.take_notifications()
    room.leave("ada", 10.0)
    room.mark_synced("looks", 11.0)
    room.watch("comes", 12.0)
    room.enter("ada")
    notified = {watcher: news for news, watchers in room.take_notifications() for watcher in watchers}
    assert notified == {"looks": [PresenceEvent("ada", True)], "comes": [PresenceEvent("ada", True)]}


def test_a_user_still_present_is_not_reported_as_left() -> None:
    """The reports of other nodes were still unknown when the last connection here went."""
    room = watched("w")
    room.leave("ada", 1.0)
    room.expire_leaves(10.0, lambda user: user == "ada")
    assert room.take_notifications() == []


def test_thousands_cost_what_is_new() -> None:
    """With 5,000 users in the room one that comes and goes is one piece of news each, shared by all who watch."""
    room = watched(*(f"w{n}" for n in range(100)))
    for n in range(5_000):
        room.enter(f"u{n}")
    room.take_notifications()
    room.enter("ada")
    ((news, watchers),) = room.take_notifications()
    assert (news, len(watchers)) == ([PresenceEvent("ada", True)], 100)
