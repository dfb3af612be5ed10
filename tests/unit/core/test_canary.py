"""The judge of the isolation canary, with inputs that are broken in each way."""

from collections.abc import Iterable
from typing import Any

import pytest

from gateway.core.canary import MAX_SOURCES, RESULTS, CanaryJudge, Verdict
from gateway.core.reserved_tenants import CANARY_TENANTS, without_reserved
from schemas.rooms import is_id

BOUND = 2.0


class Checked:
    """A judge of the canary of node `a`, and the events that it is given."""

    def __init__(self) -> None:
        self.judge = CanaryJudge("one", "a")
        self.now = 0.0
        self.check()

    def check(
        self, *more: dict[str, Any], own: Iterable[float] = (0.01,), accepted: bool = True, complete: bool = True
    ) -> Verdict:
        """A check in which its own event arrives after so many seconds, each time after the one before, and then
        `more` events do."""
        data = self.judge.begin(self.now)
        if accepted:
            self.judge.accept()
        for seconds in own:
            self.now += seconds
            self.judge.receive(event(data), self.now)
        for each in more:
            self.judge.receive(each, self.now)
        return self.judge.conclude(self.now + BOUND, BOUND, complete)


def event(data: dict[str, Any]) -> dict[str, Any]:
    return {"type": "gateway.canary", "event_id": "evt_1", "data": data}


def of(source: str, number: int, after: int | None = None, tenant: str = "one") -> dict[str, Any]:
    """An event of a node's canary, which names the one before it."""
    return event(
        {"tenant": tenant, "source": source, "number": number, "after": number - 1 if after is None else after}
    )


def test_a_healthy_check_is_ok() -> None:
    """Its own event, and those of other nodes in their order, with numbers left out that their log has refused."""
    checked = Checked()
    assert checked.check(of("b", 7)).result == "ok"
    assert checked.check(of("b", 8), of("c", 1)).result == "ok"
    assert checked.check(of("b", 12, after=8), of("c", 2)) == ("ok", "")
    assert checked.judge.seconds == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("result", "given", "detail"),
    [
        ("slow", {"own": [2.5]}, "number 2 of this node took 2.500 s"),
        ("slow", {"own": [], "accepted": False}, "number 2 of this node is not there after 2.000 s"),
        ("slow", {"accepted": False}, "number 2 of this node is not confirmed after 2.010 s"),
        ("loss", {"own": []}, "number 2 of this node"),
        ("loss", {"more": [of("b", 1), of("b", 3)]}, "number 2 of node b"),
        ("reordered", {"more": [of("b", 3), of("b", 2)]}, "number 2 of node b after 3"),
        ("duplicate", {"own": [0.01, 0.01]}, "number 2 of this node"),
        ("duplicate", {"more": [of("b", 1), of("b", 1)]}, "number 1 of node b"),
        ("leak", {"more": [of("a", 1, tenant="two")]}, "evt_1 of another tenant"),
        ("leak", {"more": [event({"customers": "data"})]}, "evt_1 of another tenant"),
    ],
)
def test_each_fault_has_its_result(result: str, given: dict[str, Any], detail: str) -> None:
    """The next check is well again."""
    checked = Checked()
    verdict = checked.check(*given.pop("more", ()), **given)
    assert verdict == (result, f"{result}: {detail}")
    assert verdict.failed
    assert checked.check().result == "ok"


def test_a_late_event_is_slow_and_lost_once_a_later_one_is_there() -> None:
    """While the gateway does not claim that it was written, it may still come: after a stall of the event loop."""
    checked = Checked()
    late = checked.check(own=[], complete=False)
    assert late == ("slow", "slow: number 2 of this node is not there after 2.000 s")
    checked.judge.receive(of("a", 2), checked.now)
    assert checked.check(own=[0.01]).result == "ok"
    assert checked.check(own=[], complete=False).result == "slow"
    assert checked.check() == ("loss", "loss: number 4 of this node")


def test_the_result_is_the_worst_of_what_was_found() -> None:
    """All of it is in the detail."""
    checked = Checked()
    verdict = checked.check(of("b", 1), of("b", 1), of("a", 1, tenant="two"), own=[3.0])
    assert verdict.result == "leak"
    assert [part.partition(":")[0] for part in verdict.detail.split("; ")] == ["duplicate", "leak", "slow"]
    assert RESULTS.index("leak") == len(RESULTS) - 1


def test_a_check_that_could_not_be_made_has_no_other_result() -> None:
    """Where the log refused the event, or has reported a gap, its absence says nothing; nor what came before."""
    checked = Checked()
    checked.check(of("b", 1))
    checked.judge.note("unavailable", "the log does not answer")
    assert checked.check(own=[], accepted=False) == ("unavailable", "unavailable: the log does not answer")
    checked.judge.forget()
    checked.judge.note("unavailable", "a gap")
    assert checked.check(own=[]).result == "unavailable"
    assert not checked.check(of("b", 9)).failed


def test_events_that_a_catch_up_leaves_out_are_not_lost() -> None:
    """Earlier events of a source are superseded by its newest one."""
    checked = Checked()
    checked.check(of("b", 1))
    checked.judge.receive(of("b", 5), checked.now, live=False)
    assert checked.check(of("b", 6)).result == "ok"


def test_an_event_that_comes_after_it_was_called_lost_is_reordered() -> None:
    """By then the connection was said to have everything."""
    checked = Checked()
    assert checked.check(own=[]).result == "loss"
    assert checked.check(of("a", 2)).result == "reordered"


def test_memory_is_bounded() -> None:
    """Nodes come and go with each restart."""
    checked = Checked()
    for node in range(3 * MAX_SOURCES):
        checked.judge.receive(of(f"n{node}", 1), 0.0)
    assert checked.judge.sources_kept <= MAX_SOURCES
    assert checked.check(of("n1", 5)).result == "ok"


def test_no_token_can_name_its_tenants() -> None:
    """Their names are outside the grammar, which each token, request and publisher is checked against."""
    assert not any(map(is_id, CANARY_TENANTS))
    assert list(without_reserved(["acme", *CANARY_TENANTS, "carol"])) == ["acme", "carol"]
