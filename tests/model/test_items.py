"""Keyed events at random: after any loss, and at any speed, a client in the end shows the newest value of each item of
its rooms, as long as it follows the client's rules and requests the state after a gap."""

from unittest.mock import patch

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.model.item_machine import BoundedItems, ItemMachine, ThrottledItems
from tests.model.world import LONG, bounded


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize(
    ("machine", "batch_bytes", "scan", "places"),
    [
        pytest.param(ItemMachine, 1 << 16, 2_000, 64, id="steps"),
        pytest.param(ItemMachine, 300, 3, 64, id="small-steps"),
        pytest.param(ThrottledItems, 600, 5, 64, id="throttled"),
        pytest.param(BoundedItems, 300, 3, 64, id="bounded"),
        pytest.param(ItemMachine, 300, 2, 1, id="few-places"),
    ],
)
def test_clients_show_the_newest_of_each_item(
    machine: type[ItemMachine], batch_bytes: int, scan: int, places: int
) -> None:
    """After any loss; never an older value after a newer one, and no piece of a text twice."""
    with (
        patch("gateway.core.catch_up.BATCH_BYTES", batch_bytes),
        patch("gateway.core.catch_up.SCAN", scan),
        patch("gateway.core.window.PURGE_SUPERSEDED", places),
    ):
        run_state_machine_as_test(machine, settings=bounded(60, 40))
