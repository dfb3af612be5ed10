"""The command `gateway explain`: an explanation for people."""

from typing import Annotated, Any

import typer

from gateway.cli.admin import Json, Tenant, administrators_api, print_json, print_table
from gateway.cli.errors import fail
from gateway.cli.options import Token, Url


def explain(
    event: Annotated[str | None, typer.Option(help="event_id of the event")] = None,
    user: Annotated[str | None, typer.Option(help="user id")] = None,
    connection: Annotated[str | None, typer.Option(help="connection_id, in place of --user")] = None,
    room: Annotated[str | None, typer.Option(help="a room in general, in place of --event")] = None,
    tenant: Tenant = None,
    as_json: Json = False,
    url: Url = "http://127.0.0.1:8000",
    token: Token = "",
) -> None:
    """Explain why a user did or did not get an event, by all nodes. Needs a token with the scope admin."""
    if (user is None) == (connection is None):
        fail("--user: name either a user or a --connection")
    if (event is None) == (room is None):
        fail("--event: name either an event or a --room")
    with administrators_api(url, token, tenant) as api:
        answer = api.get("/admin/explain", user_id=user, connection_id=connection, event_id=event, room=room)
    if as_json:
        print_json([answer])
    else:
        _print(answer)


def _print(answer: dict[str, Any]) -> None:
    """Print the verdict and the message, and a table of the connections with the rule that decided."""
    event = answer.get("event")
    about = f"room {answer['room']}" if event is None else event["event_id"]
    if event is not None and event["type"] is not None:
        about += f" ({event['type']} to {', '.join(event['rooms'])} at {event['timestamp']})"
    subject = answer.get("user_id") or answer["connection_id"]
    print(f"{subject}: {about}: {answer['verdict']}, {answer['reason']}")
    print(answer["message"])
    if answer["connections"]:
        print()
        columns = ("connection_id", "node", "transport", "ended_at", "verdict", "why")
        print_table([{**each, "why": _why(each)} for each in answer["connections"]], columns)
    if answer["silent"]:
        print(f"\nno answer from {', '.join(answer['silent'])}: ask again, or look at these nodes")


def _why(connection: dict[str, Any]) -> str:
    rules = connection["rules"]
    return f"{rules[-1]['rule']}: {rules[-1]['detail']}" if rules else str(connection["reason"])
