"""`/asyncapi.json` describes the WebSocket: each command, frame, event type, close code and error code."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft7Validator

from schemas import examples
from schemas.codes import CLOSE_RULES, ERROR_RULES
from schemas.commands import COMMAND_TYPES
from schemas.messages import Message
from tests.support.clients import assert_problem, http
from tests.support.contracts import COMPLETED, COMPLETED_2, write_contract
from tests.support.inprocess import RunningGateway, embedded, running
from tests.support.nodejs import NODE, PACKAGE, needs_npm
from tests.support.settings import settings_for

TREE: dict[str, Any] = {
    "type": "object",
    "description": "A tree of runs",
    "properties": {"then": {"type": "array", "items": {"$ref": "#"}}, "at": {"$ref": "#/$defs/Place"}},
    "additionalProperties": False,
    "examples": [{"then": [{}], "at": {"x": 1}}],
    "$defs": {"Place": {"type": "object", "properties": {"x": {"type": ["number", "null"]}}, "required": ["x"]}},
}


async def described(gate: RunningGateway, token: str | None = None) -> dict[str, Any]:
    async with http(gate, token) as api:
        answer = await api.get("/asyncapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    document: dict[str, Any] = answer.json()
    return document


async def with_contract(tmp_path: Path) -> dict[str, Any]:
    contract = {"task__completed__v1": COMPLETED, "task__completed__v2": COMPLETED_2, "run__tree__v1": TREE}
    settings = settings_for(contract=write_contract(tmp_path / "contract", **contract), room_kinds=("circle", "team"))
    async with running(settings) as gate:
        return await described(gate, gate.token(rooms=["tenant"], scope=""))


def refs(part: Any) -> set[str]:
    """All references in the document."""
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(refs, part.values()))
    return set().union(*map(refs, part)) if isinstance(part, list) else set()


def resolve(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


async def test_all_commands_frames_and_codes_are_described(tmp_path: Path) -> None:
    """Each command with its reply; each event type of the contract with its versions."""
    document = await with_contract(tmp_path)
    channel = document["channels"]["socket"]
    assert channel["address"] == "/ws/dashboard"
    assert set(channel["x-close-codes"]) == {str(int(code)) for code in CLOSE_RULES}
    assert set(channel["x-error-codes"]) == set(ERROR_RULES)
    keys = {f"command.{name}" for name in COMMAND_TYPES} | {f"frame.{one.name}" for one in Message.__subclasses__()}
    events = {"event", "event.task.completed.v1", "event.task.completed.v2", "event.run.tree.v1"}
    assert set(document["components"]["messages"]) == set(channel["messages"]) == keys | events
    assert set(document["operations"]) == {*COMMAND_TYPES, "events", "notices"}
    for name in COMMAND_TYPES:
        replies = {one["$ref"] for one in document["operations"][name]["reply"]["messages"]}
        assert "#/channels/socket/messages/frame.error" in replies
        assert len(replies) == 2
    sent = [one["$ref"].rpartition("/")[2] for one in document["operations"]["events"]["messages"]]
    assert set(sent) == events
    event = document["components"]["messages"]["event.run.tree.v1"]["payload"]["properties"]
    assert {"circle_id", "team_id", "key", "op", "version", "traceparent"} <= event.keys()
    assert "project_id" not in event
    async with running() as gate:
        plain = await described(gate)
    assert "x-contract" not in plain["info"]
    assert len(document["info"]["x-contract"]) == 32


async def test_references_lead_somewhere_and_examples_fit(tmp_path: Path) -> None:
    """Also those inside the schemas of the contract, which have moved into this document."""
    document = await with_contract(tmp_path)
    for reference in refs(document):
        assert resolve(document, reference) is not None
    shown = 0
    for key, message in document["components"]["messages"].items():
        assert message["summary"], key
        schema = {**message["payload"], "components": document["components"]}
        for example in message.get("examples", ()):
            Draft7Validator(schema).validate(example["payload"])
            shown += 1
    assert shown == len(COMMAND_TYPES) + len(Message.__subclasses__()) + 2


async def test_contract_is_described_to_callers_with_a_token(tmp_path: Path) -> None:
    """Without a token neither its types nor its hash are there, which may be confidential, as with `GET /contract`.
    A token that is not valid is refused."""
    settings = settings_for(contract=write_contract(tmp_path / "contract", task__completed__v1=COMPLETED))
    async with running(settings) as gate, http(gate) as anyone, http(gate, "bad") as forger:
        document, known = await described(gate), await described(gate, gate.token(scope=""))
        assert len(known["info"]["x-contract"]) == 32
        assert known["components"]["messages"].keys() - document["components"]["messages"].keys() == {
            "event.task.completed.v1"
        }
        assert "x-contract" not in document["info"]
        assert "task_id" not in json.dumps(document)
        for path in ("/contract", "/contract/task.completed"):
            assert_problem(await anyone.get(path), 401, "token_missing")
        for path in ("/contract", "/asyncapi.json"):
            assert_problem(await forger.get(path), 401, "token_invalid")


async def test_address_is_below_the_path_of_an_application() -> None:
    async with embedded(prefix="/gateway") as gate:
        assert (await described(gate))["channels"]["socket"]["address"] == "/gateway/ws/dashboard"


@pytest.mark.parametrize("message", Message.__subclasses__(), ids=lambda message: message.name)
def test_example_of_each_frame_is_valid(message: type[Message]) -> None:
    data = message.model_validate(examples.FRAMES[message.name], strict=False, extra="forbid")
    assert json.loads(data.encode(""))["data"] == examples.FRAMES[message.name]


CHECK = """
import { Parser } from '@asyncapi/parser';
import { readFileSync } from 'node:fs';
const { document, diagnostics } = await new Parser().parse(readFileSync(0, 'utf8'));
console.log(JSON.stringify([document?.operations().length, diagnostics]));
"""


@needs_npm
@pytest.mark.parametrize("contract", [True, False])
async def test_parser_of_asyncapi_finds_nothing(tmp_path: Path, contract: bool) -> None:
    """The project's own parser, with the tools of clients/js: no error, no warning, no hint."""
    if contract:
        document = await with_contract(tmp_path)
    else:
        async with running(settings_for(room_kinds=("team",))) as gate:
            document = await described(gate)
    command = [NODE, "--input-type=module", "-e", CHECK]
    text = json.dumps(document)
    done = subprocess.run(command, cwd=PACKAGE, input=text, capture_output=True, text=True, check=False)  # noqa: ASYNC221 - nothing else runs
    assert done.returncode == 0, done.stderr
    operations, diagnostics = json.loads(done.stdout)
    assert (operations, diagnostics) == (len(COMMAND_TYPES) + 2, [])
