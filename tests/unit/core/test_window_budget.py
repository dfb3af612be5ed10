"""The bound on the bytes of all tenants' windows and state together."""

from gateway.core.frame import Frame
from gateway.core.items import Change
from gateway.core.window import Bounds, Entry, Window
from gateway.core.window_budget import KEPT_SHARE, WindowBudget, size_of
from tests.support.entries import entry, window

SIZE = 1_000
BYTES = len(entry(1, size=SIZE).frame.wire)


def append(budget: WindowBudget, one: Window, count: int = 1) -> int:
    """The number of windows that were trimmed."""
    trimmed = 0
    for _ in range(count):
        before = size_of(one)
        one.append(entry(one.head + 1, "circle:1", size=SIZE))
        trimmed += budget.add(one, before)
    return trimmed


def set_items(budget: WindowBudget, one: Window, *keys: int) -> None:
    """Set an item for each key, and push it out of the window."""
    for key in keys:
        before, id = size_of(one), f"evt_{one.head + 1}"
        frame = Frame(b"0" * SIZE, id)
        one.append(Entry(one.head + 1, id, ("circle:1", "tenant"), frame, 0.0, None, Change(f"k{key}", "set")))
        budget.add(one, before)


def test_windows_of_the_least_recently_used_tenants_are_trimmed_first() -> None:
    budget, windows = WindowBudget(40 * BYTES), [window() for _ in range(4)]
    for one in windows:
        assert append(budget, one, 10) == 0
    budget.use(windows[0])
    assert append(budget, windows[3]) == 1
    assert [len(one) for one in windows] == [10, 4, 10, 11]
    assert windows[1].has_lost({"circle:1": 0}, 0)
    assert not windows[1].has_lost({"circle:1": 0}, 6)
    assert budget.bytes == sum(one.bytes for one in windows) == 35 * BYTES


def test_all_together_stay_within_the_bound() -> None:
    """The windows of many tenants, and one alone."""
    budget = WindowBudget(100 * BYTES)
    windows = [window() for _ in range(50)]
    for round in range(30):
        for one in windows[: round + 1]:
            append(budget, one, 1 + round % 3)
            assert budget.bytes == sum(each.bytes for each in windows) <= 100 * BYTES
    alone = WindowBudget(10 * BYTES)
    append(alone, windows[0], 100)
    assert len(windows[0]) <= 10


def test_windows_are_trimmed_seldom() -> None:
    """Each time for an eighth of the bound."""
    budget, windows = WindowBudget(800 * BYTES), [window() for _ in range(100)]
    times = 0
    for number in range(4_000):
        times += append(budget, windows[number % 100]) > 0
    assert times <= 4_000 / (800 * (1 - KEPT_SHARE)) + 1


def test_without_a_bound_nothing_is_trimmed() -> None:
    budget, one = WindowBudget(0), window()
    assert append(budget, one, 1_000) == 0
    assert len(one) == 1_000


def test_the_bytes_are_counted_again_after_a_sweep() -> None:
    """Windows drop entries by age, too."""
    budget, windows = WindowBudget(30 * BYTES), [window() for _ in range(3)]
    for one in windows:
        append(budget, one, 8)
    windows[0].sweep(1e9)
    budget.measure()
    assert budget.bytes == 16 * BYTES
    assert append(budget, windows[1], 10) == 0


def test_state_counts_and_goes_after_its_window() -> None:
    """The least recently used tenant loses its events first, then the items that changed least recently, and both are
    reported; the other tenants lose nothing before."""
    budget, windows = WindowBudget(40 * BYTES), [window(bounds=Bounds(max_events=2)) for _ in range(3)]
    for one in windows[:2]:
        set_items(budget, one, *range(10))
        append(budget, one, 2)
    busy = window()
    append(budget, busy, 14)
    assert [len(one.items) for one in windows[:2]] == [10, 10]
    append(budget, busy, 3)
    idle, other = windows[:2]
    assert (len(idle), len(idle.items)) == (0, 6)
    assert [item.key for item in idle.items] == [f"k{key}" for key in range(4, 10)]
    assert idle.evicted.of("circle:1") == 4
    assert idle.has_lost({"circle:1": 0}, 3)
    assert (len(other), len(other.items), len(busy)) == (2, 10, 17)
    assert budget.bytes == sum(map(size_of, (idle, other, busy))) <= 35 * BYTES
    idle.sweep(1e9)
    budget.measure()
    assert budget.bytes == sum(map(size_of, (idle, other, busy)))
    append(budget, busy, 15)
    assert (len(idle.items), len(other)) == (0, 0)
    assert len(busy) == 32
