"""Explanations against the model, at random: for every user and event what is explained agrees with the frames that
the user's clients received."""

from unittest.mock import patch

import pytest
from hypothesis.stateful import rule, run_state_machine_as_test

from gateway.engine.explain import Target
from schemas.explain import ExplainedConnection, Explanation
from tests.model.gateway_machine import USERS, GatewayMachine, SlowMachine, ThrottledMachine
from tests.model.item_machine import BoundedItems, ItemMachine, ThrottledItems
from tests.model.world import LONG, MAX_EVENTS, Client, Event, World, bounded


def explained(world: World, user: str, event_id: str, tenant: str = "acme") -> Explanation:
    found: Explanation = world.run(world.gateway.explain.event(Target(tenant, user, None), event_id, False))
    return found


class Explained(GatewayMachine):
    """Explains the latest events to each user, also those of ended connections."""

    @rule()
    def explain(self) -> None:
        for tenant in ("acme", "bolt"):
            self.world.turn()
            for event in self.world.events.get(tenant, ())[-MAX_EVENTS - 2 :]:
                for user in USERS:
                    self._explain(tenant, user, event)

    def teardown(self) -> None:
        try:
            if not self.world.failures:
                self.explain()
        finally:
            super().teardown()

    def _explain(self, tenant: str, user: str, event: Event) -> None:
        explanation = explained(self.world, user, event.id, tenant)
        if event.index <= self.world.trimmed[tenant]:
            assert (explanation.verdict, explanation.reason) == ("unknown", "event_forgotten")
            return
        clients = {
            client.connection_id: client
            for client in self.world.clients
            if client.connection_id and (client.token.tenant, client.token.user) == (tenant, user)
        }
        assert {each.connection_id for each in explanation.connections} <= clients.keys()
        for each in explanation.connections:
            assert_agrees(each, clients[each.connection_id], event)
        received = any(event.id in client.received for client in clients.values())
        assert received or explanation.verdict != "delivered"
        assert not received or explanation.verdict in ("delivered", "unknown")
        if not clients:
            assert explanation.reason == "never_connected"


def assert_agrees(explained: ExplainedConnection, client: Client, event: Event) -> None:
    verdict, reason = explained.verdict, explained.reason
    came, owed = event.id in client.received, client.closed is None and event.index in client.owed
    context = f"{explained} {event} {client.received}"
    if verdict == "unknown":
        assert reason == "unknown", context
        assert client.not_recovered or len(client.been_in) + client.next_id > MANY, context
        return
    assert (verdict == "delivered") == came == (reason == "delivered"), context
    assert (verdict == "pending") == (owed and not came), (
        context
    )  # it may come once more to a room that is joined again
    follows = event.rooms & client.been_in
    granted = any(map(client.token.may_follow, event.rooms))
    assert {
        "delivered": came,
        "behind": owed,
        "closed": client.closed is not None and bool(follows),
        "gap": event.index in client.lost,
        "joined_later": bool(follows),
        "left_before": bool(follows),
        "not_subscribed": not follows and granted,
        "not_granted": not granted or bool(follows),
    }[reason], context
    if not (came or owed):
        assert event.index not in client.lost or reason == "gap", context
        assert event.index not in client.left_owed or reason in REASONS_OF_LEFT, context


REASONS_OF_LEFT = ("gap", "left_before", "not_granted", "closed")
"""Reasons of an event that was owed when its room was left; the room may have been joined again."""

MANY = 30
"""Commands of a client after which its history may be forgotten; far fewer than it takes."""


class ExplainedSlow(Explained, SlowMachine):
    """Clients that are behind."""


class ExplainedThrottled(Explained, ThrottledMachine):
    """Clients over their rate."""


class ExplainedItems(ItemMachine):
    """Explains the latest events, keyed ones among them, to the user of all viewers."""

    @rule()
    def explain(self) -> None:
        self.world.turn()
        received = {id: events for viewer in self.viewers for id, events in viewer.by_connection.items()}
        for event in self.world.events.get("acme", ())[-MAX_EVENTS - 4 :]:
            explanation = explained(self.world, "ada", event.id)
            assert explanation.event is not None
            for each in explanation.connections:
                came = event.id in received[each.connection_id]
                assert came == (each.verdict == "delivered") or each.verdict == "unknown", f"{each} {event}"
                if explanation.event.kept and explanation.reason != "event_forgotten" and each.verdict == "unknown":
                    assert each.reason == "unknown", f"{each} {event}"
            if any(event.id in events for events in received.values()):
                assert explanation.verdict in ("delivered", "unknown")

    def teardown(self) -> None:
        try:
            if not self.world.failures:
                self.explain()
        finally:
            super().teardown()


class ExplainedThrottledItems(ExplainedItems, ThrottledItems):
    """Clients over their rate."""


class ExplainedBoundedItems(ExplainedItems, BoundedItems):
    """State of three items."""


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize(
    ("machine", "batch_bytes", "scan"),
    [
        pytest.param(Explained, 1 << 16, 2_000, id="fast"),
        pytest.param(ExplainedSlow, 300, 3, id="slow"),
        pytest.param(ExplainedThrottled, 600, 5, id="throttled"),
    ],
)
def test_explanations_agree_with_what_was_received(machine: type[Explained], batch_bytes: int, scan: int) -> None:
    """Joins, leaves, replays, gaps, revocations, slow clients and ends: each event and user, each reason."""
    with patch("gateway.core.catch_up.BATCH_BYTES", batch_bytes), patch("gateway.core.catch_up.SCAN", scan):
        run_state_machine_as_test(machine, settings=bounded(30, 50))


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize(
    ("machine", "batch_bytes", "scan", "changes"),
    [
        pytest.param(ExplainedItems, 300, 3, 64, id="items"),
        pytest.param(ExplainedThrottledItems, 600, 5, 64, id="throttled-items"),
        pytest.param(ExplainedBoundedItems, 300, 3, 64, id="bounded-items"),
        pytest.param(ExplainedItems, 300, 3, 2, id="items-few-changes"),
    ],
)
def test_explanations_of_keyed_events_agree_with_what_was_received(
    machine: type[ExplainedItems], batch_bytes: int, scan: int, changes: int
) -> None:
    """Replays of state, gaps, superseded versions, and clients of whose rooms few changes are kept."""
    with (
        patch("gateway.core.catch_up.BATCH_BYTES", batch_bytes),
        patch("gateway.core.catch_up.SCAN", scan),
        patch("gateway.core.room_history.MAX_CHANGES", changes),
    ):
        run_state_machine_as_test(machine, settings=bounded(25, 40))
