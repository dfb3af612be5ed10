"""Operation over HTTP: the audit trail, the configuration, the inspection of tokens."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from auth.errors import AuthError
from auth.identity import Identity, require_admin
from gateway.api.administered import administered_tenant
from gateway.api.administrators import administrators_router
from gateway.api.authentication import Principal
from gateway.api.client import address_of
from gateway.api.parameters import Tenant
from gateway.api.problems import problems
from gateway.api.rate_limits import RouteLimiter
from gateway.api.routes import merge_routers
from gateway.core.audit_acts import MAX_ACTS, SORT_KEY_PATTERN, ActSortKey
from gateway.core.version import VERSION
from gateway.engine.cluster_audit import FoundAct
from gateway.service.factory import Service
from gateway.service.token_inspection import TokenInspection, inspect_token, member_texts, pasted_token, rights_of
from schemas.cluster import partial_field
from schemas.events import rfc3339
from schemas.operations import (
    AuditedAct,
    AuditPage,
    ConfigurationResponse,
    DrainRequest,
    DrainResponse,
    SettingInfo,
    SettingWarning,
    TokenInspectionRequest,
    TokenInspectionResponse,
    TokenRightsInfo,
)


def operations_router(service: Service, limited: RouteLimiter) -> APIRouter:
    administrators = administrators_router(service, limited)
    operators = administrators_router(service, limited, scope="platform")
    gateway, settings = service.gateway, service.settings
    administration = gateway.administration
    connections, trail, per_minute = gateway.connections, service.operations.audit, settings.admin_requests_per_minute
    principal = Depends(Principal(service))

    @administrators.get("/admin/audit", response_model_exclude_unset=True)
    @limited(per_minute)
    async def audit(
        request: Request,
        response: Response,
        holder: Annotated[Identity, principal],
        tenant: Tenant = None,
        limit: Annotated[int, Query(ge=1, le=MAX_ACTS, description="acts a page")] = 100,
        before: Annotated[str | None, Query(pattern=SORT_KEY_PATTERN, description="`next` of the page before")] = None,
    ) -> AuditPage:
        """The last acts of administrators on all nodes, in the order of their times: those about the caller's tenant
        and by its administrators, for the scope `platform` of all tenants. Each node keeps at most 1,000 since its
        start; the logs have all."""
        response.headers["Cache-Control"] = "no-store"
        platform = holder.has_scope("platform")
        asked = None if platform and tenant is None else administered_tenant(holder, tenant)
        found = await trail.acts(asked, limit, None if before is None else ActSortKey.parse(before))
        return AuditPage(
            nodes=found.nodes,
            silent=found.silent,
            acts=[audited_act(each, holder) for each in found.acts],
            next=str(found.acts[-1].sort_key) if found.more else None,
            **partial_field(found.partial),
        )

    @operators.get("/admin/configuration", response_model_exclude_unset=True)
    @limited(per_minute)
    async def configuration(request: Request, response: Response) -> ConfigurationResponse:
        """The settings of this node, without secrets; which of them are others at other nodes; and the warnings of
        `gateway check` about all nodes. For the scope `platform`, since the settings are those of all tenants."""
        response.headers["Cache-Control"] = "no-store"
        found = await service.cluster_settings.read()
        described = [
            SettingInfo(**asdict(each), elsewhere=dict(found.elsewhere.get(each.name, {}))) for each in found.settings
        ]
        return ConfigurationResponse(
            node=administration.node,
            version=VERSION,
            versions=dict(found.versions),
            settings=described,
            warnings=[SettingWarning(message=text, nodes=nodes) for text, nodes in found.advice.items()],
            silent=found.silent,
            **partial_field(found.partial),
        )

    @operators.post("/admin/drain", status_code=202, responses=problems(404))
    @limited(per_minute)
    async def drain(
        request: Request, response: Response, body: DrainRequest, holder: Annotated[Identity, principal]
    ) -> DrainResponse:
        """Drain a node before it is stopped: it reports not ready, refuses new clients after its shutdown delay, and
        closes those that it has, each in a slot of its own (1012). It goes on so until it is restarted. For the scope
        `platform`."""
        response.headers["Cache-Control"] = "no-store"
        address = address_of(request.scope, settings.proxies)
        with service.audit.attempt("node.drained", "drain begun", holder, address, tenant=None, node=body.node):
            begun = await service.operations.drain.begin(body.node)
        return DrainResponse(node=body.node, connections=begun.connections, seconds=round(begun.seconds, 2))

    @administrators.post("/admin/tokens/inspect")
    @limited(per_minute)
    async def inspect(
        request: Request, response: Response, body: TokenInspectionRequest, holder: Annotated[Identity, principal]
    ) -> TokenInspectionResponse:
        """Explain a token to its administrator: what it says, what its holder may do, or why it is refused."""
        response.headers["Cache-Control"] = "no-store"
        require_admin(holder, holder.tenant)
        found = inspect_token(pasted_token(body.token), connections.verifier, gateway.clock())
        return _inspection(found, holder)

    def _inspection(found: TokenInspection, holder: Identity) -> TokenInspectionResponse:
        identity, reason, explanation = found.identity, found.reason, found.explanation
        platform = holder.has_scope("platform")
        if identity is not None and not (platform or identity.tenant == holder.tenant):
            identity, reason, explanation = None, "other_tenant", "it is of another tenant; ask its administrator"
        elif identity is not None:
            try:
                connections.revalidate(identity)
            except AuthError as error:
                identity, reason, explanation = None, str(error.code), f"{error}; get a fresh one"
        elif reason == "tenant" and not platform:  # its explanation names the tenants
            explanation = "its tenant is not one of this gateway"
        return TokenInspectionResponse(
            accepted=identity is not None,
            reason=reason or None,
            explanation=explanation or None,
            header=None if found.header is None else dict(member_texts(found.header)),
            claims=None if found.claims is None else dict(member_texts(found.claims)),
            rights=None if identity is None else _rights(identity),
        )

    return merge_routers(administrators, operators)


def _rights(identity: Identity) -> TokenRightsInfo:
    return TokenRightsInfo(
        user_id=identity.user_id,
        tenant=identity.tenant,
        scope=" ".join(sorted(identity.scopes)),
        rooms=identity.grants.patterns,
        issued_at=rfc3339(identity.issued_at),
        expires_at=rfc3339(identity.expires_at),
        **asdict(rights_of(identity)),
    )


def audited_act(found: FoundAct, reader: Identity) -> AuditedAct:
    """The act as `reader` may see it: the target of an act about another tenant is for the scope `platform`."""
    act = found.act
    platform = reader.has_scope("platform")
    open_to = platform or act.by_tenant == reader.tenant
    return AuditedAct(
        node=found.sort_key.node,
        number=act.number,
        at=rfc3339(act.at),
        event=act.event,
        by_user_id=act.by_user_id,
        by_tenant=act.by_tenant,
        by_jti=act.by_token_id if open_to else None,
        address=act.address if open_to else None,
        tenant=act.tenant,
        target=dict(act.target) if platform or act.tenant == reader.tenant else {},
    )
