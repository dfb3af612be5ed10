"""Quotas of tenants: the default, and the overrides of individual tenants."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TenantQuota:
    """The quota of one tenant: the maximum number of connections to this node, and of events published from outside a
    second; 0 is no limit. `weight` is the size of its fair share beside those of other tenants with waiting work."""

    max_connections: int = 10_000
    publish_per_second: int = 0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class TenantQuotas:
    """The default quota, and the overrides by tenant. A look-up is O(1), memory O(overrides)."""

    default: TenantQuota = field(default_factory=TenantQuota)
    overrides: Mapping[str, TenantQuota] = field(default_factory=dict)

    def of(self, tenant: str) -> TenantQuota:
        return self.overrides.get(tenant, self.default)

    @property
    def largest_weight(self) -> float:
        return max(quota.weight for quota in (self.default, *self.overrides.values()))
