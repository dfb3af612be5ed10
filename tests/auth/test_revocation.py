"""What a revocation ends, and what it leaves alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.errors import TokenRevoked
from auth.grants import Grants
from auth.identity import Identity
from auth.revocation import Revocations
from tests.auth.forge import NOW

LATER = NOW + 3600.0


def identity(tenant: str = "acme", user_id: str = "bob", token_id: str = "jti", issued_at: int = NOW) -> Identity:
    """The holder of a token."""
    return Identity(user_id, tenant, Grants(()), frozenset(), token_id, issued_at, issued_at + 3600)


def test_nothing_is_revoked_at_first() -> None:
    """And the first iat that counts is any."""
    revocations = Revocations()
    revocations.check(identity())
    assert revocations.earliest_iat("acme", "bob") == 0


def test_token_is_revoked_by_its_id_in_its_tenant() -> None:
    """Another tenant's token of the same id is another token."""
    revocations = Revocations()
    revocations.revoke_token("acme", "jti", LATER)
    with pytest.raises(TokenRevoked):
        revocations.check(identity())
    revocations.check(identity(tenant="globex"))
    revocations.check(identity(token_id="jti2"))


def test_platform_revokes_a_token_in_every_tenant() -> None:
    """No tenant stands for all of them."""
    revocations = Revocations()
    revocations.revoke_token(None, "jti", LATER)
    assert revocations.is_revoked(identity())
    assert revocations.is_revoked(identity(tenant="globex"))
    assert not revocations.is_revoked(identity(token_id="other"))


@pytest.mark.parametrize("whole_tenant", [False, True], ids=["user", "tenant"])
def test_revocation_ends_tokens_up_to_now_and_not_later_ones(whole_tenant: bool) -> None:
    """Also those of that very second; the next one counts again."""
    revocations = Revocations()
    if whole_tenant:
        revocations.revoke_tenant("acme", NOW + 0.7, LATER)
    else:
        revocations.revoke_user("acme", "bob", NOW + 0.7, LATER)
    assert [revocations.is_revoked(identity(issued_at=NOW + n)) for n in (-10, 0, 1, 2)] == [True, True, False, False]
    assert revocations.is_revoked(identity(user_id="eve")) is whole_tenant
    assert not revocations.is_revoked(identity(tenant="globex"))
    assert revocations.earliest_iat("acme", "bob") == NOW + 1
    assert revocations.earliest_iat("acme", "eve") == (NOW + 1 if whole_tenant else 0)
    assert revocations.earliest_iat("globex", "bob") == 0


def test_revocations_arrive_in_any_order() -> None:
    """An old one that comes late takes nothing back."""
    revocations = Revocations()
    revocations.revoke_user("acme", "bob", NOW + 100, LATER)
    revocations.revoke_user("acme", "bob", NOW, LATER - 100)
    assert revocations.earliest_iat("acme", "bob") == NOW + 101
    revocations.sweep(LATER - 50)
    assert revocations.earliest_iat("acme", "bob") == NOW + 101


def test_repeated_revocation_never_runs_away() -> None:
    """A thousand in one second leave the first good iat within the clock skew that a verifier bears."""
    revocations = Revocations()
    for _ in range(1000):
        revocations.revoke_tenant("acme", NOW + 0.5, LATER)
    assert revocations.earliest_iat("acme", "bob") == NOW + 5


def test_later_of_user_and_tenant_counts() -> None:
    """Both hold, whichever came first."""
    revocations = Revocations()
    revocations.revoke_user("acme", "bob", NOW, LATER)
    revocations.revoke_tenant("acme", NOW + 10, LATER)
    assert revocations.earliest_iat("acme", "bob") == NOW + 11
    revocations.revoke_user("acme", "bob", NOW + 20, LATER)
    assert revocations.earliest_iat("acme", "bob") == NOW + 21


def test_sweep_forgets_what_has_run_out() -> None:
    """And only that."""
    revocations = Revocations()
    revocations.revoke_token("acme", "jti", LATER)
    revocations.revoke_token("acme", "jti", LATER - 100)
    revocations.revoke_user("acme", "eve", NOW, LATER)
    revocations.revoke_tenant("globex", NOW, LATER)
    held = [identity(), identity(user_id="eve", token_id="x"), identity(tenant="globex", token_id="x")]
    revocations.sweep(LATER - 1)
    assert all(map(revocations.is_revoked, held))
    revocations.sweep(LATER)
    assert not any(map(revocations.is_revoked, held))


def test_cutoff_moved_ahead_is_kept_as_much_longer() -> None:
    """A token issued a second ahead of the clock also lives a second longer."""
    revocations = Revocations()
    for _ in range(3):
        revocations.revoke_user("acme", "bob", NOW, LATER)
    revocations.sweep(LATER + 1)
    assert revocations.is_revoked(identity(issued_at=NOW + 2))


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


@settings(deadline=None, max_examples=400)
@given(alike())
def test_no_field_spills_into_another(pair: tuple[tuple[str, str, str], tuple[str, str, str]]) -> None:
    """("a_b", "c") is not ("a", "b_c"): only what is equal field by field is revoked (CVE-2026-39972)."""
    (tenant, user, token), asked = pair
    other = identity(*asked)
    revocations = Revocations()
    revocations.revoke_token(tenant, token, LATER)
    assert revocations.is_revoked(other) is ((tenant, token) == (other.tenant, other.token_id))
    revocations = Revocations()
    revocations.revoke_user(tenant, user, NOW, LATER)
    assert revocations.is_revoked(other) is ((tenant, user) == (other.tenant, other.user_id))
    revocations = Revocations()
    revocations.revoke_tenant(tenant, NOW, LATER)
    assert revocations.is_revoked(other) is (tenant == other.tenant)
