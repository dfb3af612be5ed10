"""Appointments: each once, none early, the last one counts."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.timer_wheel import TimerWheel
from tests.support.held import held

steps = st.tuples(st.sampled_from(["set", "forget", "look"]), st.sampled_from("abcd"), st.floats(-5, 20))


@given(st.lists(steps, max_size=60))
def test_agenda_against_a_dictionary(steps: list[tuple[str, str, float]]) -> None:
    """Due keys are returned once, within a second of the time that was set last."""
    agenda: TimerWheel[str] = TimerWheel()
    model: dict[str, float] = {}
    now = 100.0
    for action, key, number in steps:
        if action == "set":
            agenda.set(key, now + number)
            model[key] = now + number
        elif action == "forget":
            agenda.forget(key)
            model.pop(key, None)
        else:
            now += number  # or back, as a wall clock does
            for due in agenda.due(now):
                assert model.pop(due) <= now
            assert all(at > now - 1 for at in model.values())
        assert len(agenda) == len(model)
    now += 1e3
    assert sorted(agenda.due(now)) == sorted(model)
    assert held(agenda) <= held(TimerWheel()) + 8  # two small integers


def test_a_due_key_may_change_others() -> None:
    """A key that is removed, or set to later, during the processing of another is not due; nor is one lost where the
    processing of another fails."""
    agenda: TimerWheel[str] = TimerWheel()
    for key in "abcd":
        agenda.set(key, 10.0 if key < "d" else 9.0)
    seen = []
    for key in agenda.due(20.0):
        seen.append(key)
        agenda.forget("b")
        agenda.set("c", 30.0)
    assert seen == ["d", "a"]
    assert next(iter(agenda.due(40.0))) == "c"
    for key in "xyz":
        agenda.set(key, 50.0)
    assert next(agenda.due(60.0)) == "x"  # # and the caller comes no further
    assert list(agenda.due(60.0)) == ["y", "z"]


class Counting(dict[int, Any]):
    """Counts what is looked at."""

    looks = 0

    def __iter__(self) -> Iterator[int]:
        for key in super().__iter__():
            self.looks += 1
            yield key

    def get(self, key: int, default: Any = None) -> Any:
        self.looks += 1
        return super().get(key, default)


def test_a_look_costs_what_is_due_and_not_what_is_to_come() -> None:
    """With a day of appointments ahead, and after the clock was a year wrong."""
    agenda: TimerWheel[int] = TimerWheel()
    counting = agenda._seconds = Counting()
    now = 1e6
    for n in range(86_400):
        agenda.set(n, now + n)
    assert list(agenda.due(now)) == [0]
    counting.looks = 0
    for tick in range(1, 201):
        assert len(list(agenda.due(now + tick / 2))) == (tick + 1) % 2
    assert counting.looks <= 300
    year = 365 * 86_400.0
    agenda.set(-1, now + 2 * year)
    assert len(list(agenda.due(now + year))) == 86_400 - 101
    agenda.set(-2, now + 200)
    counting.looks = 0
    for tick in range(200):
        assert list(agenda.due(now + tick / 2)) == []
    assert list(agenda.due(now + 200)) == [-2]
    assert counting.looks <= 400
