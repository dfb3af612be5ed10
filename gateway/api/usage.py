"""Usage over HTTP, for those who bill."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from auth.identity import Identity
from gateway.api.administered import administered_tenant
from gateway.api.administrators import administrators_router
from gateway.api.authentication import Principal
from gateway.api.parameters import AfterUsage, Limit, Tenant
from gateway.api.rate_limits import RouteLimiter
from gateway.core.usage import UsageRow
from gateway.service.factory import Service
from schemas.cluster import partial_field
from schemas.events import rfc3339
from schemas.usage import HourOfUsage, UsagePage


def usage_router(service: Service, limited: RouteLimiter) -> APIRouter:
    router = administrators_router(service, limited)
    principal = Depends(Principal(service))
    summed = service.operations.usage

    @router.get("/admin/usage", response_model_exclude_unset=True)
    @limited(service.settings.admin_requests_per_minute)
    async def usage(
        request: Request,
        holder: Annotated[Identity, principal],
        tenant: Tenant = None,
        limit: Limit = 1_000,
        after: AfterUsage = None,
    ) -> UsagePage:
        """The usage by hour and tenant, of the last week at most; the last hour goes on. Sums over all nodes; `durable`
        where those that have ended are among them, as on Redis: otherwise counts end with their process. Of the token's
        own tenant, with the scope `platform` of any one or of all."""
        own = administered_tenant(holder, tenant)
        chosen = None if tenant is None and holder.has_scope("platform") else own
        found = await summed.rows(chosen, _place(after), limit)
        return UsagePage(
            durable=found.durable,
            nodes=found.nodes,
            silent=found.silent,
            hours=[_hour(row) for row in found.rows],
            next=f"{found.rows[-1].hour}:{found.rows[-1].tenant}" if found.more else None,
            **partial_field(found.partial),
        )

    return router


def _place(after: str | None) -> tuple[int, str]:
    hour, _, tenant = (after or "0:").partition(":")
    return int(hour), tenant


def _hour(row: UsageRow) -> HourOfUsage:
    used: dict[str, Any] = row.usage._asdict()
    used["connection_seconds"] = round(used["connection_seconds"], 3)
    return HourOfUsage(hour=rfc3339(row.hour), tenant=row.tenant, **used)
