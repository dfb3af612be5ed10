"""The parts for operators: each answers for all nodes."""

from gateway.engine.audit import AuditTrail
from gateway.engine.cluster_audit import ClusterAudit
from gateway.engine.cluster_status import ClusterStatus
from gateway.engine.cluster_tenants import ClusterTenants
from gateway.engine.cluster_usage import ClusterUsage
from gateway.engine.ended_search import EndedSearch
from gateway.engine.event_tail import EventTail
from gateway.engine.finder import Finder
from gateway.engine.gateway import Gateway
from gateway.engine.node_drain import NodeDrain
from gateway.engine.node_status import NodeStatusReader


class Operations:
    """The parts for operators of a gateway, made before its start, since they answer other nodes' questions. `trail` is
    the audit trail of this node, `audit` that of all nodes. This node drains after `drain_delay` seconds, over
    `drain_seconds`."""

    def __init__(self, gateway: Gateway, drain_delay: float, drain_seconds: float) -> None:
        cluster, log, drain = gateway.cluster, gateway.log, gateway.drain
        self.trail = AuditTrail(gateway.clock)
        self.audit = ClusterAudit(self.trail, cluster)
        reader = NodeStatusReader(cluster.members, log, drain, gateway.metrics, gateway.readiness)
        self.status = ClusterStatus(reader, cluster)
        self.drain = NodeDrain(drain, gateway.lifecycle, cluster, drain_delay, drain_seconds)
        self.tail = EventTail(gateway.connections, log, gateway.marks)
        self.tenants = ClusterTenants(gateway.administration, cluster)
        self.usage = ClusterUsage(gateway.metrics.usage, cluster)
        administration, ended = gateway.administration, EndedSearch(gateway.explain.records, cluster)
        self.finder = Finder(gateway.connections, administration, self.tail, administration.search, ended)
