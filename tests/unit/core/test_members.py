"""The members on other nodes, against dictionaries as a model."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.cluster.redis.codec import AFTER, VERSION, pack, unpack_all
from gateway.core.members import Member, PresenceChange, RemoteMembers

NODES = ("n1", "n2", "n3")
ROOMS = ("circle:1", "circle:2", "tenant")

Step = tuple[str, str, dict[str, Member | None]]


def member(id: str, user: str = "ada", *rooms: str, client: str | None = None) -> Member:
    return Member(id, client, user, 1.5, 600, rooms)


connections = st.builds(
    lambda id, rooms: (id, member(id, {"a": "ada", "b": "bob", "c": "ada"}[id[0]], *rooms)),
    st.sampled_from(["a1", "a2", "b1", "c1"]),
    st.lists(st.sampled_from(ROOMS), unique=True),
)
changed = st.lists(connections, max_size=4).map(dict)
gone = st.lists(st.sampled_from(["a1", "a2", "b1", "c1"])).map(dict.fromkeys)
steps = st.lists(
    st.tuples(st.sampled_from(["update", "update", "replace", "drop"]), st.sampled_from(NODES), changed | gone),
    max_size=30,
)


@given(steps)
def test_others_count_as_the_dictionaries_do(steps: list[Step]) -> None:
    """Changes, full reports and ends of nodes in any order: members, counts, and reported changes."""
    others = RemoteMembers()
    model: dict[str, dict[str, Member]] = {node: {} for node in NODES}
    reported: set[tuple[str, str]] = set()
    for kind, node, changed in steps:
        present = {id: member for id, member in changed.items() if member is not None}
        if kind == "update":
            changes = others.update(node, changed)
            model[node] = {id: m for id, m in {**model[node], **changed}.items() if m is not None}
        elif kind == "replace":
            changes = others.replace(node, present.values())
            model[node] = present
        else:
            changes = others.drop(node)
            model[node] = {}
        for room, user_id, entered in changes:
            assert ((room, user_id) in reported) is not entered
            (reported.add if entered else reported.discard)((room, user_id))
        counts = Counter((room, m.user_id) for members in model.values() for m in members.values() for room in m.rooms)
        assert reported == set(counts)
        assert {(r, u): n for r, users in others.rooms.items() for u, n in users.items()} == counts
        assert dict(others.nodes) == {node: members for node, members in model.items() if members}
        assert len(others) == sum(map(len, model.values()))


def test_a_user_who_moves_within_a_change_was_never_out() -> None:
    """One connection goes and another one comes, in the same room."""
    others = RemoteMembers()
    others.update("n1", {"a1": member("a1", "ada", "circle:1")})
    assert others.update("n1", {"a1": None, "a2": member("a2", "ada", "circle:1")}) == []
    assert others.count("circle:1", "ada") == 1
    assert others.update("n1", {"a2": None}) == [PresenceChange("circle:1", "ada", False)]


def test_a_dropped_node_leaves_nothing() -> None:
    others = RemoteMembers()
    others.update("n1", {"a1": member("a1", "ada", *ROOMS)})
    assert others.find("a1") is not None
    others.drop("n1")
    assert (others.nodes, others.rooms) == ({}, {})
    assert others.find("a1") is None


@given(st.text(max_size=64), st.text(max_size=64), st.lists(st.text(max_size=20)), st.none() | st.text(max_size=64))
def test_records_come_back_as_they_were(id: str, user: str, rooms: list[str], client: str | None) -> None:
    """Names may contain any separators and quotes."""
    one = member(f"con_{id}", user, *rooms, client=client)
    fields = {f"con_{id}".encode(): pack(one).encode(), b"con_gone": b"", VERSION: b"7", AFTER: b"6"}
    if id != "gone":
        assert dict(unpack_all(fields)) == {one.connection_id: one, "con_gone": None}
