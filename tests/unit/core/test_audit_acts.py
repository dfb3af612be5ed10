"""The audit acts in memory: bounded, newest first, and one tenant does not push out another's."""

import re

from gateway.core.audit_acts import SORT_KEY_PATTERN, Act, ActSortKey, AuditActs


def add(acts: AuditActs, tenant: str, by_tenant: str = "", count: int = 1) -> None:
    for _ in range(count):
        number = acts.added + 1
        by = by_tenant or tenant
        acts.add(Act(number, float(number), "token.issued", "root", by, "jti", "192.0.2.1", tenant, {}))


def numbers(acts: AuditActs, tenant: str | None = None, before: int | None = None, limit: int = 2_000) -> list[int]:
    return [act.number for act in acts.of(tenant, None if before is None else (float(before), before), limit)]


def test_the_last_acts_are_kept_newest_first() -> None:
    acts = AuditActs()
    add(acts, "acme", count=1_200)
    assert numbers(acts) == list(range(1_200, 200, -1))
    assert numbers(acts, limit=3) == [1_200, 1_199, 1_198]
    assert numbers(acts, before=1_198, limit=2) == [1_197, 1_196]


def test_a_busy_tenant_does_not_evict_the_acts_of_a_quiet_one() -> None:
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


def test_acts_are_in_the_order_of_their_times() -> None:
    """Also where the clock was set back; of the same time, by their numbers."""
    acts = AuditActs()
    for number, at in enumerate((10.0, 30.0, 20.0, 20.0), 1):
        acts.add(Act(number, at, "token.issued", "root", "acme", "jti", "192.0.2.1", "acme", {}))
    assert numbers(acts) == [2, 4, 3, 1]
    assert [act.number for act in acts.of(None, (20.0, 4), 9)] == [3, 1]


def test_pages_of_several_nodes_have_each_act_once() -> None:
    """From the sort key at which a page ends, acts of one time go on by the name of their node."""
    nodes = {"node_a": AuditActs(), "node_b": AuditActs(), "node_c": AuditActs()}
    for acts in nodes.values():
        for number, at in enumerate((1.0, 2.0, 2.0), 1):
            acts.add(Act(number, at, "token.issued", "root", "acme", "jti", "192.0.2.1", "acme", {}))
    every = [ActSortKey(act.at, node, act.number) for node, acts in nodes.items() for act in acts.of(None, None, 9)]
    for sort_key in every:
        later = [
            ActSortKey(act.at, node, act.number)
            for node, acts in nodes.items()
            for act in acts.of(None, sort_key.on(node), 9)
        ]
        assert sorted(later) == sorted(one for one in every if one < sort_key), sort_key


def test_the_text_of_a_sort_key_is_parsed() -> None:
    sort_key = ActSortKey(1_768_000_000.123457, "node_0123456789ab", 1_000)
    assert re.fullmatch(SORT_KEY_PATTERN, str(sort_key))
    assert ActSortKey.parse(str(sort_key)) == sort_key
