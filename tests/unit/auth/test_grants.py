"""Which rooms a list of patterns grants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.errors import RoomInvalid, TooManyRooms
from auth.grants import Grants
from schemas.rooms import DEFAULT_KINDS, ID_PATTERN, MAX_PATTERNS, SUBJECT_PATTERN

few_ids = st.sampled_from(["1", "11", "a", "a-1", "circle", "tenant"]) | st.from_regex(ID_PATTERN, fullmatch=True)
rooms = st.one_of(
    st.builds("{}:{}".format, st.sampled_from(["circle", "project"]), few_ids),
    st.builds("user:{}".format, few_ids | st.from_regex(SUBJECT_PATTERN, fullmatch=True)),
    st.just("tenant"),
)
patterns = rooms | st.sampled_from(["circle:*", "project:*", "user:*"])


def matches(pattern: str, room: str) -> bool:
    """The meaning of a pattern, as a reference implementation."""
    kind, star, _ = pattern.partition(":*")
    return room.split(":")[0] == kind if star else room == pattern


@given(st.lists(patterns, max_size=6), rooms)
def test_room_is_allowed_if_a_pattern_matches(granted: list[str], room: str) -> None:
    """The look-ups in sets and the plain meaning agree."""
    assert Grants.parse(granted).allows(room) is any(matches(pattern, room) for pattern in granted)


@given(st.lists(patterns, max_size=6), patterns, rooms)
def test_covered_rooms_are_allowed(granted: list[str], pattern: str, room: str) -> None:
    """A covered pattern grants no room beyond; a room covers itself exactly if it is allowed."""
    grants = Grants.parse(granted)
    if grants.covers(pattern) and matches(pattern, room):
        assert grants.allows(room)
    if DEFAULT_KINDS.is_room(pattern):
        assert grants.covers(pattern) is grants.allows(pattern)
    assert grants.covers(pattern) is any(held in (pattern, f"{pattern.split(':')[0]}:*") for held in granted)


@given(st.lists(patterns, max_size=6))
def test_grants_cover_themselves(granted: list[str]) -> None:
    """Each holder may hand on what it has."""
    grants = Grants.parse(granted)
    assert all(map(grants.covers, grants.patterns))


@pytest.mark.parametrize(
    ("held", "not_covered"),
    [
        ("circle:1", "circle:*"),
        ("circle:*", "project:1"),
        ("circle:1", "circle:11"),
        ("circle:*", "tenant"),
        ("user:a", "user:*"),
    ],
)
def test_pattern_beyond_is_not_covered(held: str, not_covered: str) -> None:
    """Some of a kind is not all of it, and a prefix is not a name."""
    assert not Grants.parse([held]).covers(not_covered)


def test_each_pattern_counts_once_in_its_place() -> None:
    """The order is the token's, for people to recognise."""
    assert Grants.parse(["tenant", "circle:2", "tenant", "circle:1"]).patterns == ("tenant", "circle:2", "circle:1")
    assert len(Grants.parse(["circle:1"] * 500).patterns) == 1


def test_equal_patterns_share_one_instance() -> None:
    """A thousand connections with the same rooms hold one copy of them."""
    first, second = Grants.parse(["circle:1", "project:*"]), Grants.parse(iter(["circle:1", "project:*"]))
    assert first is second


def test_invalid_patterns_are_named() -> None:
    """All of them, in a message that holds no control character."""
    with pytest.raises(RoomInvalid) as caught:
        Grants.parse(["circle:1", "circle:\n", "*"])
    assert caught.value.rooms == ["circle:\n", "*"]
    assert str(caught.value).isprintable()


def test_too_many_patterns_are_refused() -> None:
    """At most 128, and the error says so."""
    assert len(Grants.parse(f"circle:{n}" for n in range(MAX_PATTERNS)).patterns) == 128
    with pytest.raises(TooManyRooms) as caught:
        Grants.parse(f"circle:{n}" for n in range(MAX_PATTERNS + 1))
    assert caught.value.maximum == 128
