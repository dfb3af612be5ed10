"""The value of an item that texts are appended to, joined when it is read."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.events import json_size

MAX_PIECES: Final = 64
"""Pieces of a text that are joined at once: joining each by itself would copy the whole text every time."""


class ItemValue:
    """The `data` of an item, to which that of `append` events is appended: texts to texts, other members replace.

    An `append` is O(members); each `MAX_PIECES`th one copies the text. Memory is O(data) and `MAX_PIECES` texts for
    each member.
    """

    __slots__ = ("_data", "_pieces", "_replaced", "_size")

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._pieces: dict[str, list[str]] = {}
        # The value at the last count of `_size`, for members that were replaced or added since then.
        self._replaced: dict[str, int] = {}
        # Each member with a comma, and {: one byte too little without members.
        self._size = json_size(data) if data else 1

    def append(self, data: Mapping[str, Any]) -> None:
        """Append the data of an event."""
        pieces, own, replaced = self._pieces, self._data, self._replaced
        for name, new in data.items():
            text = isinstance(new, str)
            those = pieces.get(name)
            if those is not None:
                if text:
                    those.append(new)
                    if len(those) == MAX_PIECES:
                        self._join(name)
                    continue
                del pieces[name]
            elif text and isinstance(own.get(name), str):
                pieces[name] = [new]
                continue
            if name not in replaced:
                replaced[name] = _member_size(name, own) if name in own else 0
            own[name] = new

    def whole(self) -> dict[str, Any]:
        """The data. O(texts with pieces)."""
        for name in tuple(self._pieces):
            self._join(name)
        return self._data

    def size(self) -> int:
        """The bytes of the data as JSON. O(texts with pieces, and members that were replaced)."""
        data = self.whole()
        for name, before in self._replaced.items():
            self._size += _member_size(name, data) - before
        self._replaced.clear()
        return max(self._size, 2)

    def size_with(self, data: Mapping[str, Any]) -> int:
        """The size after an `append` of `data`, which is not applied. O(data) besides."""
        self.size()
        size, before = self._size, self._data
        for name, new in data.items():
            if isinstance(new, str) and isinstance(before.get(name), str):
                size += json_size(new) - 2
            else:
                size += _member_size(name, data) - (_member_size(name, before) if name in before else 0)
        return max(size, 2)

    def _join(self, name: str) -> None:
        text = "".join(self._pieces.pop(name))
        self._data[name] += text
        if name not in self._replaced:
            self._size += json_size(text) - 2


def _member_size(name: str, data: Mapping[str, Any]) -> int:
    """The bytes of a member with its comma."""
    return json_size(name) + 1 + json_size(data[name]) + 1
