"""The contract suite of recovery by room: exact losses of each room."""

from random import Random

from gateway.core.cursor import Position
from gateway.core.window import Bounds, Window
from gateway.testing.helpers import draft
from gateway.testing.log_under_test import LogSuite, LogUnderTest
from schemas.rooms import TENANT_ROOM


class Story:
    """Random events in the log of `acme` and passing time, with a model of each room's losses: a list of all events."""

    def __init__(self, subject: LogUnderTest, number: int) -> None:
        self.random = Random(number)  # noqa: S311 - the same each time
        self._subject = subject
        self._rooms: list[tuple[str, ...]] = []

    async def go_on(self) -> None:
        for _ in range(self.random.randrange(4)):
            made = draft(size=self.random.choice((0, 0, 100, 1_500)))
            rooms = sorted(
                {f"circle:{self.random.choice((1, 1, 2, 3, 4))}", f"project:{self.random.choice((1, 1, 5))}"}
            )
            made.rooms = (*rooms[: self.random.randrange(3)], TENANT_ROOM)
            await self._subject.log.append("acme", made)
            self._rooms.append(made.rooms)
        if self.random.random() < 0.3:
            await self._subject.pass_time(self.random.choice((5.0, 20.0, 70.0)))

    def judge(self, window: Window) -> None:
        """Compare the window's gaps of each room and position with the model."""
        assert window.head == len(self._rooms)
        for room in ("circle:1", "circle:2", "circle:3", "circle:4", "project:1", "project:5", "user:ada", TENANT_ROOM):
            last = max((o for o, rooms in enumerate(self._rooms, 1) if o < window.first and room in rooms), default=0)
            for offset in range(window.head + 1):
                expected = "history_trimmed" if offset < last else None
                assert window.gap(Position(window.epoch, offset), [room]) == expected, (room, offset)


class LogRoomsContract(LogSuite):
    """The part of `LogContract` about recovery by room."""

    async def test_gap_is_reported_by_room(self) -> None:
        """A room has a gap if one of its own entries after the position is trimmed, however busy other rooms were."""
        async with self.opened(Bounds(max_events=4)) as subject:
            window = subject.log.window("acme")
            for n, circle in enumerate((1, 1, 2, 2, 2, 2, 2)):  # 4 to 7 are there
                await subject.log.append("acme", draft(n, circle=circle))
            for offset, rooms, expected in (
                (1, ["circle:1"], "history_trimmed"),
                (2, ["circle:1"], None),
                (2, ["circle:2"], "history_trimmed"),
                (3, ["circle:2"], None),
                (0, ["circle:3", "user:ada"], None),
                (2, ["circle:1", "circle:2"], "history_trimmed"),
                (2, [TENANT_ROOM], "history_trimmed"),
                (3, [TENANT_ROOM], None),
            ):
                assert window.gap(Position(window.epoch, offset), rooms) == expected, (offset, rooms)

    async def test_gap_by_room_equals_a_model(self) -> None:
        """Each room reports exactly its trimmed entries, for trimming by count, by bytes and by age."""
        for number in range(4):
            async with self.opened(Bounds(max_events=12, max_bytes=4_000, max_seconds=60.0)) as subject:
                story = Story(subject, number)
                for _ in range(60):
                    await story.go_on()
                    story.judge(subject.log.window("acme"))

    async def test_room_whose_last_trimmed_entry_is_forgotten_has_a_gap(self) -> None:
        """At most `max_trimmed_rooms` are remembered, the oldest forgotten first; a forgotten room is never reported
        complete."""
        async with self.opened(Bounds(max_events=1, max_trimmed_rooms=2)) as subject:
            window = subject.log.window("acme")
            for circle in (1, 2, 3, 4, 5):  # 3 and 4 are remembered
                await subject.log.append("acme", draft(circle, circle=circle))
            for circle, last in ((1, 2), (2, 2), (3, 3), (4, 4), (5, 2), (9, 2)):
                judged = [window.gap(Position(window.epoch, offset), [f"circle:{circle}"]) for offset in range(6)]
                assert judged == ["history_trimmed"] * last + [None] * (6 - last), circle

    async def test_expired_entries_are_reported_by_room(self) -> None:
        """A new follower of a log with only expired entries knows the losses of each room."""
        async with self.opened(Bounds(max_seconds=60.0)) as subject:
            for circle in (1, 2, 2, 1, 2):
                await subject.log.append("carol", draft(circle=circle))
            await subject.pass_time(120.0)
            await subject.follow("carol")
            window = subject.log.window("carol")
            assert len(window) == 0
            lost = {
                room: [window.gap(Position(window.epoch, o), [room]) for o in range(6)].count("history_trimmed")
                for room in ("circle:1", "circle:2", "circle:3", TENANT_ROOM)
            }
            assert lost == {"circle:1": 4, "circle:2": 5, "circle:3": 0, TENANT_ROOM: 5}
