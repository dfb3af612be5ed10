"""Query parameters of the routes for administrators, with their grammars: a value that nothing can have is refused, not
answered with nothing."""

from typing import Annotated, Final

from fastapi import Query

from schemas.events import MAX_TYPE_LENGTH, TYPE_PATTERN
from schemas.rooms import ID_PATTERN, SUBJECT_PATTERN

_NEXT: Final = "`next` of the page before"


def exactly(pattern: str) -> str:
    r"""The pattern of a whole text: `\A` and `\z` are not of the dialect of JSON Schema, and `$` is the end in
    pydantic's engine."""
    return f"^(?:{pattern})$"


Tenant = Annotated[
    str | None,
    Query(pattern=exactly(ID_PATTERN), description="only for the scope `platform`; else the token's own"),
]
Limit = Annotated[int, Query(ge=1, le=1_000, description="items a page")]
AfterTenant = Annotated[str | None, Query(pattern=exactly(ID_PATTERN), description=_NEXT)]
AfterConnection = Annotated[str | None, Query(pattern=exactly(r"con_[A-Za-z0-9_-]{1,60}"), description=_NEXT)]
AfterUsage = Annotated[str | None, Query(pattern=exactly(f"[0-9]{{1,12}}:{ID_PATTERN}"), description=_NEXT)]
UserId = Annotated[
    str | None,
    Query(pattern=exactly(SUBJECT_PATTERN), description="a user, the `sub` of a token", examples=["ada"]),
]
EventTypes = Annotated[
    str | None,
    Query(
        max_length=MAX_TYPE_LENGTH + 1,
        pattern=exactly(rf"{TYPE_PATTERN}|(?:{TYPE_PATTERN}\.?)?\*"),
        description="only this type, or those that begin as in `task.*`",
    ),
]
"""Opaque names (ids of connections, events and tokens, cursors) have no grammar: one that was never given out is
answered as any other of which nothing is known."""


def after_room(pattern: str) -> object:
    """The parameter for the page of rooms behind a room, whose names match the pattern."""
    return Query(pattern=exactly(pattern), description=_NEXT)
