"""Fair shares of the event loop: work of tenants in turns, within a budget for each iteration."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from gateway.core.reserved_tenants import CANARY_TENANTS
from gateway.core.tenant_quotas import TenantQuota, TenantQuotas
from gateway.engine.fair_share import AHEAD, ALONE_BUDGET, ALONE_SECONDS, BUDGET, FairShare


def standing() -> float:
    """A timer of a machine on which work takes no time but what it charges."""
    return 100.0


def shares_of_now() -> FairShare:
    return FairShare(standing)


def counting(shares: FairShare, done: list[str], tenant: str, cost: int) -> Callable[[], None]:
    """Work that costs more than was known beforehand."""

    def work() -> None:
        done.append(tenant)
        shares.charge(cost)

    return work


async def finish(shares: FairShare) -> None:
    """Wait for all work."""
    iterations = 0
    while not shares.idle:
        iterations += 1
        assert iterations < 10_000
        await asyncio.sleep(0)


async def test_work_is_done_at_once_until_the_budget_is_used() -> None:
    shares = shares_of_now()
    assert [shares.take("acme", ALONE_BUDGET // 2) for _ in range(3)] == [True, True, False]
    await finish(shares)
    assert shares.take("acme", ALONE_BUDGET // 2)


async def test_the_wait_of_a_tenant_is_that_of_its_first_work() -> None:
    now = 100.0
    shares, done = FairShare(lambda: now), list[str]()
    for seconds in (0.0, 1.0):
        now += seconds
        shares.submit("acme", counting(shares, done, "acme", 0))
    now += 0.5
    assert [shares.waiting(tenant) for tenant in ("acme", "bolt")] == [1.5, 0.0]
    await finish(shares)
    assert shares.waiting("acme") == 0.0


async def test_tenants_have_equal_shares_whatever_their_number_of_jobs_and_their_size() -> None:
    """By time: a tenant of large jobs gets as much of the loop as one of many small ones."""
    shares, done = shares_of_now(), list[str]()
    for _ in range(1_000):
        shares.submit("small", counting(shares, done, "small", BUDGET // 10))
    for _ in range(100):
        shares.submit("large", counting(shares, done, "large", 3 * BUDGET))
        shares.submit("known", counting(shares, done, "known", 0), cost=2 * BUDGET)
    for _ in range(150):
        await asyncio.sleep(0)
    assert len(done) < 1_000
    spent = [done.count("small") / 10, done.count("large") * 3, done.count("known") * 2]
    assert min(spent) >= 0.8 * sum(spent) / 3
    await finish(shares)
    assert len(done) == 1_200


@pytest.mark.parametrize(("heavy", "light"), [(2.0, 1.0), (10.0, 0.1), (1.0, 0.5)])
async def test_shares_are_in_proportion_to_weights(heavy: float, light: float) -> None:
    """Tenants with waiting work, small jobs and larger ones of a cost that is known beforehand. A round of all tenants
    takes no longer than with equal weights."""
    quotas = TenantQuotas(
        overrides={f"{kind}{weight}": TenantQuota(weight=weight) for kind in "ab" for weight in (heavy, light)}
    )
    shares, spent, unserved = FairShare(standing, quotas), Counter[str](), list[int]()

    def work(tenant: str, cost: int, known: bool) -> Callable[[], None]:
        def work() -> None:
            spent[tenant] += cost
            if not known:
                shares.charge(cost)
            unserved.append(0 if tenant == f"a{light}" else unserved[-1] + cost if unserved else 0)

        return work

    for kind, cost, known in (("a", 50, False), ("b", 300, True)):
        for weight in (heavy, light):
            for _ in range(600_000 // cost):
                shares.submit(f"{kind}{weight}", work(f"{kind}{weight}", cost, known), cost if known else 0)
    for _ in range(500_000 // BUDGET):
        await asyncio.sleep(0)
    for kind in "ab":
        assert spent[f"{kind}{heavy}"] / spent[f"{kind}{light}"] == pytest.approx(heavy / light, rel=0.15)
    assert spent[f"a{heavy}"] / spent[f"b{heavy}"] == pytest.approx(1.0, rel=0.1)
    # The quantum of the light one is spent by work of 50 us: as many rounds later as it takes to earn that.
    assert max(unserved) <= 2 * BUDGET * 3 * max(1.0, 50 / (BUDGET * light / heavy)) + 300
    shares.reset()


async def test_work_costs_what_it_takes_where_that_is_more_than_it_charges() -> None:
    """On a slow machine an iteration is no longer than on a fast one. A pause of the process counts as one turn."""
    now, done = 100.0, list[str]()
    shares = FairShare(lambda: now)

    def work(tenant: str, seconds: float, cost: int) -> None:
        nonlocal now
        now += seconds
        done.append(tenant)
        shares.charge(cost)

    for _ in range(20):
        shares.submit("slow", partial(work, "slow", 0.000_5, 100), cost=50)
    for _ in range(20):
        shares.submit("known", partial(work, "known", 0.0, 400), cost=100)
    while not shares.idle:
        before = len(done)
        await asyncio.sleep(0)
        assert len(done) - before <= 2
    assert done.count("slow") == done.count("known") == 20
    assert 9 <= done[:20].count("slow") <= 11
    shares.submit("paused", partial(work, "paused", 5.0, 0))
    for tenant in ("paused", "other") * 3:
        shares.submit(tenant, partial(work, tenant, 0.0, BUDGET))
    await finish(shares)
    assert all(done[40:45].count(tenant) >= 2 for tenant in ("paused", "other"))


async def test_an_iteration_takes_the_budget_and_no_more_than_one_job_beyond_it() -> None:
    shares, done = shares_of_now(), list[str]()
    for number in range(50):
        shares.submit(f"t{number}", counting(shares, done, "", 400))
    while not shares.idle:
        before = len(done)
        await asyncio.sleep(0)
        assert len(done) - before <= 3
    assert len(done) == 50


async def test_an_iteration_is_shorter_while_tenants_compete() -> None:
    now = 100.0
    shares, done = FairShare(lambda: now), list[str]()

    async def done_in_one_iteration() -> int:
        for _ in range(100):
            shares.submit("acme", counting(shares, done, "acme", BUDGET // 5))
        await asyncio.sleep(0)
        count = len(done)
        await finish(shares)
        done.clear()
        return count

    shares.take("acme", 0)
    assert (await done_in_one_iteration(), shares.budget("acme")) == (5, BUDGET)
    now += 2 * ALONE_SECONDS
    assert (await done_in_one_iteration(), shares.budget("acme")) == (5 * ALONE_BUDGET // BUDGET, ALONE_BUDGET)
    shares.submit("bolt", lambda: None)
    assert (await done_in_one_iteration(), shares.budget("acme")) == (5, BUDGET)


async def test_a_tenant_without_waiting_work_goes_ahead_for_a_little() -> None:
    """Others wait, and it does not; but not for long, and not each of very many."""
    shares, done = shares_of_now(), list[str]()
    for _ in range(3):
        shares.submit("busy", counting(shares, done, "busy", 50 * BUDGET))
    assert not shares.take("busy", 1)
    assert [shares.take("quiet", AHEAD // 2) for _ in range(3)] == [True, True, False]
    ahead = sum(shares.take(f"t{number}", AHEAD) for number in range(100))
    assert ahead <= BUDGET // AHEAD
    await asyncio.sleep(0)
    assert shares.take("quiet", AHEAD)
    await finish(shares)


async def test_cancelled_work_costs_nothing_and_is_not_done() -> None:
    shares, done = shares_of_now(), list[str]()
    shares.submit("busy", counting(shares, done, "busy", BUDGET))
    loop = asyncio.get_running_loop()
    cancelled = asyncio.create_task(shares.turn("acme", 10_000 * BUDGET, loop.time() + 10))
    await asyncio.sleep(0)
    cancelled.cancel()
    shares.submit("acme", lambda: done.append("acme"))
    await finish(shares)
    assert done == ["busy", "acme"]
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_a_turn_that_does_not_come_in_time_times_out() -> None:
    shares, done = shares_of_now(), list[str]()
    for _ in range(100):
        shares.submit("acme", counting(shares, done, "acme", 2 * BUDGET))
    with pytest.raises(TimeoutError):
        await shares.turn("acme", 1, asyncio.get_running_loop().time())
    await finish(shares)


async def test_urgent_work_goes_before_the_other_work_of_its_tenant() -> None:
    shares, done = shares_of_now(), list[str]()
    for number in range(3):
        shares.submit("acme", lambda number=number: done.append(str(number)))  # type: ignore[misc]
    shares.submit("acme", lambda: done.append("urgent"), urgent=True)
    await finish(shares)
    assert done == ["urgent", "0", "1", "2"]


async def test_a_failure_stops_no_other_work(caplog: pytest.LogCaptureFixture) -> None:
    shares, done = shares_of_now(), list[str]()

    def fail() -> None:
        raise ZeroDivisionError

    shares.submit("acme", fail)
    shares.submit("acme", lambda: done.append("acme"))
    shares.submit("bolt", lambda: done.append("bolt"))
    await finish(shares)
    assert sorted(done) == ["acme", "bolt"]
    assert [record.message for record in caplog.records] == ["work of a tenant failed"]


async def test_work_that_could_not_wait_counts_for_the_share() -> None:
    """A tenant whose events are delivered at once is served later than others with the same jobs."""
    shares, done = shares_of_now(), list[str]()
    for tenant in ("heavy", "light"):
        for _ in range(20):
            shares.submit(tenant, counting(shares, done, tenant, BUDGET))
    shares.debit("heavy", 10 * BUDGET)
    shares.debit("other", BUDGET)
    for _ in range(20):
        await asyncio.sleep(0)
    assert done.count("light") >= done.count("heavy") + 8
    await finish(shares)


async def test_waits_are_counted() -> None:
    now = 100.0
    shares = FairShare(lambda: now)
    for _ in range(3):
        shares.submit("acme", lambda: None, cost=BUDGET)
    now += 0.004
    await finish(shares)
    assert sum(shares.waits.counts) == 3
    assert shares.waits.total == pytest.approx(0.012)


async def test_nothing_is_kept_of_tenants_without_work() -> None:
    """However many there were."""
    shares = shares_of_now()
    for number in range(5_000):
        shares.submit(f"t{number}", lambda: None, cost=100)
        shares.take(f"u{number}", 1)
    assert len(shares) == 5_000
    await finish(shares)
    assert len(shares) == 0


async def test_the_canary_is_no_other_tenant() -> None:
    """Its checks would else divide the large fan-outs of a tenant that is alone, for a second of each five."""
    now = 100.0
    shares = FairShare(lambda: now)
    assert not shares.alone("acme")
    now += 2 * ALONE_SECONDS
    for tenant in CANARY_TENANTS:
        shares.alone(tenant)
        shares.take(tenant, 1)
    assert shares.alone("acme")
    assert not shares.alone("bolt")
    assert not shares.alone("acme")
