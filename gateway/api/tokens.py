"""The token API: issue, revoke, introspect, and the public keys."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from auth.delegation import delegate
from auth.errors import AuthError
from auth.identity import Identity, require_admin
from gateway.api.administrators import administrators_router
from gateway.api.authentication import Principal
from gateway.api.client import address_of
from gateway.api.problems import PROBLEMS, problems
from gateway.api.rate_limits import RouteLimiter
from gateway.api.routes import ProblemRoute, merge_routers
from gateway.core.errors import GatewayError
from gateway.service.factory import Service
from schemas.admin import (
    IntrospectionRequest,
    IntrospectionResponse,
    RevocationRequest,
    RevocationResponse,
    TokenRequest,
    TokenResponse,
)
from schemas.codes import ErrorCode
from schemas.rooms import ID_GRAMMAR, is_id, is_subject

_ERRORS: Final = problems(codes=(ErrorCode.ROOM_INVALID, ErrorCode.ROOM_FORBIDDEN, ErrorCode.TOO_MANY_ROOMS))
"""Further errors of issuing a token."""


def tokens_router(service: Service, limited: RouteLimiter) -> APIRouter:
    public = APIRouter(tags=["tokens"], route_class=ProblemRoute.of(service), responses=PROBLEMS)
    administrators = administrators_router(service, limited, tag="tokens")
    gateway, settings = service.gateway, service.settings
    administration, connections, audit = gateway.administration, gateway.connections, service.audit
    proxies = settings.proxies
    principal = Depends(Principal(service))

    @administrators.post("/admin/tokens", status_code=201, responses=_ERRORS)
    @limited(settings.tokens_per_minute)
    async def issue_token(
        request: Request, response: Response, body: TokenRequest, holder: Annotated[Identity, principal]
    ) -> TokenResponse:
        """Issue a token, within the caller's own tenant and rights."""
        now = gateway.clock()
        tenant = body.tenant or holder.tenant
        scope = body.scope.split()
        _require_names(body.user_id, tenant)
        granted = delegate(
            holder,
            user_id=body.user_id,
            tenant=tenant,
            rooms=body.rooms,
            scope=scope,
            expires_in=body.expires_in or settings.max_token_lifetime,
            now=now,
            max_lifetime=settings.max_token_lifetime,
            max_admin_lifetime=settings.max_admin_token_lifetime,
            kinds=gateway.kinds,
        )
        issued = service.issuer.issue(
            user_id=granted.user_id,
            tenant=granted.tenant,
            rooms=granted.rooms,
            scope=granted.scope,
            expires_in=granted.expires_in,
            now=now,
            rate=granted.rate,
            cutoff=administration.newest_cutoff(tenant, body.user_id),
        )
        response.headers["Cache-Control"] = "no-store"
        audit.record(
            "token.issued",
            "token issued",
            holder,
            address_of(request.scope, proxies),
            tenant=issued.tenant,
            user_id=granted.user_id,
            jti=issued.token_id,
            rooms=",".join(issued.rooms),
            scope=issued.scope,
            expires_in=issued.expires_in,
        )
        return TokenResponse(
            access_token=issued.access_token,
            expires_in=issued.expires_in,
            jti=issued.token_id,
            tenant=issued.tenant,
            rooms=issued.rooms,
            scope=issued.scope,
        )

    @administrators.post("/admin/tokens/revoke")
    @limited(settings.admin_requests_per_minute)
    async def revoke_tokens(
        request: Request, response: Response, body: RevocationRequest, holder: Annotated[Identity, principal]
    ) -> RevocationResponse:
        """Revoke a token, or all tokens of a user or of a tenant up to now; their connections are closed at once."""
        response.headers["Cache-Control"] = "no-store"
        tenant = body.tenant or holder.tenant
        _require_names(body.user_id or "x", tenant)
        require_admin(holder, tenant)
        # A platform administrator may not know the tenant of a token.
        everywhere = body.jti is not None and holder.has_scope("platform") and body.tenant is None
        target = {"tenant": None if everywhere else tenant, "user_id": body.user_id, "jti": body.jti}
        kind = "tenant" if body.jti is body.user_id is None else "user" if body.jti is None else "token"
        address = address_of(request.scope, proxies)
        with audit.attempt(f"{kind}.revoked", f"{kind} revoked", holder, address, **target) as done:
            if body.jti is not None:
                closed = await administration.revoke_token(target["tenant"], body.jti)
            elif body.user_id is not None:
                closed = await administration.revoke_user(tenant, body.user_id)
            else:
                closed = await administration.revoke_tenant(tenant)
            done["disconnected"] = closed
        return RevocationResponse(revoked=True, disconnected=closed)

    @administrators.post("/admin/tokens/introspect", response_model_exclude_none=True)
    @limited(settings.admin_requests_per_minute)
    async def introspect_token(
        request: Request, response: Response, body: IntrospectionRequest, holder: Annotated[Identity, principal]
    ) -> IntrospectionResponse:
        """Introspect a token (RFC 7662); an invalid, revoked or foreign one is only reported as not active."""
        response.headers["Cache-Control"] = "no-store"
        require_admin(holder, holder.tenant)
        try:
            identity = connections.verify(body.token)
            require_admin(holder, identity.tenant)
        except AuthError:
            return IntrospectionResponse(active=False)
        return IntrospectionResponse(
            active=True,
            scope=" ".join(sorted(identity.scopes)),
            sub=identity.user_id,
            # Tokens of another issuer have their own audiences.
            aud=settings.jwt_audience if identity.issuer == settings.jwt_issuer else None,
            iss=identity.issuer,
            exp=identity.expires_at,
            iat=identity.issued_at,
            jti=identity.token_id or None,
            token_type="Bearer",  # noqa: S106 - the name of a scheme
            tenant=identity.tenant,
            rooms=identity.grants.patterns,
        )

    @public.get("/.well-known/jwks.json")
    async def jwks(response: Response) -> dict[str, Any]:
        """The public keys of the tokens issued here (RFC 7517)."""
        response.headers["Cache-Control"] = "public, max-age=300"
        return service.keyring.jwks()

    return merge_routers(administrators, public)


def _require_names(user_id: str, tenant: str) -> None:
    if not is_subject(user_id):
        raise GatewayError(
            ErrorCode.BAD_MESSAGE, "user_id: at most 128 letters, digits and ._@+|-, a letter or digit first"
        )
    if not is_id(tenant):
        raise GatewayError(ErrorCode.BAD_MESSAGE, f"tenant: {ID_GRAMMAR}")
