"""The pages hold together: links lead somewhere, blocks are run or valid, no name is of something that is not there."""

import configparser
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
import yaml

from gateway.api import create_app
from gateway.service.config import ConfigError, Settings
from gateway.service.factory import create_service
from schemas import messages
from schemas.commands import COMMAND_TYPES, CommandParser
from schemas.rooms import DEFAULT_KINDS
from tests.documentation.pages import PAGES, ROOT, Block, anchors_of, blocks, links_of, name_of, prose_of
from tests.support.nodejs import NODE
from tests.support.settings import settings_for

EXAMPLES = {block.example for block in blocks() if block.example}


def valid_python(code: str) -> None:
    compile(code, "example", "exec", dont_inherit=True)


def valid_javascript(code: str) -> None:
    if NODE:
        command = [NODE, "--input-type=module", "--check"]
        subprocess.run(command, input=code, text=True, check=True, capture_output=True)


def valid_shell(code: str) -> None:
    subprocess.run(["sh", "-n"], input=code, text=True, check=True, capture_output=True)


def valid_json(code: str) -> None:
    """A frame of the protocol has the members that its type has."""
    value = json.loads(code)
    if "timestamp" in value and "event_id" not in value:
        (model,) = (one for one in messages.Message.__subclasses__() if one.name == value["type"])
        data = model.model_validate(value["data"], strict=False, extra="forbid")
        assert json.loads(data.encode("", value.get("id"))) == {**value, "timestamp": ""}
    elif value.get("type") in COMMAND_TYPES:
        CommandParser(DEFAULT_KINDS).parse(code)


def valid_yaml(code: str) -> None:
    assert list(yaml.safe_load_all(code))


def valid_ini(code: str) -> None:
    configparser.ConfigParser(strict=False, interpolation=None).read_string(code)


def valid_environment(code: str) -> None:
    """Lines of a `.env` file that the settings take; their names are held against the settings below. A secret in them
    is public, so the gateway must refuse it."""
    with NamedTemporaryFile("w", suffix=".env") as file:
        file.write(code)
        file.flush()
        settings = Settings(_env_file=file.name)
    if settings.jwt_secret is not None:
        with pytest.raises(ConfigError, match="GATEWAY_JWT_SECRET"):
            create_service(settings)
    assert settings.model_fields_set >= {name.lower() for name in re.findall(r"^GATEWAY_(\w+)=", code, re.MULTILINE)}


VALIDATORS: dict[str, Callable[[str], None]] = {
    "sh": valid_shell,
    "python": valid_python,
    "js": valid_javascript,
    "json": valid_json,
    "yaml": valid_yaml,
    "ini": valid_ini,
    "env": valid_environment,
}
"""By kind of block."""

PROGRAMS = {"sh", "python", "js", "html", "nginx", "caddyfile", "haproxy", "dockerfile", "yaml", "ts", "tsx"}
ELSEWHERE = {
    "html": "tests/e2e/test_quick_start.py opens it",
    "text": "what a program prints",
    "dockerfile": "tests/documentation/test_containers.py builds and runs what it says",
    **dict.fromkeys(("ts", "tsx"), "tests/clients/test_package_readme.py compiles and runs it"),
    **dict.fromkeys(("nginx", "caddyfile", "haproxy"), "tests/deployment/test_proxies.py runs it"),
}


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.place)
def test_each_block_is_run_or_valid(block: Block) -> None:
    """A program is named as an example for a test to run, or says why nothing runs it; all others are validated."""
    if block.kind in PROGRAMS and not block.not_run:
        assert block.example, f"{block.place}: write <!-- example: NAME --> above it, and a test that runs it"
    if block.kind in VALIDATORS:
        VALIDATORS[block.kind](block.code)
    else:
        assert block.kind in ELSEWHERE, f"{block.place}: ```{block.kind} is none of {sorted(VALIDATORS | ELSEWHERE)}"


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_each_example_is_run_by_a_test(name: str) -> None:
    """A test asks for it by its name."""
    asking = [path for path in (ROOT / "tests").rglob("*.py") if f'example("{name}")' in path.read_text()]
    assert asking, f'no test has example("{name}")'


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_is_hidden_from_these_tests(page: Path) -> None:
    """Every fence was read as the beginning or the end of a block, and none is written by indentation."""
    fences = sum(line.lstrip().startswith("```") for line in page.read_text().splitlines())
    assert fences == 2 * sum(block.page == name_of(page) for block in blocks())
    assert not re.search(r"\n\n {4,}\S", prose_of(page)), "write blocks with ``` and their kind"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_text_is_taken_for_a_tag(page: Path) -> None:
    """Outside code `<id>` is HTML, and is not shown."""
    text = re.sub(r"<!--.*?-->|`[^`\n]*`|<https?://[^>]*>", "", prose_of(page), flags=re.DOTALL)
    assert re.findall(r"<[a-z/][^>\n]*>", text) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Each file that is linked is there, and has the heading where one is named."""
    for target in links_of(page):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors_of(file), target


def test_settings_that_are_named_exist() -> None:
    """In the text and in the examples."""
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields} | {"GATEWAY_URL", "GATEWAY_TOKEN"}
    for page in PAGES:
        named = set(re.findall(r"\bGATEWAY_[A-Z_]*[A-Z]\b", page.read_text()))
        assert named <= known, name_of(page)


def test_drawings_are_well_formed_and_need_nothing() -> None:
    """Plain SVG: no script, nothing fetched, and colours for light and dark."""
    for drawing in (ROOT / "docs").glob("*.svg"):
        text = drawing.read_text()
        assert "prefers-color-scheme: dark" in text
        assert not re.search(r"<script|<image|href|@import|url\((?!#)", text)


def test_the_page_index_names_every_page() -> None:
    """On the front page of the repository."""
    linked = {(ROOT / target.partition("#")[0]).resolve() for target in links_of(ROOT / "README.md")}
    assert [name_of(page) for page in PAGES if page not in linked and page.name != "README.md"] == []


def test_the_front_page_is_short() -> None:
    """At most 200 lines: more belongs on a page of its own."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_the_figures_of_the_front_page_name_their_build() -> None:
    """The build and the day of the report that they are taken from."""
    (day, build), *_ = re.findall(
        r"on (\d{4}-\d\d-\d\d), of the build `(\w+)`", (ROOT / "benchmarks/RESULTS.md").read_text()
    )
    assert f"on {day}, of the build `{build}`" in (ROOT / "README.md").read_text()


def test_planned_routes_do_not_exist() -> None:
    """A route that the protocol's page lists as planned does not exist yet; adding it means changing the page."""
    page = (ROOT / "docs/protocol.md").read_text().partition("## Not there yet")[2]
    routes = create_app(create_service(settings_for())).openapi()["paths"]
    for path in re.findall(r"`(?:GET|POST) (/[\w/{}.]*)", page):
        assert path not in routes, path
