"""The slices of a fan-out."""

from collections.abc import Sequence

from gateway.core.frame import Batch, Frame
from gateway.core.manager import ConnectionManager, Recipients
from gateway.core.slices import ALONE_SLICE_COST, RECIPIENT_COST, SLICE_COST, Slices
from tests.support.entries import connection


def sliced(fan_out: Sequence[Recipients], alone: bool = False) -> list[list[Recipients]]:
    slices = Slices(fan_out)
    parts = []
    while slices:
        parts.append(slices.take(alone))
    return parts


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
    assert sliced([]) == []
    assert [len(part) for part in sliced([(small, clients)], alone=True)] == [1]
    whole = ALONE_SLICE_COST // RECIPIENT_COST
    many = (clients * (whole // len(clients) + 1))[: whole + 10]
    assert [len(some) for part in sliced([(small, many)], alone=True) for _, some in part] == [whole, 10]


def test_a_fan_out_is_divided_by_who_has_work_by_then() -> None:
    """One recipient at least, however much is written to it; offsets that are left are known."""
    manager = ConnectionManager()
    clients = [connection(manager, {})[0] for _ in range(6_000)]
    batch, huge = Batch([Frame(b"x", "a")], 7, 7), Batch([Frame(b"x" * 10_000_000, "b")], 5, 5)
    slices = Slices([(batch, clients), (huge, clients[:2])])
    assert slices.first == 5
    sizes = [sum(len(some) for _, some in slices.take(alone)) for alone in (True, False, True, False)]
    whole, part = ALONE_SLICE_COST // RECIPIENT_COST, SLICE_COST // RECIPIENT_COST
    assert sizes == [whole, part, 6_000 - whole - part + 1, 1]
    assert not slices
