"""The recording of usage: what is written, when, and what becomes of a write that fails."""

from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.core.errors import LogUnavailable
from gateway.core.usage import ROWS_AT_ONCE, Place, Recorded, UsageRow
from gateway.engine.usage import HOUR
from gateway.engine.usage_recorder import UsageRecorder
from gateway.service.factory import Service
from tests.support.clocks import AdjustableClock
from tests.support.inprocess import service_with


class Store:
    """A usage store of one node, which can be out of reach, and lose everything."""

    durable = True

    def __init__(self) -> None:
        self.events: dict[Place, int] = {}
        self.writes: list[list[Place]] = []
        self.fails_after: int | None = None
        """The number of further writes that it takes."""
        self.lost = False

    def lose(self) -> None:
        self.events, self.lost = {}, True

    async def record(self, rows: Sequence[UsageRow]) -> bool:
        if self.fails_after is not None:
            if self.fails_after == 0:
                raise LogUnavailable
            self.fails_after -= 1
        if rows:
            self.writes.append([(row.hour, row.tenant) for row in rows])
        self.events.update({(row.hour, row.tenant): row.usage.events for row in rows})
        kept, self.lost = not self.lost, False
        return kept

    async def read(self, tenant: str | None, after: Place, limit: int) -> Recorded:
        return {}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = service_with(AdjustableClock())
    async with service.running():
        to_next_hour(service)
        await service.gateway.metrics.usage.turn()
        yield service


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def recorder(service: Service, store: Store) -> UsageRecorder:
    return UsageRecorder(service.gateway.metrics.usage, store)


def to_next_hour(service: Service) -> None:
    clock = service.gateway.clock
    assert isinstance(clock, AdjustableClock)
    clock.offset += HOUR - clock() % HOUR + 60


async def publish(service: Service, *tenants: str) -> None:
    for tenant in tenants:
        await service.gateway.publish(tenant, "task.created", {}, circle_id=1)


async def test_rows_that_have_changed_are_recorded(service: Service, store: Store, recorder: UsageRecorder) -> None:
    """Rows of the hour that goes on each time; of an hour that has ended once more, and then never again."""
    usage = service.gateway.metrics.usage
    hour = usage.hour
    await publish(service, "acme", "bolt")
    await recorder.record()
    assert store.events == {(hour, "acme"): 1, (hour, "bolt"): 1}
    await recorder.record()
    await publish(service, "acme")
    await recorder.record()
    assert [sorted(each) for each in store.writes] == [[(hour, "acme"), (hour, "bolt")], [(hour, "acme")]]
    await publish(service, "bolt")
    to_next_hour(service)
    await usage.turn()
    later = usage.hour
    await publish(service, "acme")
    await recorder.record()
    assert store.events == {(hour, "acme"): 2, (hour, "bolt"): 2, (later, "acme"): 1}
    store.writes.clear()
    await recorder.record()
    assert store.writes == []


async def test_a_write_that_fails_is_made_good_by_the_next(
    service: Service, store: Store, recorder: UsageRecorder
) -> None:
    """Also over the turn of an hour."""
    usage = service.gateway.metrics.usage
    hour = usage.hour
    await publish(service, "acme")
    await recorder.record()
    store.fails_after = 0
    await publish(service, "acme")
    with pytest.raises(LogUnavailable):
        await recorder.record()
    to_next_hour(service)
    await usage.turn()
    with pytest.raises(LogUnavailable):
        await recorder.record()
    store.fails_after = None
    await recorder.record()
    assert store.events == {(hour, "acme"): 2}


async def test_lost_rows_are_recorded_again(service: Service, store: Store, recorder: UsageRecorder) -> None:
    """Rows of all hours; also where the store fails in the middle of it."""
    usage = service.gateway.metrics.usage
    hour = usage.hour
    await publish(service, "acme", "bolt")
    to_next_hour(service)
    await usage.turn()
    await publish(service, "acme")
    await recorder.record()
    everything = dict(store.events)
    assert everything == {(hour, "acme"): 1, (hour, "bolt"): 1, (usage.hour, "acme"): 1}
    store.lose()
    await publish(service, "acme")
    await recorder.record()
    assert store.events == {**everything, (usage.hour, "acme"): 2}
    store.lose()
    await recorder.record()  # also where nothing has changed
    assert store.events == {**everything, (usage.hour, "acme"): 2}
    store.lose()
    store.fails_after = 2
    await publish(service, *(f"t{number}" for number in range(ROWS_AT_ONCE)), "acme")
    with pytest.raises(LogUnavailable):
        await recorder.record()
    store.fails_after = None
    await recorder.record()
    assert len(store.events) == len(everything) + ROWS_AT_ONCE
    assert store.events[usage.hour, "acme"] == 3


async def test_nothing_is_recorded_where_it_is_not_kept(
    service: Service, store: Store, recorder: UsageRecorder
) -> None:
    """With the log in memory, that is."""
    store.durable = False
    await publish(service, "acme")
    await recorder.record()
    assert store.writes == []


async def test_a_record_is_of_a_bounded_number_of_rows(service: Service, store: Store, recorder: UsageRecorder) -> None:
    await publish(service, *(f"t{number}" for number in range(ROWS_AT_ONCE + 1)))
    await recorder.record()
    assert [len(rows) for rows in store.writes] == [ROWS_AT_ONCE, 1]


async def test_the_stop_records_for_a_last_time(service: Service, store: Store, recorder: UsageRecorder) -> None:
    """Without an error where the store is out of reach."""
    await recorder.start()
    await publish(service, "acme")
    await recorder.stop()
    assert list(store.events.values()) == [1]
    await recorder.start()
    store.fails_after = 0
    await publish(service, "acme")
    await recorder.stop()
    assert list(store.events.values()) == [1]
