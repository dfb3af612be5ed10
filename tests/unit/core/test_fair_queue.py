"""The queue that is fair to tenants."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.fair_queue import FairQueue

pushes = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50)), max_size=80)


@given(pushes, st.integers(1, 20), st.integers(1, 200))
def test_each_tenants_items_come_in_order_and_once(items: list[tuple[str, int]], count: int, size: int) -> None:
    """For any size of a batch, no item is lost, and a batch exceeds its size by one item at most."""
    queue: FairQueue[tuple[str, int]] = FairQueue(1_000, 100_000, 100_000)
    weights = {}
    for n, (tenant, weight) in enumerate(items):
        assert queue.push(tenant, (tenant, n), weight)
        weights[n] = weight
    taken = []
    while queue:
        some = queue.take(count, size)
        assert 0 < len(some) <= count
        assert sum(weights[n] for _, n in some[:-1]) < size
        taken += some
    for name in "abc":
        assert [n for tenant, n in taken if tenant == name] == [
            n for n, (tenant, _) in enumerate(items) if tenant == name
        ]


def test_a_tenant_with_a_long_queue_delays_no_other() -> None:
    """The item of a new tenant is in the next batch, or in the one after it."""
    queue: FairQueue[str] = FairQueue(10_000, 1 << 30, 1 << 30)
    for n in range(10_000):
        queue.push("evil", f"evil{n}", 100)
    queue.push("good", "good", 100)
    assert "good" in queue.take(256, 1 << 20)
    for n in range(20):
        queue.push("large", f"large{n}", 10_000)
    queue.push("good", "again", 10_000)
    assert "again" in [*queue.take(256, 10_000), *queue.take(256, 10_000), *queue.take(256, 10_000)]


def test_every_bound_is_the_tenants_own() -> None:
    """A tenant at its bound is refused, and no other; at the bound of all together, the tenant over its share."""
    queue: FairQueue[int] = FairQueue(3, 100, 150)
    assert [queue.push("many", n, 1) for n in range(5)] == [True, True, True, False, False]
    assert [queue.push("large", n, 60) for n in range(3)] == [True, True, False]
    assert queue.push("late", 0, 60)
    assert not queue.push("late", 1, 60), "all have 183 of 150, and it has more than a third of that"
    assert queue.push("new", 0, 60)
    assert len(queue.take(100, 1_000)) == 7
    assert not queue
    assert all(queue.push("many", n, 1) for n in range(3))
