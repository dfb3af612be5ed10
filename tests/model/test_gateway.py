"""The gateway against the promise, at random: joining, leaving, publishing, refreshing, revoking, reading slowly and
coming back; several clients of two tenants, one turn of the event loop at a time.

`HYPOTHESIS_PROFILE=long pytest tests/model` looks further: other examples each time, thirty times as many, and a
failing one is shrunk. Without it examples are the same each time for the same set of imported modules, since Hypothesis
draws constants from their source: `pytest tests -k test_promise` has the examples of the whole run.
"""

from unittest.mock import patch

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.model.gateway_machine import GatewayMachine, SlowMachine, ThrottledMachine
from tests.model.world import LONG, bounded


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize(
    ("machine", "examples", "batch_bytes", "scan"),
    [
        pytest.param(GatewayMachine, 80, 1 << 16, 2_000, id="fast"),
        # Batches of a few events, so that a replay takes several turns and commands have to wait for its end.
        pytest.param(GatewayMachine, 80, 300, 3, id="fast-small-steps"),
        pytest.param(SlowMachine, 100, 1 << 16, 2_000, id="slow"),
        pytest.param(SlowMachine, 120, 300, 3, id="slow-small-steps"),
        pytest.param(ThrottledMachine, 80, 600, 5, id="throttled"),
    ],
)
def test_promise(machine: type[GatewayMachine], examples: int, batch_bytes: int, scan: int) -> None:
    """No foreign event, no duplicate, no loss, in log order; right counts, and every gap reported before any later
    event."""
    with patch("gateway.core.catch_up.BATCH_BYTES", batch_bytes), patch("gateway.core.catch_up.SCAN", scan):
        run_state_machine_as_test(machine, settings=bounded(examples, 50))
