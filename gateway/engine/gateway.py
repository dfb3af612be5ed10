"""The gateway: a façade over the parts of the engine."""

import asyncio
import time
from collections.abc import Callable

from auth.errors import AuthError
from auth.tokens import TokenVerifier
from gateway.cluster.local import LocalCluster
from gateway.core.admission import Limits
from gateway.core.cluster import Cluster
from gateway.core.connect_request import ConnectRequest
from gateway.core.connection import Connection
from gateway.core.contract import Contract
from gateway.core.errors import GatewayError
from gateway.core.host import Host
from gateway.core.log import Log
from gateway.core.manager import BatchWriter
from gateway.core.transport import Transport
from gateway.engine.access import TOKENS_ONLY, Access
from gateway.engine.administration import Administration
from gateway.engine.authentication import Authentication
from gateway.engine.commands import Commands
from gateway.engine.connections import Connections
from gateway.engine.delivery import Delivery, write_each
from gateway.engine.disconnects import Disconnects
from gateway.engine.drain import Drain
from gateway.engine.event_streams import EventStreams
from gateway.engine.explain import Explain
from gateway.engine.handshakes import Handshakes
from gateway.engine.housekeeping import Housekeeping
from gateway.engine.lifecycle import Lifecycle
from gateway.engine.log_listener import GatewayLogListener
from gateway.engine.log_status import LogStatusNotifier
from gateway.engine.marks import Marks
from gateway.engine.metrics import Metrics
from gateway.engine.presence import PresenceService
from gateway.engine.publishing import Publishing
from gateway.engine.readiness import Readiness
from gateway.engine.revocation import RevocationService
from gateway.engine.room_reader import RoomReader
from gateway.engine.subscriptions import Subscriptions
from gateway.engine.tasks import TaskSet
from gateway.engine.tickets import Tickets
from schemas.codes import CloseCode


class Gateway(Host):
    """A façade over the engine's parts, each built on those before it, and the `Host` of transports; on one event loop.

    `clock` is seconds since the epoch (tokens, timestamps), `timer` seconds of a monotonic clock (rates).
    `batch_writer` writes a batch of events to many connections.
    """

    def __init__(
        self,
        log: Log,
        verifier: TokenVerifier,
        *,
        cluster: Cluster | None = None,
        limits: Limits | None = None,
        access: Access = TOKENS_ONLY,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        batch_writer: BatchWriter = write_each,
        contract: Contract | None = None,
    ) -> None:
        self.log = log
        self.cluster = LocalCluster() if cluster is None else cluster
        self.kinds, self.limits, self.clock = verifier.kinds, limits or Limits(), clock
        self.lifecycle, self.tasks = Lifecycle(), TaskSet()
        self.connections = Connections(verifier, self.cluster.revocations, self.limits, clock, timer, contract)
        self.manager = self.connections.manager
        self.delivery = Delivery(self.connections, log, batch_writer)
        connections, delivery, tasks = self.connections, self.delivery, self.tasks
        self.disconnects = Disconnects(connections, delivery)
        self.marks = Marks(connections, delivery, log, self.limits.mark_interval)
        self.presence = PresenceService(self.connections, self.delivery, self.cluster.members, log, access, self.tasks)
        self.revocation = RevocationService(self.connections, self.delivery, self.cluster)
        self.log_status = LogStatusNotifier(self.connections, self.delivery, log)
        self.drain = Drain(connections, delivery, self.marks, tasks)
        self.tickets = Tickets(self.cluster)
        self.authentication = Authentication(self.connections, self.drain, self.tickets, access, self.tasks)
        self.handshakes: Handshakes = Handshakes(self.authentication, self.connections.shares)
        self.administration = Administration(self.connections, self.revocation, self.cluster, log)
        self.explain = Explain(connections, delivery, self.disconnects, log, self.cluster)
        self.rooms = RoomReader(self.connections, log, self.marks, access)
        self.subscriptions = Subscriptions(
            connections, delivery, self.presence, log, self.log_status, self.marks, access, tasks
        )
        self.event_streams = EventStreams(connections, delivery, self.drain, self.subscriptions, log, self.log_status)
        self.publishing = Publishing(self.connections, self.revocation, log, self.lifecycle)
        self.publish = self.publishing.publish
        """Append an event of in-process code."""
        self.publish_threadsafe = self.lifecycle.threadsafe(self.publish)
        """The same from another thread; returns a `concurrent.futures.Future`."""
        self.commands = Commands(connections, self.subscriptions, self.presence, self.publishing, self.marks, tasks)
        self.delivery.on_caught_up = self.commands.run_pending
        self.housekeeping = Housekeeping(self.connections, self.publishing, self.explain, log, self.cluster)
        self.metrics = Metrics(connections, delivery, self.subscriptions, self.publishing, log, self.cluster)
        self.readiness = Readiness(self.lifecycle, self.housekeeping, log, self.drain)
        log.attach(GatewayLogListener(self.delivery, self.revocation, self.log_status))
        for part in (self.cluster, log, self.metrics, self.publishing):
            self.lifecycle.add(part.start, part.stop)
        self.lifecycle.add(self._open, self._close)
        self.start, self.stop = self.lifecycle.start, self.lifecycle.stop
        """Start on this event loop, before connections are opened; close them (1012), and release all resources."""

    async def _open(self) -> None:
        self.drain.reset()
        self.housekeeping.start()
        self.marks.start()

    async def _close(self) -> None:
        self.disconnects.finish()
        self.connections.close_all(CloseCode.SERVICE_RESTART, "restart")
        await asyncio.gather(self.housekeeping.stop(), self.marks.stop(), self.tasks.cancel())

    @property
    def ready(self) -> bool:
        """Whether the gateway runs, the log is available and new clients are admitted."""
        return bool(self.readiness)

    # ---- the host of transports

    def connect(self, handshake: ConnectRequest, transport: Transport) -> Connection | None:
        """Admit a client whose handshake was answered, or close its transport with the reason and return None."""
        try:
            self.drain.require_admitting()
            connection = self.connections.open(handshake, transport)
        except (AuthError, GatewayError) as error:
            self.connections.reject(handshake, transport, error)
            return None
        self.subscriptions.begin(connection, handshake)
        return connection

    def resolve(self, handshake: ConnectRequest, then: Callable[[ConnectRequest], object]) -> bool:
        return self.handshakes.resolve(handshake, then)

    def receive(self, connection: Connection, text: str) -> None:
        self.commands.receive(connection, text)

    def receive_binary(self, connection: Connection) -> None:
        self.commands.receive_binary(connection)

    def on_writable(self, connection: Connection) -> None:
        self.delivery.on_writable(connection)

    def on_transport_closed(self, connection: Connection) -> None:
        self.disconnects.end(connection)
