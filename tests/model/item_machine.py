"""The state machine of keyed events and the clients that show them."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.model.viewer import Asked, Item, Values, Viewer, apply, item_of
from tests.model.world import EVERYTHING, MAX_EVENTS, World

ROOMS = ("circle:1", "circle:1", "project:1", "circle:2", "tenant", "user:bob")

which = st.integers(0, 3)
some_rooms = st.lists(st.sampled_from(ROOMS), min_size=1, max_size=3, unique=True)
shapes = st.integers(0, 63)
ids = st.sampled_from(
    [{"circle_id": 1}, {"circle_id": 1}, {"circle_id": 1, "project_id": 1}, {"circle_id": 2}, {"user_id": "bob"}, {}]
)
keyed = st.tuples(ids, st.sampled_from("aab"), st.sampled_from(("set", "append", "append", "append", "delete")))
plain = st.tuples(ids, st.none(), st.none())
ENDS = [({"circle_id": 1}, key, "delete") for key in "ab"]
OTHERS = [(ids, key, "set") for ids in ({"circle_id": 2}, {"user_id": "bob"}) for key in "ab"]


class ItemMachine(RuleBasedStateMachine):
    """`capacities` are bytes that a client's transport takes before it is full, `rates` its token's events a second."""

    capacities: tuple[int, ...] = (1 << 40, 600)
    rates: tuple[int | None, ...] = (None,)
    max_items = 1_000

    def __init__(self) -> None:
        super().__init__()
        self.world = World(max_items=self.max_items)
        self.viewers: list[Viewer] = []
        self.count = 0

    @initialize(shapes=st.lists(shapes, min_size=2, max_size=4))
    def begin(self, shapes: list[int]) -> None:
        for shape in shapes:
            rate = self.rates[shape % len(self.rates)]
            token = self.world.token("acme", "ada", EVERYTHING, ("subscribe",), 3600, rate)
            viewer = Viewer(self.world, token)
            self.viewers.append(viewer)
            self._connect(viewer, shape)

    def _connect(self, viewer: Viewer, shape: int) -> None:
        viewer.connect(self.capacities[shape // 2 % len(self.capacities)], bool(shape % 2))

    # ---- clients

    @rule(which=which, rooms=some_rooms, history=st.sampled_from((0, 0, 0, 3)))
    def follow(self, which: int, rooms: list[str], history: int) -> None:
        """A client follows rooms, and is to show their items from now on."""
        viewer = self._viewer(which)
        if viewer.closed is None:
            viewer.send(Asked(rooms, None, True, history))

    @rule(which=which, rooms=some_rooms, back=st.integers(0, MAX_EVENTS))
    def follow_since(self, which: int, rooms: list[str], back: int) -> None:
        """A client follows rooms from an earlier place on, or those that it follows once more."""
        viewer = self._viewer(which)
        cursors = list(self.world.cursors.get("acme", {}))
        if viewer.closed is None and cursors:
            since = cursors[max(0, len(cursors) - 1 - back)]
            viewer.send(Asked(rooms, since, bool(back % 2)))

    @rule(which=which, shape=shapes)
    def come_and_go(self, which: int, shape: int) -> None:
        viewer = self._viewer(which)
        if viewer.closed is None:
            self.world.call(viewer.vanish)
        else:
            self._connect(viewer, shape)

    @precondition(lambda self: any(viewer.lost and viewer.closed is None for viewer in self.viewers))
    @rule()
    def repair(self) -> None:
        for viewer in self.viewers:
            if viewer.lost and viewer.closed is None:
                viewer.repair()

    @rule(which=which, count=st.sampled_from((200, 1000, 1 << 40)))
    def drain(self, which: int, count: int) -> None:
        viewer = self._viewer(which)
        if viewer.closed is None:
            self.world.call(lambda: viewer.transport.drain(count))

    # ---- events

    @rule(several=st.lists(keyed | keyed | plain, min_size=1, max_size=6), turn=st.booleans())
    def publish(self, several: list[tuple[dict[str, object], str | None, str | None]], turn: bool) -> None:
        for ids, key, op in several:
            self.count += 1
            data = {"text": f"<{self.count}>", "n": self.count}
            publishing = self.world.gateway.publish("acme", "run.output", data, item_key=key, op=op, **ids)  # type: ignore[arg-type]
            self.world.run(publishing)
            self.world.check()
            if turn:
                self.world.turn()

    @rule(several=st.lists(plain, min_size=MAX_EVENTS, max_size=MAX_EVENTS + 3))
    def publish_plain(self, several: list[tuple[dict[str, object], None, None]]) -> None:
        """More than the window holds: what there is of items then is state."""
        self.publish(several, False)

    @rule(count=st.integers(1, MAX_EVENTS))
    def publish_elsewhere(self, count: int) -> None:
        """Events of a room that few follow: what they trim is of other rooms, or theirs."""
        self.publish([({"circle_id": 2}, None, None)] * count, False)

    @rule(
        which=which,
        several=st.lists(keyed, min_size=1, max_size=6) | st.sampled_from((ENDS, OTHERS)),
        before=st.integers(0, 4),
        after=st.integers(0, MAX_EVENTS),
    )
    def change_during_a_replay(
        self, which: int, several: list[tuple[dict[str, object], str | None, str | None]], before: int, after: int
    ) -> None:
        """A client requests the state, of which a part is evicted or ends before it is written."""
        self.publish_elsewhere(before)
        self.publish([({"circle_id": 1}, key, "set") for key in "ab"], False)
        self.settle()
        viewer = self._viewer(which)
        viewer.send(Asked(["circle:1", "project:1"], None, True))
        self.publish(several, False)
        self.publish_elsewhere(after)

    # ---- time

    @rule(count=st.integers(1, 3))
    def turn(self, count: int) -> None:
        self.world.turn(count)

    @rule(seconds=st.sampled_from((0.1, 1.0, 20.0)))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule()
    def settle(self) -> None:
        """All come back and read all there is; what they show then is judged."""
        for viewer in self.viewers:
            if viewer.closed is not None:
                self._connect(viewer, 1)
        for _ in range(200):
            for viewer in self.viewers:
                if viewer.lost and not viewer.sent:
                    viewer.repair()
                if viewer.transport.full:
                    self.world.call(viewer.transport.drain)
            self.world.clock.now += 0.3
            self.world.turn(2)
            if all(viewer.settled for viewer in self.viewers):
                break
        values, cut = self._newest()
        for viewer in self.viewers:
            assert viewer.settled, "it is never given everything"
            viewer.assert_shows(values, cut)
        assert len(self.world.log.window("acme").horizons) == 0, "a round is not counted as ended"

    def _newest(self) -> tuple[Values, set[Item]]:
        """The newest values by the events alone, and the items that had been evicted when a piece of text came: the
        log has only what was appended since."""
        values: Values = {}
        kept: dict[Item, None] = {}
        out: set[Item] = set()
        cut: set[Item] = set()
        for event in self.world.events.get("acme", ()):
            if "key" in event.frame:
                apply(values, event.frame)
                item, op = item_of(event.frame), event.frame.get("op")
                kept.pop(item, None)
                if op != "append":
                    cut.discard(item)
                elif item in out:
                    cut.add(item)
                out.discard(item)
                if op != "delete":
                    kept[item] = None
                if len(kept) > self.max_items:
                    out.add(oldest := next(iter(kept)))
                    del kept[oldest]
        return values, cut

    def teardown(self) -> None:
        try:
            if not self.world.failures:
                self.settle()
        finally:
            self.world.close()

    def _viewer(self, which: int) -> Viewer:
        return self.viewers[which % len(self.viewers)]


class ThrottledItems(ItemMachine):
    """Clients that may get a few events a second."""

    rates = (3, 10, None)


class BoundedItems(ItemMachine):
    """State of three items."""

    max_items = 3
