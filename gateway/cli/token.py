"""`gateway token`: issue or inspect a token."""

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from auth.errors import AuthError
from auth.identity import Identity
from auth.keys import KeyRing
from gateway.cli.errors import configured, fail
from gateway.service.config import ConfigError
from gateway.service.external import external_issuer
from gateway.service.factory import create_service, token_verifier
from gateway.service.keys import token_keys
from gateway.service.token_inspection import TokenInspection, inspect_token, member_texts, pasted_token, rights_of
from schemas.rooms import RoomKinds

token_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@token_app.callback()
def issue(
    context: typer.Context,
    user: Annotated[str | None, typer.Option(help="user id, the token's sub (required)")] = None,
    tenant: Annotated[str | None, typer.Option(help="tenant id (required)")] = None,
    room: Annotated[list[str] | None, typer.Option(help="a room pattern such as circle:1 or project:*")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="subscribe, publish, admin or platform")] = None,
    expires_in: Annotated[int | None, typer.Option(help="seconds")] = None,
) -> None:
    """Print a token, signed with the configured key; `inspect` explains one."""
    if context.invoked_subcommand is not None:
        return
    if user is None or tenant is None:
        fail(f"{'--user' if user is None else '--tenant'}: is missing; a token is for a user of a tenant")
    settings = configured()
    scopes = [word for part in scope or ["subscribe"] for word in part.replace(",", " ").split()]
    admin = not {"admin", "platform"}.isdisjoint(scopes)
    longest = settings.max_admin_token_lifetime if admin else settings.max_token_lifetime
    lifetime = settings.max_token_lifetime if expires_in is None else expires_in
    if not 1 <= lifetime <= longest:
        fail(f"--expires-in: from 1 to {longest} seconds")
    try:
        issued = create_service(settings).issuer.issue(
            user_id=user, tenant=tenant, rooms=room or [], scope=scopes, expires_in=lifetime, now=time.time()
        )
    except (ConfigError, AuthError) as error:
        fail(error)
    print(issued.access_token)


@token_app.command()
def inspect(
    token: Annotated[str | None, typer.Argument(help="the token; without it, or as -, from standard input")] = None,
) -> None:
    """Explain a token: its content, its rights, and the reason of a refusal. Needs no running gateway."""
    settings = configured()
    if token in (None, "-"):
        if sys.stdin.isatty():
            print("Paste the token, and press Enter.", file=sys.stderr)
            token = sys.stdin.readline()
        else:
            token = sys.stdin.read()
    text = pasted_token(token or "")
    if not text:
        fail("TOKEN: is missing; give it as the argument or on standard input")
    try:
        external = external_issuer(settings)
        verifier = token_verifier(settings, KeyRing(token_keys(settings)), external, RoomKinds(settings.room_kinds))
    except ConfigError as error:
        fail(error)
    found = inspect_token(text, verifier, time.time())
    if external.jwks is not None and found.reason == "key_unknown":
        asyncio.run(_fetch(external.jwks))
        found = inspect_token(text, verifier, time.time())
    for line in _report(found, time.time()):
        print(line)
    if found.identity is None:
        raise typer.Exit(1)


async def _fetch(jwks: Any) -> None:
    await jwks.start()
    await jwks.stop()


def _report(found: TokenInspection, now: float) -> list[str]:
    lines = []
    for title, members in (("header", found.header), ("claims", found.claims)):
        for name, shown in member_texts(members or {}):
            value = (members or {}).get(name)
            if name in ("iat", "exp", "nbf", "auth_time") and isinstance(value, int | float):
                shown += f"  ({_at(value)})"
            lines.append(f"{title:8}  {name}: {shown}")
            title = ""
    if found.identity is None:
        return [*lines, f"refused   {found.reason}: {found.explanation}"]
    return [*lines, *_rights(found.identity, now)]


def _rights(identity: Identity, now: float) -> list[str]:
    rights = rights_of(identity)
    return [
        f"user      {identity.user_id}",
        f"tenant    {identity.tenant}",
        f"scope     {' '.join(sorted(identity.scopes)) or 'none'}",
        f"follows   {rights.follows}",
        f"publishes {rights.publishes}",
        f"ends      in {identity.expires_at - now:.0f} seconds ({_at(identity.expires_at)})",
        f"revoked   not checked, which needs a running gateway; can be revoked by {rights.revocable_by}",
        "accepted",
    ]


def _at(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "no date"
