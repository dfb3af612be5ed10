"""Selections: which options exclude each other."""

from typing import Any

import pytest

from gathering_client.selection import Selection


@pytest.mark.parametrize(
    ("rooms", "options"),
    [
        ((), {}),
        (("circle:1",), {"loads": True, "since": "evt_1"}),
        (("circle:1",), {"loads": True, "state": True}),
        (("circle:1",), {"state": True, "history": 1}),
    ],
)
def test_contradictory_arguments_are_a_value_error(rooms: tuple[str, ...], options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"room|cursor|history"):
        Selection(rooms, **options)
