"""`gateway contract`: check the event contract, and print types of it."""

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.error import HTTPError

import typer

from gateway.cli.errors import configured, fail
from gateway.cli.options import Token
from gateway.service.config import ConfigError
from gateway.service.contract import load_schemas
from gateway.service.http_get import http_get
from schemas.contract.compatibility import changes, has_open_objects
from schemas.contract.document import schemas_in
from schemas.contract.event_schema import EventSchema, SchemaInvalid, digest_of, parse_name
from schemas.contract.python_types import python_of
from schemas.contract.typescript import typescript_of

contract_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Check the event contract, and print types of it."
)

_SECONDS: Final = 10.0
_MAX_BYTES: Final = 16 * 1024 * 1024

Source = Annotated[
    str | None,
    typer.Option("--contract", help="a folder, or models as package.module:NAME; by default GATEWAY_CONTRACT"),
]


@contract_app.command()
def check(
    source: Source = None,
    against: Annotated[
        str | None,
        typer.Option(help="the contract in use: a folder, a file of GET /contract, or the URL of a gateway"),
    ] = None,
    token: Token = "",
) -> None:
    """Check that the contract can be loaded, and that it is compatible with the one in use: exit 1 for a change within
    a version that is not allowed, 2 for one that cannot be proved and for errors."""
    schemas = _own(source)
    if against is None:
        for each in schemas:
            if has_open_objects(each.schema):
                print(f"warning: {each.name}: an object is open; no member can be added to it in this version")
        print(f"contract OK: {len(schemas)} schema{'s' * (len(schemas) > 1)}")
        return
    found = changes(_schemas_of(against, token), {each.name: each.schema for each in schemas})
    for change in found:
        print(f"{'refused' if change.proved else 'not proved'}: {change}")
    if found:
        raise typer.Exit(1 if any(change.proved for change in found) else 2)
    print("contract OK: compatible")


@contract_app.command()
def types(
    source: Source = None,
    lang: Annotated[Literal["ts", "py"], typer.Option(help="TypeScript or Python")] = "ts",
) -> None:
    """Print types of the events: for `connect<Events>()` of the JavaScript client, or as Python's `TypedDict`."""
    schemas = _own(source)
    printer = typescript_of if lang == "ts" else python_of
    print(printer(schemas, digest_of(schemas)), end="")


def _own(source: str | None) -> list[EventSchema]:
    asked_by = "--contract"
    if source is None:
        source, asked_by = configured().contract, "GATEWAY_CONTRACT"
    if source is None:
        fail("GATEWAY_CONTRACT: is not set; set it, or pass --contract")
    try:
        return load_schemas(source, asked_by)
    except ConfigError as error:
        fail(error)


def _schemas_of(place: str, token: str) -> dict[str, Any]:
    """The schemas by name in a folder, a file or the answer of a gateway."""
    try:
        if place.startswith(("http://", "https://")):
            return schemas_in(json.loads(_fetched(place, token)))
        path = Path(place)
        if path.is_dir():
            found = {file.stem: json.loads(file.read_bytes()) for file in sorted(path.glob("*.json"))}
            for name in found:
                parse_name(name)
            return found
        return schemas_in(json.loads(path.read_bytes()))
    except HTTPError as error:
        fail(f"--against: {place}: answered {error.code}{'; pass --token' if error.code == 401 else ''}")
    except SchemaInvalid as error:
        fail(f"--against: {place}: {error}")
    except OSError as error:
        fail(f"--against: {place}: cannot be read: {error.strerror or error}")
    except ValueError:
        fail(f"--against: {place}: is not JSON")


def _fetched(url: str, token: str) -> bytes:
    url = url.rstrip("/")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return http_get(url if url.endswith("/contract") else f"{url}/contract", _SECONDS, _MAX_BYTES, headers)
