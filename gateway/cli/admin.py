"""The commands of administrators: what is going on at a gateway, and ending it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Annotated, Any

import typer

from gateway.cli.admin_api import SECONDS, AdminApi
from gateway.cli.errors import ClientError, fail, warn
from gateway.cli.options import Token, Url

Tenant = Annotated[str | None, typer.Option(help="tenant, with a token of the scope platform; else the token's own")]
Json = Annotated[bool, typer.Option("--json", help="JSON, one object a line")]


def add_commands(app: typer.Typer) -> None:
    for command in (stats, connections, rooms, tenants, usage, revoke, disconnect, drain):
        app.command()(command)


def stats(tenant: Tenant = None, as_json: Json = False, url: Url = "http://127.0.0.1:8000", token: Token = "") -> None:
    """Print the counts of a tenant, on all nodes."""
    with administrators_api(url, token, tenant) as api:
        found = api.get("/admin/stats", limit=1)
        for name in ("clients", "next"):
            del found[name]
        if as_json:
            print_json([found])
        else:
            api.partial |= found.pop("partial", False)
            width = max(map(len, found))
            for name, value in found.items():
                print(f"{name:{width}}  {value}")


def connections(
    user: Annotated[str | None, typer.Option(help="only of this user")] = None,
    room: Annotated[str | None, typer.Option(help="only in this room")] = None,
    tenant: Tenant = None,
    as_json: Json = False,
    url: Url = "http://127.0.0.1:8000",
    token: Token = "",
) -> None:
    """Print the connections of a tenant, on all nodes."""
    with administrators_api(url, token, tenant) as api:
        found: Iterable[dict[str, Any]] = api.pages("/admin/connections", "connections")
        if user is not None:
            found = (each for each in found if each["user_id"] == user)
        if room is not None:
            found = (each for each in found if room in each["rooms"])
        columns = ("connection_id", "user_id", "client_id", "state", "messages_sent", "connected_at", "node", "rooms")
        _print(found, columns, as_json)


def rooms(tenant: Tenant = None, as_json: Json = False, url: Url = "http://127.0.0.1:8000", token: Token = "") -> None:
    """Print the rooms of a tenant that have subscribers, on all nodes."""
    with administrators_api(url, token, tenant) as api:
        _print(api.pages("/admin/rooms", "rooms"), ("room", "connections", "users"), as_json)


def tenants(as_json: Json = False, url: Url = "http://127.0.0.1:8000", token: Token = "") -> None:
    """Print the tenants with their counts on all nodes: all with a token of the scope platform, else the token's
    own."""
    columns = ("tenant", "connections", "users", "rooms", "total_connections", "total_messages_sent",
               "total_broadcasts", "log_events", "log_bytes")  # fmt: skip
    with administrators_api(url, token) as api:
        _print(api.pages("/admin/tenants", "tenants"), columns, as_json)


def usage(tenant: Tenant = None, as_json: Json = False, url: Url = "http://127.0.0.1:8000", token: Token = "") -> None:
    """Print the usage by hour and tenant, as sums over all nodes; on Redis those that have ended are among them. Of all
    tenants with a token of the scope platform, else of the token's own."""
    columns = ("hour", "tenant", "connection_seconds", "events", "deliveries", "bytes")
    with administrators_api(url, token, tenant) as api:
        _print(api.pages("/admin/usage", "hours"), columns, as_json)


def revoke(
    jti: Annotated[str | None, typer.Option(help="id of the token to revoke")] = None,
    user: Annotated[str | None, typer.Option(help="user all of whose tokens are to be revoked")] = None,
    everyone: Annotated[bool, typer.Option("--everyone", help="revoke all tokens of the tenant")] = False,
    tenant: Tenant = None,
    as_json: Json = False,
    url: Url = "http://127.0.0.1:8000",
    token: Token = "",
) -> None:
    """Revoke a token, or all of a user or a tenant issued up to now; their connections are closed on all nodes."""
    if (jti is not None) + (user is not None) + everyone != 1:
        fail("name one of --jti, --user and --everyone")
    if everyone and tenant is None:
        fail("--everyone: name the tenant with --tenant as well")
    with administrators_api(url, token, tenant) as api:
        answer = api.post("/admin/tokens/revoke", jti=jti, user_id=user)
        if as_json:
            print_json([answer])
        else:
            print(f"revoked; closed {answer['disconnected']} connections on the node that answered")


def disconnect(
    connections: Annotated[list[str], typer.Argument(help="ids of connections, as `gateway connections` prints them")],
    tenant: Tenant = None,
    as_json: Json = False,
    url: Url = "http://127.0.0.1:8000",
    token: Token = "",
) -> None:
    """Close connections, on whichever node they are. Their clients may connect again: revoke a token to prevent it."""
    with administrators_api(url, token, tenant) as api:
        for connection in connections:
            api.delete("/admin/connections", connection)
            if as_json:
                print_json([{"connection_id": connection, "closed": True}])
            else:
                print(f"closed {connection}")


def drain(
    node: Annotated[str | None, typer.Option(help="name of the node; by default the one that answers at --url")] = None,
    as_json: Json = False,
    url: Url = "http://127.0.0.1:8000",
    token: Token = "",
) -> None:
    """Drain a node before it is stopped: it refuses new clients, and its own leave one after another. Needs a token of
    the scope platform. It goes on until the node is restarted."""
    with administrators_api(url, token) as api:
        name = api.get("/admin/nodes")["nodes"][0]["node"] if node is None else node
        answer = api.post("/admin/drain", node=name)
        if as_json:
            print_json([answer])
        else:
            print(f"draining {name}: {answer['connections']} connections over {answer['seconds']:g} s; then stop it")


@contextmanager
def administrators_api(url: str, token: str, tenant: str | None = None, seconds: float = SECONDS) -> Iterator[AdminApi]:
    """The API; its errors end the command with one line, and what is missing on its pages is a warning at the end."""
    try:
        with closing(AdminApi(url, token, tenant, seconds)) as api:
            yield api
        if api.silent:
            warn(f"no answer from {', '.join(sorted(api.silent))}: what these nodes know is missing")
        elif api.partial:
            warn("other nodes are out of reach: what they know may be missing")
    except ClientError as error:
        fail(error)


def _print(found: Iterable[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_table(found, columns)


def print_table(found: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print aligned columns, with their names on top."""
    rows = [columns, *([_cell(each.get(column)) for column in columns] for each in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(found: Iterable[Mapping[str, Any]]) -> None:
    for each in found:
        print(json.dumps(each, ensure_ascii=False), flush=True)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ",".join(value) if isinstance(value, list) else str(value)
