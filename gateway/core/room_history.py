"""The room history of a connection: the latest changes of its rooms, from which an explanation follows."""

from typing import Final, Literal, NamedTuple

ChangeKind = Literal[
    "joined", "state", "unsubscribed", "member_removed", "token_renewed", "authorization", "gap", "unknown"
]
"""`joined` and `state` (joined with state) begin a room. The others end what it has brought so far: the client's own
command, a revocation, a gap. `unknown` is a part of the log of which it is not known whether the room brought it."""

MAX_CHANGES: Final = 64
"""Changes of one connection that are kept, one for each room: about 6 KiB."""


class RoomChange(NamedTuple):
    """One change of a room, at `at` (seconds since the epoch), when the log was at `head`. A room that has ended had
    brought the entries above `after`, up to `until`; with `items` only items of them, by a replay of state."""

    kind: ChangeKind
    room: str
    at: float
    after: int
    until: int
    head: int
    items: bool = False


class RoomHistory:
    """The latest `MAX_CHANGES` changes, oldest first. Made at the first change, so that an idle connection has none.

    `forgotten` is the head of the log at the newest change that is no longer kept: about later entries it says nothing.
    """

    __slots__ = ("changes", "forgotten")

    def __init__(self) -> None:
        self.changes: list[RoomChange] = []
        self.forgotten = 0

    def add(self, change: RoomChange) -> None:
        self.changes.append(change)
        if len(self.changes) > MAX_CHANGES:
            self.forgotten = max(self.forgotten, self.changes.pop(0).head)
