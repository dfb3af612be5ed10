"""The scenarios' driver for the Python client: `python -m tests.clients.python_driver FACE OPTIONS`. What it reads and
prints is in clients/scenarios/README.md."""

import asyncio
import json
import logging
import random
import sys
import time
from typing import Any

import gathering_client
import gathering_client.sync
from gathering_client import Event, Gap, GatewayError, Snapshot, StateChange


def say(*line: object) -> None:
    print(json.dumps(line), flush=True)


def tell(change: StateChange) -> None:
    if change.state != "closed":
        say("state", change.state, change.code, change.retry_in)


def show(item: object) -> None:
    if isinstance(item, Event):
        say("event", item.data.get("n"))
    elif isinstance(item, Gap):
        say("gap", item.reason)
    elif isinstance(item, Snapshot):
        say("snapshot")


def ask_for_token() -> str:
    say("token")
    return sys.stdin.readline().strip()


async def ask_for_token_in_a_thread() -> str:
    return await asyncio.to_thread(ask_for_token)


def options_of(given: dict[str, Any]) -> dict[str, Any]:
    return {"on_state": tell, **({"since": given["since"]} if "since" in given else {})}


async def follow(given: dict[str, Any]) -> None:
    async def load(cursor: str) -> str:
        return "state"

    token = given.get("token") or ask_for_token_in_a_thread
    async with gathering_client.connect(given["url"], token=token, keepalive=given.get("keepalive", 20)) as client:
        if given.get("load"):
            async for loaded in client.subscribe(*given["rooms"], load=load, on_state=tell):
                show(loaded)
        else:
            async for item in client.subscribe(*given["rooms"], **options_of(given)):
                show(item)


def follow_without_asyncio(given: dict[str, Any]) -> None:
    token = given.get("token") or ask_for_token
    with gathering_client.sync.connect(given["url"], token=token, keepalive=given.get("keepalive", 20)) as client:
        if given.get("load"):
            for loaded in client.subscribe(*given["rooms"], load=lambda cursor: "state", on_state=tell):
                show(loaded)
        else:
            for item in client.subscribe(*given["rooms"], **options_of(given)):
                show(item)


def main(face: str, given: dict[str, Any]) -> None:
    logging.getLogger("gathering_client").setLevel(logging.ERROR)  # its warnings are of the faults of a scenario
    right = time.time
    time.time = lambda: right() + given.get("clock", 0)
    if "chance" in given:
        random.random = lambda: given["chance"]
    try:
        if face == "sync":
            follow_without_asyncio(given)
        else:
            asyncio.run(follow(given))
    except GatewayError as error:
        say("ended", error.code)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
