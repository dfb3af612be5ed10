"""Appointments: each once, none early, the last one counts."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.agenda import Agenda

steps = st.tuples(st.sampled_from(["set", "forget", "look"]), st.sampled_from("abcd"), st.floats(0, 20))


@given(st.lists(steps, max_size=60))
def test_agenda_against_a_dictionary(steps: list[tuple[str, str, float]]) -> None:
    """Who is due is told once, within a second of the time that was set last."""
    agenda: Agenda[str] = Agenda()
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
