"""The effects of revocations, and the cost of keeping them."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.errors import TokenRevoked
from auth.grants import Grants
from auth.identity import Identity
from auth.issue_time import CLOCK_SKEW
from gateway.core.control import ControlKind, ControlMessage
from gateway.core.revocations import NEWEST_IAT_SECONDS, Revocations
from tests.support.held import held

NOW = 1_700_000_000
LONG = 3600.0


def identity(
    tenant: str = "acme", user_id: str = "bob", token_id: str = "jti", issued_at: int = NOW, cutoff: float = 0.0
) -> Identity:
    """The holder of a token."""
    return Identity(
        user_id, tenant, Grants(()), frozenset(), token_id, issued_at, issued_at + 3600, None, "iss", cutoff
    )


def message(
    kind: ControlKind,
    name: str = "",
    at: float = NOW + 0.5,
    seconds: float = LONG,
    tenant: str | None = "acme",
    room: str = "",
    through: float | None = None,
) -> ControlMessage:
    return ControlMessage(kind, tenant, name, at, seconds, room, at if through is None else through)


def bar(user_id: str, room: str, at: float = NOW + 0.5, **more: Any) -> ControlMessage:
    return message("room_revoked", user_id, at, room=room, **more)


def revoked(revocations: Revocations, *holders: Identity, now: float = NOW + 10.0) -> list[bool]:
    return [revocations.is_revoked(holder, now) for holder in holders]


def test_nothing_is_revoked_at_first() -> None:
    """The next token names no cutoff."""
    revocations = Revocations()
    revocations.check(identity(), NOW)
    assert revocations.newest_cutoff("acme", "bob") == 0
    assert revocations.revoked_rooms(identity(), NOW) == frozenset()


def test_token_is_revoked_by_its_id_in_its_tenant() -> None:
    """Another tenant's token of the same id is another token."""
    revocations = Revocations()
    revocations.add(message("token_revoked", "jti"), 0)
    with pytest.raises(TokenRevoked):
        revocations.check(identity(), NOW)
    assert revoked(revocations, identity(tenant="globex"), identity(token_id="jti2")) == [False, False]


def test_platform_revokes_a_token_in_every_tenant() -> None:
    """No tenant stands for all of them."""
    revocations = Revocations()
    revocations.add(message("token_revoked", "jti", tenant=None), 0)
    assert revoked(revocations, identity(), identity(tenant="globex"), identity(token_id="x")) == [True, True, False]


@pytest.mark.parametrize("kind", ["user_revoked", "tenant_revoked"])
def test_revocation_ends_tokens_up_to_now_and_not_later_ones(kind: ControlKind) -> None:
    """Also those of that very second; the next one counts again. The next own token names it."""
    revocations = Revocations()
    revocations.add(message(kind, "bob" if kind == "user_revoked" else "", NOW + 0.7), 0)
    holders = [identity(issued_at=NOW + n) for n in (-10, 0, 1, 2)]
    assert revoked(revocations, *holders) == [True, True, False, False]
    whole = kind == "tenant_revoked"
    assert revoked(revocations, identity(user_id="eve"), identity(tenant="globex")) == [whole, False]
    assert revocations.newest_cutoff("acme", "bob") == NOW + 0.7
    assert revocations.newest_cutoff("acme", "eve") == (NOW + 0.7 if whole else 0)
    assert revocations.newest_cutoff("globex", "bob") == 0
    assert revoked(revocations, identity(cutoff=NOW + 0.7), identity(cutoff=NOW + 0.6)) == [False, True]


def test_room_is_taken_from_tokens_up_to_now() -> None:
    """Other users and rooms keep their access; the user's next token has the room again."""
    revocations = Revocations()
    revocations.add(bar("bob", "circle:1"), 0)
    revocations.add(bar("bob", "circle:2", NOW + 5.5), 0)
    assert revocations.revoked_rooms(identity(), NOW + 10) == {"circle:1", "circle:2"}
    assert revocations.revoked_rooms(identity(issued_at=NOW + 3), NOW + 10) == {"circle:2"}
    assert revocations.revoked_rooms(identity(cutoff=NOW + 0.5), NOW + 10) == {"circle:2"}
    assert revocations.revoked_rooms(identity(cutoff=revocations.newest_cutoff("acme", "bob")), NOW + 10) == frozenset()
    assert [revocations.is_room_revoked(identity(), f"circle:{n}", NOW + 10) for n in (1, 2, 3)] == [True, True, False]
    for other in (identity(user_id="eve"), identity(tenant="globex")):
        assert revocations.revoked_rooms(other, NOW + 10) == frozenset()


@pytest.mark.parametrize("kind", ["user_revoked", "tenant_revoked", "room_revoked"])
@pytest.mark.parametrize("ahead", range(1, CLOCK_SKEW + 1))
def test_shown_token_ends_though_its_clock_is_ahead(kind: ControlKind, ahead: int) -> None:
    """The end is permanent, and the control message to other nodes says how far the cutoff reaches. A token that its
    issuer issues afterwards, a second later by the same clock, is good."""
    revocations = Revocations()
    before = identity(issued_at=NOW + ahead)
    revocations.check(before, NOW + 0.1)
    room = "circle:1" if kind == "room_revoked" else ""
    name = "" if kind == "tenant_revoked" else "bob"
    added, news = revocations.add(message(kind, name, NOW + 0.5, room=room), 0)
    assert (news, added.through) == (True, NOW + ahead)
    elsewhere = Revocations()
    elsewhere.add(added, 0)
    after = identity(issued_at=NOW + ahead + 1)
    for node in (revocations, elsewhere):
        for later in (NOW + 0.6, NOW + 20, NOW + 3_000):
            if room:
                assert node.is_room_revoked(before, room, later)
            else:
                assert node.is_revoked(before, later)
        assert not node.is_revoked(after, NOW + ahead + 1.5)
        assert not node.is_room_revoked(after, room, NOW + ahead + 1.5)


def test_a_repeated_cutoff_reaches_no_further() -> None:
    """A token that is first seen after the cutoff is not one from before it."""
    revocations = Revocations()
    cutoff = message("user_revoked", "bob", NOW + 0.5)
    revocations.add(cutoff, 0)
    revocations.check(identity(issued_at=NOW + 2), NOW + 2.5)
    assert revocations.add(cutoff, 0)[1] is False
    assert revoked(revocations, identity(issued_at=NOW + 2)) == [False]


def test_shown_tokens_are_forgotten_in_time() -> None:
    """A client that shows fresh tokens all the time takes no memory for longer than cutoffs take to arrive."""
    revocations = Revocations()
    sizes = []
    for n in range(1_000, 2_000):
        revocations.sweep(float(n))
        revocations.check(identity(user_id=f"user{n}", issued_at=NOW + n), NOW + n)
        sizes.append(held(revocations))
    assert max(sizes) == max(sizes[: 2 * int(NEWEST_IAT_SECONDS) + 2])


def test_revocations_arrive_in_any_order() -> None:
    """An old one that comes late takes nothing back."""
    revocations = Revocations()
    revocations.add(message("user_revoked", "bob", NOW + 100), 0)
    assert revocations.add(message("user_revoked", "bob", NOW, LONG - 100), 0)[1] is False
    assert revocations.newest_cutoff("acme", "bob") == NOW + 100
    revocations.sweep(LONG - 50)
    assert revocations.newest_cutoff("acme", "bob") == NOW + 100


def test_repeated_cutoff_comes_after_the_tokens_in_between() -> None:
    """Before, after, before, after: each ends what came before it and nothing after it, within a microsecond, though
    the clock was put back."""
    revocations = Revocations()
    for now in (NOW + 0.5, NOW + 0.5, NOW - 3600.0, NOW + 0.5):
        earlier = identity(issued_at=int(now), cutoff=revocations.newest_cutoff("acme", "bob"))
        assert revoked(revocations, earlier) == [False]
        at = revocations.next_cutoff("acme", now)
        revocations.add(message("user_revoked", "bob", at, through=now), 0)
        assert revoked(revocations, earlier) == [True]
    assert revocations.newest_cutoff("acme", "bob") < NOW + 0.51


def test_sweep_forgets_what_has_run_out() -> None:
    """Within a minute; and by the timer alone, whatever the wall clock says."""
    revocations = Revocations()
    revocations.add(message("token_revoked", "jti"), 100.0)
    revocations.add(message("token_revoked", "jti", seconds=LONG - 100), 100.0)
    revocations.add(message("user_revoked", "eve"), 100.0)
    revocations.add(message("tenant_revoked", tenant="globex"), 100.0)
    revocations.add(bar("zoe", "circle:1"), 100.0)
    holders = [identity(), identity(user_id="eve", token_id="x"), identity(tenant="globex", token_id="x")]
    revocations.sweep(100.0 + LONG - 1)
    assert revoked(revocations, *holders, now=NOW + 1e9) == [True] * 3
    assert revocations.revoked_rooms(identity(user_id="zoe"), NOW + 1e9) == {"circle:1"}
    revocations.sweep(100.0 + LONG + 60)
    assert revoked(revocations, *holders) == [False] * 3
    assert len(revocations) == 0
    assert held(revocations) <= held(Revocations()) + 32  # numbers


# ---- bounds


def test_user_who_is_removed_from_too_many_rooms_is_revoked() -> None:
    """In place of the bars: nothing of them is lost, and the next token has all its rooms."""
    revocations = Revocations(max_revoked_rooms=3)
    for n in range(3):
        revocations.add(bar("bob", f"circle:{n}", NOW + n + 0.5), 0)
    added, news = revocations.add(bar("bob", "circle:3", NOW + 3.5), 0)
    assert (added.kind, added.name, added.at, news) == ("user_revoked", "bob", NOW + 3.5, True)
    assert revoked(revocations, identity(issued_at=NOW + 3), identity(issued_at=NOW + 4)) == [True, False]
    assert revoked(revocations, identity(user_id="eve"), identity(cutoff=NOW + 3.5)) == [False, False]
    assert revocations.revoked_rooms(identity(), NOW + 10) == frozenset()
    assert revocations.count("acme") == 1
    # # Repeated, by the log or by another node, an earlier removal is the cutoff that took its place.
    assert revocations.add(bar("bob", "circle:2", NOW + 2.5), 0)[0].kind == "user_revoked"
    assert revocations.add(bar("bob", "circle:2", NOW + 2.5), 0)[1] is False
    added, _ = revocations.add(bar("bob", "circle:2", NOW + 9.5), 0)
    assert added.kind == "room_revoked"
    assert revocations.is_room_revoked(identity(issued_at=NOW + 6), "circle:2", NOW + 10)


@pytest.mark.parametrize("kind", ["token_revoked", "user_revoked", "room_revoked"])
def test_tenant_with_too_many_is_revoked(kind: ControlKind) -> None:
    """In place of them: whatever was revoked is still revoked, ahead of the clock as well; other tenants are not."""
    revocations = Revocations(max_entries=10)
    revocations.add(message("user_revoked", "eve", tenant="globex"), 0)
    for n in range(10):
        revocations.add(message(kind, f"name{n}", NOW + n / 10, room="circle:1"), 0)
    assert revocations.count("acme") == 10
    added, news = revocations.add(message(kind, "name10", NOW + 1.0, room="circle:1"), 0)
    assert (added.kind, added.name, added.at, added.through, news) == ("tenant_revoked", "", NOW + 1, NOW + 6, True)
    assert revocations.count("acme") == 0
    issued = [identity(user_id="zoe", issued_at=NOW + n) for n in (0, CLOCK_SKEW, CLOCK_SKEW + 2)]
    assert revoked(revocations, *issued, identity(cutoff=NOW + 1.0)) == [True, True, False, False]
    assert revoked(revocations, identity(tenant="globex"), identity("globex", "eve")) == [False, True]
    assert revocations.add(message(kind, "name3", NOW + 0.3, room="circle:1"), 0)[0].kind == "tenant_revoked"


def test_clock_that_was_ahead_does_not_revoke_a_full_tenant_again_and_again() -> None:
    """Its cutoffs lie a day ahead; they are replaced by one that ends as much, once."""
    revocations = Revocations(max_entries=10)
    for n in range(10):
        revocations.add(message("user_revoked", f"user{n}", NOW + 86_400.0), 0)
    kinds = [revocations.add(message("user_revoked", f"other{n}", NOW + 1.0 + n), 0)[0].kind for n in range(5)]
    assert kinds == ["tenant_revoked"] * 5
    assert (revocations.count("acme"), len(revocations)) == (0, 1)
    # A token that was issued since names that cutoff; the next one, made by a clock that was put right, ends it.
    issued = identity(issued_at=NOW + 6, cutoff=revocations.newest_cutoff("acme", "bob"))
    revocations.add(message("user_revoked", "bob", revocations.next_cutoff("acme", NOW + 7.0), through=NOW + 7.0), 0)
    assert revoked(revocations, issued) == [True]


def test_connections_to_close_are_neither_bounded_nor_withheld() -> None:
    """They are over in minutes."""
    revocations = Revocations(max_entries=2)
    for n in range(5):
        added, news = revocations.add(message("connection_closed", f"con_{n}", seconds=120.0), 0)
        assert (added.kind, news) == ("connection_closed", True)
    assert (revocations.count("acme"), len(revocations)) == (0, 5)
    revocations.sweep(181.0)
    assert len(revocations) == 0


class Counting(dict[Any, Any]):
    """Counts how often something of it is looked at."""

    looks = 0

    def __iter__(self) -> Iterator[Any]:
        for key in super().__iter__():
            self.looks += 1
            yield key

    def get(self, key: Any, default: Any = None) -> Any:
        self.looks += 1
        return super().get(key, default)


@pytest.mark.parametrize("size", [100, 10_000])
def test_nothing_costs_more_with_more_in_force(size: int) -> None:
    """Looks at what is kept, for a sweep, a judgement, one more and one again: as many with 100 as with 10,000."""
    revocations = Revocations()
    for n in range(size):
        revocations.add(message("user_revoked", f"user{n}", seconds=LONG + n), 0)
        revocations.add(message("token_revoked", f"jti{n}", seconds=LONG + n), 0)
        revocations.add(bar(f"user{n}", "circle:1", NOW + 0.6, seconds=LONG + n), 0)
    assert len(revocations) == 3 * size
    revocations.sweep(1.0)
    wheel, tenant = revocations._expiry, revocations._tenants["acme"]
    wheel._seconds, wheel._when = counted = [Counting(wheel._seconds), Counting(wheel._when)]
    kinds = tenant._kinds = {kind: Counting(named) for kind, named in tenant._kinds.items()}
    rooms = tenant._room_revocations = Counting(tenant._room_revocations)
    counted += [*kinds.values(), rooms]  # type: ignore[list-item]
    for n in range(100):
        revocations.sweep(1.0 + n / 2)
        holder = identity(user_id=f"user{n}")
        assert revocations.is_revoked(holder, NOW + 10)
        revocations.revoked_rooms(holder, NOW + 10)
        revocations.add(message("user_revoked", f"other{n}"), 1.0)
        revocations.add(message("user_revoked", f"user{n}", NOW + n + 1.0), 1.0)
        revocations.add(bar(f"other{n}", "circle:2"), 1.0)
    assert sum(each.looks for each in counted) < 100 * 25


def test_revoking_a_tenant_costs_what_it_replaces() -> None:
    """The first takes the place of all; the next ones find nothing left to look at."""
    revocations = Revocations()
    for n in range(1_000):
        revocations.add(bar(f"user{n}", "circle:1"), 0)
    revocations.add(message("tenant_revoked", at=NOW + 1.0), 0)
    assert (len(revocations), revocations.count("acme")) == (1, 0)
    revocations.sweep(1.0)
    assert held(revocations) < held(Revocations()) + 500  # one entry


@pytest.mark.parametrize("explicit", [False, True])
def test_replacing_many_does_not_hold_up_the_loop(explicit: bool) -> None:
    """A hundred thousand that go at once, because they were replaced or have expired, go some at each sweep."""
    revocations = Revocations(max_entries=100_000)
    for n in range(100_000):
        revocations.add(bar(f"user{n}", "circle:1", seconds=100.0), 0)
    counting = revocations._expiry._when = Counting(revocations._expiry._when)
    if explicit:
        revocations.add(message("tenant_revoked", at=NOW + 1.0), 0)
    else:
        revocations.add(bar("last", "circle:1", NOW + 1.0), 0)
    assert (len(revocations), len(counting)) == (1, 100_001)
    sizes = []
    while len(counting) > 1:
        revocations.sweep(1.0)
        sizes.append(len(counting))
    assert sizes[:2] == [90_001, 80_001]
    for n in range(30_000):
        revocations.add(bar(f"user{n}", "circle:1", NOW + 2.0, seconds=100.0), 10.0)
    revocations.sweep(200.0)
    assert len(revocations) == 20_001


# Every separator that a joined key might use, and look-alikes of letters.
separators = "_|:.-/ \x00"
names = st.text(st.sampled_from("ab\u0430\uff41*" + separators), max_size=4)


@st.composite
def alike(draw: st.DrawFn) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    """Two holders' fields, which joined by some separator, or by none, give the same text."""
    joint = draw(st.sampled_from(["", *separators]))
    parts = draw(st.lists(names, min_size=3, max_size=5))
    first, second = (draw(st.integers(1, len(parts) - 1)) for _ in range(2))
    name, other = (joint.join(parts[:cut]) for cut in (first, second))
    rest, other_rest = (joint.join(parts[cut:]) for cut in (first, second))
    return (name, rest, rest), (other, other_rest, other_rest)


@settings(max_examples=400)
@given(alike())
def test_no_field_spills_into_another(pair: tuple[tuple[str, str, str], tuple[str, str, str]]) -> None:
    """("a_b", "c") is not ("a", "b_c"): only what is equal field by field is revoked (CVE-2026-39972)."""
    (tenant, user, token), asked = pair
    other = identity(*asked)
    for kind, name, same in (
        ("token_revoked", token, (tenant, token) == (other.tenant, other.token_id)),
        ("user_revoked", user, (tenant, user) == (other.tenant, other.user_id)),
        ("tenant_revoked", "", tenant == other.tenant),
    ):
        revocations = Revocations()
        revocations.add(message(kind, name, tenant=tenant), 0)  # type: ignore[arg-type]
        assert revoked(revocations, other) == [same]


steps = st.one_of(
    st.tuples(
        st.sampled_from(["token_revoked", "user_revoked", "tenant_revoked", "room_revoked"]),
        st.sampled_from("ab"),
        st.integers(0, 20),
        st.sampled_from(["circle:1", "circle:2", "circle:3"]),
    ),
    st.tuples(st.just("sweep"), st.just(""), st.integers(0, 20), st.just("")),
)


@settings(max_examples=300)
@given(st.lists(steps, max_size=40))
def test_nothing_in_force_is_ever_forgotten(steps: list[tuple[Any, str, int, str]]) -> None:
    """For any replacements and sweeps: each token that a message in force ends is ended."""
    revocations = Revocations(max_revoked_rooms=2, max_entries=4)
    added: list[ControlMessage] = []
    timer = 0.0
    for kind, name, number, room in steps:
        if kind == "sweep":
            timer += number
            revocations.sweep(timer)
            continue
        each = message(kind, "" if kind == "tenant_revoked" else name, NOW + number / 2, room=room, seconds=1e6)
        added.append(each)
        revocations.add(each, timer)
        assert revocations.count("acme") <= 4
    for each in added:
        holder = identity(user_id=each.name or "c", token_id=each.name, issued_at=int(each.at), cutoff=0.0)
        if each.kind == "room_revoked":
            taken = revocations.is_room_revoked(holder, each.room, NOW + 100)
            assert taken or revocations.is_revoked(holder, NOW + 100)
        else:
            assert revocations.is_revoked(holder, NOW + 100)
    assert len(revocations) == sum(1 for _ in revocations)


def test_wheel_is_shared_by_all_of_a_tenant() -> None:
    """An entry has one deadline, the latest that was set."""
    revocations = Revocations()
    for seconds in (100.0, 700.0, 300.0):
        revocations.add(message("user_revoked", "bob", NOW + seconds, seconds), 0)
    revocations.sweep(600.0)
    assert revoked(revocations, identity()) == [True]
    revocations.sweep(760.0)
    assert revoked(revocations, identity()) == [False]
