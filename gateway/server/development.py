"""Development mode: a generated key, tokens for the two demo tenants, and a start-up banner."""

import json
import os
import secrets
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from gateway.api.routes import ProblemRoute
from gateway.core.addresses import is_loopback
from gateway.core.connect_request import WEBSOCKET_PATH
from gateway.core.headers import group_headers
from gateway.server.demo import TENANTS, DemoTenant
from gateway.service.config import ConfigError, Settings
from gateway.service.factory import Service
from schemas.rooms import DEFAULT_KINDS

KEY_FILE: Final = Path(".gateway-dev/secret")
TOKEN_FILE: Final = Path(".gateway-dev/token")
_SCOPE: Final = "subscribe publish"
_SCOPE_OF_BANNER: Final = "subscribe publish admin"


def development_secret(file: Path = KEY_FILE) -> str:
    """The random key of this checkout, stored so that tokens outlive a restart. Raises `ConfigError`."""
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        if not file.exists():
            # Created with its mode, so never readable by others, and linked when complete, for concurrent starts.
            made = _private_file(file, secrets.token_urlsafe(48))
            with suppress(FileExistsError):
                os.link(made, file)
            made.unlink()
        if file.stat().st_mode & 0o077:
            raise ConfigError(f"{file} can be read by others: chmod 600 it, or remove it")
        return file.read_text().strip()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None


def development_settings(settings: Settings) -> Settings:
    """`settings` with the development key, and without shutdown delays. Raises `ConfigError` where other machines could
    connect."""
    require_loopback(settings.host)
    return without_delays(settings).model_copy(update={"jwt_secret": SecretStr(development_secret())})


def _private_file(target: Path, text: str) -> Path:
    """A new file with this text, readable by its owner only from its creation on, to be renamed to `target`."""
    made = target.with_suffix(f".{os.getpid()}")
    with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as created:
        created.write(text)
    return made


def require_loopback(host: str) -> None:
    """Raise `ConfigError` unless `host` is reachable from this machine only: tokens are issued without
    authentication."""
    if not is_loopback(host):
        raise ConfigError(f"--dev issues tokens without authentication, so it serves on loopback only, not on {host}")


def without_delays(settings: Settings) -> Settings:
    """The settings without delays at the shutdown, unless they are set: there is no load balancer."""
    delays = {"shutdown_delay_seconds", "drain_seconds"} - settings.model_fields_set
    return settings.model_copy(update=dict.fromkeys(delays, 0.0))


class DemoSession(BaseModel):
    """A demo tenant's session: its token, its rooms, and a room of another tenant."""

    tenant: str
    user_id: str
    token: str
    expires_in: int
    rooms: tuple[str, ...]
    foreign_room: str


class Session(BaseModel):
    tenants: list[DemoSession]
    ws_url: str
    demo: bool


class SessionRequest(BaseModel):
    """`rate`: events a second to each connection of the tokens, to see a slow client."""

    model_config = ConfigDict(extra="forbid")
    rate: int | None = Field(default=None, ge=1, le=1_000)


def development_router(service: Service, demo: bool) -> APIRouter:
    """The route `POST /dev/session`: tokens for pages of this server's own origin only."""
    router = APIRouter(include_in_schema=False, route_class=ProblemRoute.of(service))

    @router.post("/dev/session")
    async def session(request: Request, response: Response, body: SessionRequest) -> Session:
        host = request.headers.get("host", "")
        # DNS rebinding: a foreign name that resolves to this machine would pass the check of the origin.
        if not _is_local(host) or not service.origins.allows(group_headers(request.scope["headers"])):
            raise HTTPException(403, "only for pages of this server, opened by a loopback address")
        response.headers["Cache-Control"] = "no-store"
        url = f"ws://{host}{service.settings.websocket_paths[0]}"
        return Session(tenants=[_session(service, tenant, body.rate) for tenant in TENANTS], ws_url=url, demo=demo)

    return router


def _is_local(host: str) -> bool:
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return name in ("127.0.0.1", "localhost", "[::1]")


def _session(service: Service, tenant: DemoTenant, rate: int | None) -> DemoSession:
    lifetime = service.settings.max_token_lifetime
    return DemoSession(
        tenant=tenant.tenant,
        user_id=tenant.user_id,
        token=_token(service, tenant, _SCOPE, lifetime, rate),
        expires_in=lifetime,
        rooms=(*tenant.rooms(service.gateway.kinds), "tenant"),
        foreign_room=f"{service.gateway.kinds.names[0]}:{tenant.foreign_circle}",
    )


def _token(service: Service, tenant: DemoTenant, scope: str, lifetime: int, rate: int | None = None) -> str:
    issued = service.issue_token(
        user_id=tenant.user_id,
        tenant=tenant.tenant,
        rooms=(*tenant.rooms(service.gateway.kinds), "tenant"),
        scope=scope,
        expires_in=lifetime,
        rate=rate,
    )
    return issued.access_token


def development_token(service: Service, file: Path = TOKEN_FILE) -> str:
    """A token of the first demo tenant's administrator, also stored in a file for the commands of the banner."""
    token = _token(service, TENANTS[0], _SCOPE_OF_BANNER, service.settings.max_admin_token_lifetime)
    os.replace(_private_file(file, token), file)
    return token


def banner(service: Service, host: str, port: int, demo: bool) -> str:
    """The start-up banner: the address to open and commands to paste, with a token of the first demo tenant."""
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{port}"
    tenant = TENANTS[0]
    token = development_token(service)
    path = service.settings.websocket_paths[0]
    kinds, id = service.gateway.kinds, tenant.circles[0]
    kind = kinds.names[0]
    option = f"--{kind} {id}" if kind in DEFAULT_KINDS.names else f"--id {kind}={id}"
    event = json.dumps({"type": "task.completed", "data": {"title": "hello"}, kinds.fields[0]: id})
    activate = Path(sys.prefix) / "bin" / "activate"
    lines = [
        "",
        f"  Dashboard   {url}/",
        f"  Console     {url}/console  with the token in {TOKEN_FILE}",
        f"  Reference   {url}/docs",
        f"  WebSocket   ws://{name}:{port}{path}?rooms=*&token={token}",
        "",
        f"  In another terminal, as {tenant.user_id} of the tenant {tenant.tenant}:",
        *([f"    . {shlex.quote(str(activate))}"] if activate.exists() else []),
        f'    export GATEWAY_URL={url} GATEWAY_TOKEN="$(cat {shlex.quote(str(TOKEN_FILE.resolve()))})"',
        f"    gateway subscribe {kind}:{id}{'' if path == WEBSOCKET_PATH else f' --path {path}'}",
        f'    gateway publish --type task.completed {option} --data \'{{"title": "hello"}}\'',
        '    curl -sS "$GATEWAY_URL/events" -H "Authorization: Bearer $GATEWAY_TOKEN" '
        f"-H 'Content-Type: application/json' -d {shlex.quote(event)}",
        "",
        "  Development mode: a random key of this checkout, tokens without authentication, this machine only."
        + (" Demo traffic is on." if demo else ""),
        "",
    ]
    return "\n".join(lines)
