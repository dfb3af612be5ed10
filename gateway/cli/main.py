"""The `gateway` command."""

import asyncio
import json
import os
import sys
from typing import Annotated, Any

import typer

from gateway.cli.admin import add_commands
from gateway.cli.contract import contract_app
from gateway.cli.errors import ClientError, configured, fail
from gateway.cli.explain import explain
from gateway.cli.options import Token, Url
from gateway.cli.token import token_app
from gateway.cli.top import top
from gateway.core.connect_request import WEBSOCKET_PATH
from gateway.core.version import VERSION
from gateway.service.advice import setting_warnings, try_log
from gateway.service.config import ConfigError, load_settings
from gateway.service.factory import create_service, require_shared_log
from schemas.events import Op

app = typer.Typer(
    help="One tenant, one log; one client, one cursor.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, which may hold tokens
    rich_markup_mode=None,
)


app.add_typer(token_app, name="token")
app.add_typer(contract_app, name="contract")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"gathering-gateway {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    dev: Annotated[bool, typer.Option("--dev", help="a random key, tokens for the page; loopback only")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="publish made-up traffic of two tenants")] = False,
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on; 0 takes a free one")] = None,
) -> None:
    """Serve."""
    from gateway.server import development, run

    chosen: dict[str, Any] = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    try:
        settings = load_settings(**chosen)
        if dev:
            settings = development.development_settings(settings)
        if not run.serve(settings, development=dev, demo=demo):
            raise typer.Exit(1)
    except ConfigError as error:
        fail(error)


@app.command()
def publish(
    type: Annotated[str, typer.Option(help="event type, such as task.completed")],
    circle: Annotated[str | None, typer.Option(help="circle id")] = None,
    project: Annotated[str | None, typer.Option(help="project id")] = None,
    user: Annotated[str | None, typer.Option(help="user id")] = None,
    id: Annotated[list[str] | None, typer.Option(help="the id of a room of another kind, such as team=7")] = None,
    data: Annotated[str, typer.Option(help="a JSON object")] = "{}",
    key: Annotated[str | None, typer.Option(help="key of the item that the event changes")] = None,
    op: Annotated[Op | None, typer.Option(help="the change of the item: set, append or delete")] = None,
    version: Annotated[int | None, typer.Option(help="version of the type in the event contract")] = None,
    url: Url = "http://127.0.0.1:8000",
    token: Token = "",
) -> None:
    """Publish one event and print its event_id."""
    from gateway.cli.events import publish_event
    from gathering_client import Draft

    try:
        body = json.loads(data)
    except ValueError:
        fail("--data: not valid JSON")
    ids = [f"circle={circle}"] * (circle is not None) + [f"project={project}"] * (project is not None) + (id or [])
    fields = {f"{kind}_id": _id(text) for kind, text in map(_kind_and_id, ids)}
    if len(fields) < len(ids):
        fail("--id: an event goes to one room of each kind; name each kind once")
    draft = Draft(type, body, user_id=user, ids=fields, key=key, op=op, version=version)
    try:
        print(publish_event(url, token, draft))
    except ClientError as error:
        fail(error)


@app.command()
def subscribe(
    rooms: Annotated[list[str], typer.Argument(help="rooms, such as circle:1")],
    since: Annotated[str | None, typer.Option(help="the event_id to resume from")] = None,
    state: Annotated[bool, typer.Option("--state", help="first the newest value of each item")] = False,
    path: Annotated[str, typer.Option(help="path of the gateway's WebSocket")] = WEBSOCKET_PATH,
    url: Url = "http://127.0.0.1:8000",
    token: Token = "",
) -> None:
    """Print the events of rooms as JSON lines until interrupted; resumes when the connection breaks."""
    from gateway.cli.events import follow

    try:
        for event in follow(url, token, rooms, since, state, path):
            print(json.dumps(event, ensure_ascii=False), flush=True)
    except ClientError as error:
        fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        # The reader of the pipe has gone; the interpreter must not fail again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command()
def check(
    workers: Annotated[int, typer.Option(help="processes that a server is to run with these settings", min=1)] = 1,
) -> None:
    """Check the configuration and the log: print warnings; exit 2 for errors."""
    settings = configured()
    try:
        require_shared_log(settings, workers, "--workers")
        create_service(settings)
        found = [*setting_warnings(settings), *asyncio.run(try_log(settings))]
    except ConfigError as error:
        fail(error)
    for weakness in found:
        print(f"warning: {weakness}")
    print("configuration OK" + (", with the warnings above" if found else ""))


def _kind_and_id(text: str) -> tuple[str, str]:
    kind, separator, id = text.partition("=")
    if not (separator and kind and id):
        fail("--id: write the kind of room, = and the id, such as team=7")
    return kind, id


def _id(text: str) -> int | str:
    """An id as an integer where it is written as one, else as text; `007` is text, since it is another room than 7."""
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        return text
    return int(text) if str(int(text)) == text else text


add_commands(app)
app.command()(explain)
app.command()(top)


def main() -> None:
    app()
