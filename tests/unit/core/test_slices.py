"""The slices of a fan-out."""

from gateway.core.frame import Batch, Frame
from gateway.core.manager import ConnectionManager
from gateway.core.slices import ALONE_SLICE_COST, RECIPIENT_COST, SLICE_COST, sliced
from tests.support.entries import connection


def test_slices_take_about_the_same_time() -> None:
    """By the number of recipients and the bytes to each; small groups share one."""
    manager = ConnectionManager()
    clients = [connection(manager, {})[0] for _ in range(3_000)]
    small, large = Batch([Frame(b"x" * 100, "a")], 1, 1), Batch([Frame(b"x" * 12_000, "b")], 1, 1)
    assert [len(part) for part in sliced([(small, clients[:10])] * 10)] == [10]
    parts = sliced([(small, clients[:1_000]), (large, clients[1_000:1_200]), (small, clients[1_200:])])
    assert [one for part in parts for _, some in part for one in some] == clients
    costs = [sum(len(some) * (RECIPIENT_COST + len(batch.wire) // 1_000) for batch, some in part) for part in parts]
    assert max(costs) <= SLICE_COST
    assert min(costs[:-1]) > 0.9 * SLICE_COST
    assert list(sliced([])) == [[]]
    assert [len(part) for part in sliced([(small, clients)], alone=True)] == [1]
    whole = ALONE_SLICE_COST // RECIPIENT_COST
    many = (clients * (whole // len(clients) + 1))[: whole + 10]
    assert [len(some) for part in sliced([(small, many)], alone=True) for _, some in part] == [whole, 10]
