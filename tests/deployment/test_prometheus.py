"""A real Prometheus and a real node: the scrape, the alert rules, and every query of the Grafana dashboard."""

import re
import urllib.error
from pathlib import Path

import yaml

from tests.support.pauses import until
from tests.support.process import GatewayProcess
from tests.support.prometheus import MONITORING, Prometheus, Scraped, dashboard_queries, needs, prometheus, promtool

ALERTS = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]


@needs("promtool")
def test_the_alert_rules_are_valid_and_fire() -> None:
    """By the rules' own tests: each fires for its fault, and none for a healthy node."""
    assert "SUCCESS" in promtool("check", "rules", "alerts.yml", cwd=MONITORING)
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml", cwd=MONITORING)


def test_each_alert_is_tested_and_leads_to_the_runbook() -> None:
    """Each alert fires in one of the tests, and its heading exists."""
    tests = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"]
    fired = {rule["alertname"] for one in tests for rule in one["alert_rule_test"] if rule.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in ALERTS}
    headings = re.findall(r"^## (.*)", (MONITORING.parent / "operations.md").read_text(), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert {rule["annotations"]["runbook"].partition("#")[2] for rule in ALERTS} <= anchors


async def test_rules_and_dashboard_name_metrics_that_exist(tmp_path: Path) -> None:
    """Each metric and label is in the scrape of a node that has just started."""
    async with GatewayProcess(tmp_path) as node:
        found = Scraped((await node.get("/metrics")).text)
    expressions = [expression for _, expression in dashboard_queries()] + [rule["expr"] for rule in ALERTS]
    for expression in expressions:
        names = re.findall(r"\bgateway_(\w+)", expression)
        assert names or "up{" in expression
        for name in names:
            assert any(sample.partition("{")[0] == name for sample in found), (name, expression)
        for name, selected in re.findall(r'\bgateway_(\w+)\{(\w+="[^"]*")', expression):
            assert any(sample.startswith(f"{name}{{") and selected in sample for sample in found), expression


@needs("prometheus")
async def test_every_query_of_the_dashboard_has_a_result(tmp_path: Path) -> None:
    """From a real server that scrapes a node with a client, events, a refusal and the isolation canary."""
    async with GatewayProcess(tmp_path / "node", canary=1) as node:
        (tmp_path / "prometheus").mkdir()
        with prometheus(tmp_path / "prometheus", node.port) as server:
            async with node.client("&rooms=circle:1"):
                await until(lambda: is_scraped(server), 60)

                async def complete() -> bool:
                    await node.publish([{"n": n} for n in range(100)], circle_id=1)  # a rate is that of 10 s
                    return not without_result(server)

                await until(complete, 60)


def is_scraped(server: Prometheus) -> bool:
    """Whether the server runs and has scraped its target."""
    try:
        targets = server.targets()
    except urllib.error.URLError:
        return False
    errors = [target["lastError"] for target in targets if target["lastError"]]
    assert [error for error in errors if "deadline exceeded" not in error] == []  # that is of a slow machine
    return any(target["health"] == "up" for target in targets)


def without_result(server: Prometheus) -> list[tuple[str, str]]:
    """The queries without a result, or with one that is no number."""
    return [
        (title, expression)
        for title, expression in dashboard_queries()
        if not (found := server.query(expression)) or any(one["value"][1] == "NaN" for one in found)
    ]
