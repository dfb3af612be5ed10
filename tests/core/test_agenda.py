"""Appointments: each once, none early, the last one counts."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.timer_wheel import TimerWheel

steps = st.tuples(st.sampled_from(["set", "forget", "look"]), st.sampled_from("abcd"), st.floats(0, 20))


@given(st.lists(steps, max_size=60))
def test_agenda_against_a_dictionary(steps: list[tuple[str, str, float]]) -> None:
    """Who is due is told once, within a second of the time that was set last."""
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
            now += number
            for due in agenda.due(now):
                assert model.pop(due) <= now
            assert all(at > now - 1 for at in model.values())
        assert len(agenda) == len(model)
    now += 1e3
    assert sorted(agenda.due(now)) == sorted(model)
    assert agenda._seconds == {}


def test_who_is_dealt_with_may_change_who_is_next() -> None:
    """One that is forgotten, or set to later, while another is dealt with is not due; nor is anybody lost where
    dealing with one fails."""
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
    assert next(agenda.due(60.0)) == "x"  # and whoever asked comes no further
    assert list(agenda.due(60.0)) == ["y", "z"]
