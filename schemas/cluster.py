"""The part of a response that names the nodes whose data it lacks."""

from typing import Any, Literal

from pydantic import BaseModel


class MayBePartial(BaseModel):
    """An answer about all nodes. `partial` is present, and true, only while other nodes may be out of reach."""

    partial: Literal[True] | None = None


class NodesAsked(MayBePartial):
    """An answer for which the other nodes were asked; `silent` nodes did not answer."""

    silent: tuple[str, ...]


def partial_field(partial: bool) -> dict[str, Any]:
    """The field `partial`, which is absent where it would be false."""
    return {"partial": True} if partial else {}
