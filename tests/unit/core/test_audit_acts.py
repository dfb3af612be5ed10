"""The audit acts in memory: bounded, newest first, and one tenant does not push out another's."""

from gateway.core.audit_acts import Act, AuditActs


def add(acts: AuditActs, tenant: str, by_tenant: str = "", count: int = 1) -> None:
    for _ in range(count):
        number = acts.added + 1
        by = by_tenant or tenant
        acts.add(Act(number, float(number), "token.issued", "root", by, "jti", "192.0.2.1", tenant, {}))


def numbers(acts: AuditActs, tenant: str | None = None, before: int | None = None, limit: int = 2_000) -> list[int]:
    return [act.number for act in acts.of(tenant, before, limit)]


def test_the_last_acts_are_kept_newest_first() -> None:
    acts = AuditActs()
    add(acts, "acme", count=1_200)
    assert numbers(acts) == list(range(1_200, 200, -1))
    assert numbers(acts, limit=3) == [1_200, 1_199, 1_198]
    assert numbers(acts, before=1_198, limit=2) == [1_197, 1_196]


def test_a_busy_tenant_does_not_push_out_the_acts_of_a_quiet_one() -> None:
    acts = AuditActs(limit=10)
    add(acts, "globex", count=3)
    add(acts, "acme", count=50)
    assert numbers(acts, "globex") == [3, 2, 1]
    assert len(numbers(acts)) == 10


def test_a_tenant_sees_what_is_about_it_and_what_its_administrators_did() -> None:
    acts = AuditActs()
    add(acts, "acme")
    add(acts, "globex")
    add(acts, "acme", by_tenant="ops")
    assert numbers(acts, "acme") == [3, 1]
    assert numbers(acts, "ops") == [3]
    assert numbers(acts, "initech") == []


def test_many_tenants_take_no_more_place_than_one() -> None:
    acts = AuditActs(limit=20)
    for tenant in range(5_000):
        add(acts, f"t{tenant}")
    assert len(numbers(acts)) == 20
    assert len(acts.tenants) == 20
