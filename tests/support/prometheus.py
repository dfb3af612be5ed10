"""Prometheus' own programs, where they are installed; and scrapes, parsed."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.pauses import PATIENCE
from tests.support.ports import ReservedPort

MONITORING: Final = Path(__file__).resolve().parents[2] / "docs" / "monitoring"


def needs(program: str) -> pytest.MarkDecorator:
    """A mark for tests of a program of Debian's package `prometheus`; in CI it has to be there."""
    missing = shutil.which(program) is None and "TESTS_REQUIRE_PROMETHEUS" not in os.environ
    return pytest.mark.skipif(missing, reason=f"needs {program}: apt-get install prometheus")


def promtool(*arguments: str, cwd: Path) -> str:
    """The output of `promtool`, which must succeed."""
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Prometheus:
    """A running Prometheus server that scrapes a target five times a second."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of a query as of now."""
        answer = self._get("/api/v1/query?" + urlencode({"query": expression}))
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def targets(self) -> list[dict[str, Any]]:
        """The targets, with the errors of their last scrapes."""
        found: list[dict[str, Any]] = self._get("/api/v1/targets")["data"]["activeTargets"]
        return found

    def _get(self, path: str) -> dict[str, Any]:
        with urlopen(self._url + path, timeout=PATIENCE) as answer:  # noqa: S310 - the address is ours
            body: dict[str, Any] = json.load(answer)
        assert body["status"] == "success", body
        return body


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[Prometheus]:
    """A Prometheus server that scrapes the port `target` of this machine, with the rules of docs/monitoring."""
    shutil.copy(MONITORING / "alerts.yml", folder)
    job = {"job_name": "gateway", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    config = {"global": {"scrape_interval": "200ms"}, "rule_files": ["alerts.yml"], "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    with ReservedPort() as port:
        command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
        log = (folder / "prometheus.log").open("wb")
        server = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], cwd=folder, stderr=log)
        try:
            yield Prometheus(port)
        finally:
            server.kill()
            server.wait()
            log.close()


class Scraped(Mapping[str, float]):
    """The samples of a scrape by name and labels, as `connections{transport="sse"}`, without the prefix `gateway_`."""

    def __init__(self, text: str, parse: Any = text_string_to_metric_families) -> None:
        self.families = {family.name.removeprefix("gateway_"): family for family in parse(text)}
        self._samples: dict[str, float] = {
            _written(sample.name.removeprefix("gateway_"), sample.labels): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __getitem__(self, name: str) -> float:
        return self._samples[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)


def _written(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name


def dashboard_queries() -> Sequence[tuple[str, str]]:
    """The title and the expression of each query of the Grafana dashboard, with its variables filled in."""
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    filled = {"$__rate_interval": "10s", "$instance": ".*"}
    found = []
    for panel in panels:
        for target in panel.get("targets", ()):
            expression: str = target["expr"]
            for variable, value in filled.items():
                expression = expression.replace(variable, value)
            found.append((panel["title"], expression))
    return found
