"""The runbook: each metric, command and console view that it names exists."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.main import get_command

from gateway.cli.main import app
from gateway.service.config import Settings
from tests.documentation.pages import ROOT
from tests.support.clients import http
from tests.support.inprocess import RunningGateway

CONSOLE: Final = ROOT / "gateway/web/js/console"
OF_PROMETHEUS: Final = "up"
"""A metric that Prometheus itself adds."""


def cells(name: str) -> Iterator[str]:
    """The cells of a column, of all tables that have it."""
    position = None
    for line in (ROOT / "docs/operations.md").read_text().splitlines():
        row = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)][1:-1] if line.startswith("|") else []
        if not row:
            position = None
        elif name in row:
            position = row.index(name)
        elif position is not None and not set(row[0]) <= set("- "):
            yield row[position].replace("\\|", "|")


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


async def test_each_metric_is_in_a_scrape(gate: RunningGateway) -> None:
    """With the label values that are given exactly; those of a regular expression match one at least."""
    async with http(gate) as api:
        text = (await api.get("/metrics")).text
    samples: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            for known in (sample.name, re.sub("_(bucket|sum|count)$", "", sample.name)):
                samples.setdefault(known.removeprefix("gateway_"), []).append(sample.labels)
    named = 0
    previous = ""
    for cell in cells("metric"):
        for quote in quoted(cell):
            if quote.startswith("/") or quote == OF_PROMETHEUS:
                continue
            name, _, selectors = quote.partition("{")
            previous = name = name or previous  # `{code="client"}` is of the metric before
            assert name in samples, quote
            for label, operator, value in re.findall(r'(\w+)(=~?)"([^"]*)"', selectors):
                values = {labels[label] for labels in samples[name] if label in labels}
                assert any(re.fullmatch(value if operator == "=~" else re.escape(value), each) for each in values), (
                    quote
                )
            named += 1
    assert named > 30


def test_each_command_exists_with_its_options() -> None:
    commands: Any = get_command(app)
    named = [quote for cell in cells("command") for quote in quoted(cell)]
    assert len(named) > 20
    for quote in named:
        program, *words = quote.split()
        assert program == "gateway", quote
        found = commands
        while words and words[0] in getattr(found, "commands", {}):
            found = found.commands[words.pop(0)]
        assert found is not commands, quote
        options = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, quote


def test_each_view_exists() -> None:
    titles = {
        title for path in CONSOLE.glob("*.js") for title in re.findall(r"static title = '(\w+)'", path.read_text())
    }
    assert len(titles) == 8
    views = [
        view for cell in cells("console") for part in cell.split("; ") for view in part.partition(":")[0].split(", ")
    ]
    assert {view for view in views if view and not view.startswith("in the console")} <= titles
    assert len(views) > 30


@pytest.mark.parametrize("page", ["operations.md", "console.md"])
def test_each_setting_exists(page: str) -> None:
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields}
    text = Path(ROOT / "docs" / page).read_text()
    assert set(re.findall(r"GATEWAY_[A-Z_]+[A-Z]", text)) <= known
