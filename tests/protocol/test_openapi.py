"""The server does what its OpenAPI document says: schemathesis sends it what the document allows, and much that it does
not."""

import asyncio
import json
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.security.attacked import attacked_gateway
from tests.support.clients import http

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
"""All checks but `positive_data_acceptance`: the rules of a token's contents and reserved event types are more than a
schema can say."""

# Of the other phases one sends the document's own examples, and one follows links, of which there are none.
THOROUGH, BRIEF = "--phases=coverage,fuzzing", "--phases=fuzzing"


TIME_LIMITS = """
request-timeout = 30

[[operations]]
include-path = "/events/stream"
request-timeout = 5
"""
"""In seconds. A stream has no end: it is read until nothing has come for so long."""


async def schemathesis(url: str, token: str | None, folder: Path, phases: str) -> tuple[int | None, str]:
    """The exit status and output; with a failure the request to repeat it by, without the token."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", f"--checks={','.join(CHECKS)}"]
    command += ["--generation-deterministic", "--continue-on-failure", "--no-shrink", "--no-color", phases]
    command += ["--max-examples=5", "--suppress-health-check=all"]
    command += ["--report=har", f"--report-har-path={folder / 'all.har'}"]
    command.append("--exclude-path=/admin/drain")  # it reads the node's name from other answers, and drains it
    if token is not None:
        # In lower case it does not look into the token; else it revokes all tokens of the user whom it finds there.
        command.append(f"--header=Authorization: bearer {token}")
    (folder / "schemathesis.toml").write_text(TIME_LIMITS)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, said.decode()


def well_answered(folder: Path) -> set[str]:
    """The operations that were answered with success, as the document calls them."""
    found = set()
    for entry in json.loads((folder / "all.har").read_bytes())["log"]["entries"]:
        if entry["response"]["status"] < 300:
            path = re.sub("^/rooms/[^/]+/", "/rooms/{room}/", urlsplit(entry["request"]["url"]).path)
            found.add(f"{entry['request']['method']} {path}")
    return found


OPEN = {"GET /healthz", "GET /metrics", "GET /metrics/tenants", "GET /readyz", "GET /.well-known/jwks.json"}
TENANT = {
    *OPEN,
    "GET /events/stream",
    "POST /events",
    "POST /events/batch",
    "POST /tickets",
    "GET /rooms/{room}/events",
    "GET /rooms/{room}/presence",
    "GET /rooms/{room}/state",
}
# # No connection is open that `DELETE /admin/connections/{id}` could close.
PLATFORM = {
    *TENANT,
    "POST /admin/tokens",
    "POST /admin/tokens/revoke",
    "POST /admin/tokens/introspect",
    "POST /admin/tokens/inspect",
    "GET /admin/audit",
    "GET /admin/nodes",
    "GET /admin/find",
    "GET /admin/tail",
    "POST /admin/events",
    "GET /admin/configuration",
    "GET /admin/stats",
    "GET /admin/tenants",
    "GET /admin/usage",
    "GET /admin/connections",
    "GET /admin/rooms",
    "GET /admin/explain",
}


@pytest.mark.parametrize(
    ("scope", "phases", "within_reach"),
    [("subscribe publish admin platform", THOROUGH, PLATFORM), ("subscribe publish", BRIEF, TENANT), ("", BRIEF, OPEN)],
    ids=["platform", "tenant", "nobody"],
)
async def test_every_answer_is_documented(scope: str, phases: str, within_reach: set[str], tmp_path: Path) -> None:
    """No 500, no status, header, media type or shape beyond the document, and no traceback, for any caller. Each
    caller's requests succeed within its grants, and only there."""
    async with attacked_gateway() as attacked:
        token = attacked.gate.token("root", scope=scope) if scope else None
        async with http(attacked.gate) as api:
            await api.get("/openapi.json")  # made once: on a busy machine it takes longer than schemathesis waits
        ended, said = await schemathesis(attacked.gate.url, token, tmp_path, phases)
        assert ended == 0, said
        assert attacked.watch.faults() == []
        await attacked.works()
    assert well_answered(tmp_path) == within_reach
