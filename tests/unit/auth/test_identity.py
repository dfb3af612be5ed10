"""The rooms that an identity may follow and publish to, and its scopes of administration."""

from collections.abc import Iterable

import pytest

from auth.errors import AuthError, RoomForbidden, ScopeMissing
from auth.grants import Grants
from auth.identity import Identity, require_admin, require_publish, require_subscribe
from schemas.rooms import DEFAULT_KINDS


def alice(scopes: str = "", rooms: Iterable[str] = ()) -> Identity:
    """Alice of acme, who holds these."""
    return Identity("alice", "acme", Grants.parse(rooms), frozenset(scopes.split()), "jti", 0, 10)


def refused(error: AuthError) -> str | list[str]:
    """The scope or the rooms that an error names."""
    if isinstance(error, ScopeMissing):
        return error.scope
    assert isinstance(error, RoomForbidden)
    return error.rooms


@pytest.mark.parametrize(
    ("scopes", "has"),
    [
        ("subscribe", {"subscribe"}),
        ("admin", {"admin"}),
        ("platform", {"admin", "platform"}),
        ("", set()),
    ],
)
def test_platform_is_admin_too_and_nothing_else_is_implied(scopes: str, has: set[str]) -> None:
    """An admin may publish anywhere in its tenant, but has no scope publish to hand on."""
    assert {scope for scope in ("subscribe", "publish", "admin", "platform") if alice(scopes).has_scope(scope)} == has


SUBSCRIBE: list[tuple[str, list[str], list[str], str | list[str] | None]] = [
    ("subscribe", ["circle:1"], ["circle:1"], None),
    ("subscribe", ["circle:*"], ["circle:1", "circle:2", "user:alice"], None),
    ("subscribe", ["circle:1"], ["circle:1", "circle:2", "tenant"], ["circle:2", "tenant"]),
    ("subscribe", [], ["user:bob"], ["user:bob"]),
    ("subscribe", ["user:*"], ["user:bob"], None),
    ("subscribe", [], ["user:alic", "user:alice2"], ["user:alic", "user:alice2"]),
    ("", [], ["user:alice"], None),
    ("", [], [], None),
    ("", ["circle:1"], ["user:alice", "circle:1"], "subscribe"),
    ("publish admin platform", ["circle:1"], ["circle:1"], "subscribe"),
    ("subscribe admin platform", [], ["circle:1"], ["circle:1"]),
]


@pytest.mark.parametrize(("scopes", "granted", "asked", "missing"), SUBSCRIBE)
def test_subscribing(scopes: str, granted: list[str], asked: list[str], missing: str | list[str] | None) -> None:
    """Takes the scope and a grant of each room; one's own room takes neither."""
    if missing is None:
        require_subscribe(alice(scopes, granted), asked)
        return
    with pytest.raises(AuthError) as caught:
        require_subscribe(alice(scopes, granted), asked)
    assert refused(caught.value) == missing


def rooms_of(circle_id: int | None, project_id: int | None, user_id: str | None) -> tuple[str, ...]:
    return DEFAULT_KINDS.route(user_id, circle_id, project_id).rooms


PUBLISH: list[tuple[str, list[str], str, tuple[str, ...], str | list[str] | None]] = [
    ("publish", ["circle:1"], "acme", rooms_of(1, None, None), None),
    ("publish", ["circle:1"], "acme", rooms_of(1, 2, None), ["project:2"]),
    ("publish", ["circle:1"], "acme", rooms_of(2, 2, "bob"), ["circle:2", "project:2", "user:bob"]),
    ("publish", ["circle:*", "project:2"], "acme", rooms_of(7, 2, "alice"), None),
    ("publish", ["circle:*"], "acme", rooms_of(None, None, None), ["tenant"]),
    ("publish", ["tenant"], "acme", rooms_of(None, None, None), None),
    ("publish", ["tenant"], "acme", rooms_of(1, None, None), ["circle:1"]),
    ("publish", ["tenant", "circle:*"], "globex", rooms_of(1, None, None), "platform"),
    ("subscribe", ["tenant", "circle:*"], "acme", rooms_of(1, None, None), "publish"),
    ("", ["tenant"], "acme", rooms_of(None, None, None), "publish"),
    ("admin", [], "acme", rooms_of(1, 2, "bob"), None),
    ("admin", [], "acme", rooms_of(None, None, None), None),
    ("admin publish", ["tenant"], "globex", rooms_of(None, None, None), "platform"),
    ("platform", [], "acme", rooms_of(1, None, None), None),
    ("platform", [], "globex", rooms_of(1, None, "bob"), None),
]


@pytest.mark.parametrize(("scopes", "granted", "tenant", "rooms", "missing"), PUBLISH)
def test_publishing(
    scopes: str, granted: list[str], tenant: str, rooms: tuple[str, ...], missing: str | list[str] | None
) -> None:
    """Takes a grant of each room the event names, or of `tenant` where it names none; admins need none."""
    if missing is None:
        require_publish(alice(scopes, granted), tenant, rooms)
        return
    with pytest.raises(AuthError) as caught:
        require_publish(alice(scopes, granted), tenant, rooms)
    assert refused(caught.value) == missing


@pytest.mark.parametrize(
    ("scopes", "tenant", "missing"),
    [
        ("admin", "acme", None),
        ("platform", "acme", None),
        ("platform", "globex", None),
        ("admin", "globex", "platform"),
        ("subscribe publish", "acme", "admin"),
        ("", "globex", "platform"),
    ],
)
def test_administering(scopes: str, tenant: str, missing: str | None) -> None:
    """An admin its own tenant, the platform every one."""
    if missing is None:
        require_admin(alice(scopes), tenant)
        return
    with pytest.raises(ScopeMissing) as caught:
        require_admin(alice(scopes), tenant)
    assert caught.value.scope == missing


def test_long_lists_are_cut_in_messages_and_whole_in_fields() -> None:
    """A token of 128 rooms makes no message of ten thousand characters."""
    many = [f"circle:{n}" for n in range(100)]
    with pytest.raises(RoomForbidden, match=r"and 90 more; asked project:0, .* and 90 more$") as caught:
        require_subscribe(alice("subscribe", many), [f"project:{n}" for n in range(100)])
    assert len(caught.value.rooms) == len(caught.value.granted) == 100
