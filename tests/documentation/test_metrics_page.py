"""The examples of docs/metrics.md, run as they stand."""

import shutil
from pathlib import Path

from tests.documentation.pages import example
from tests.support.clients import http
from tests.support.inprocess import RunningGateway
from tests.support.prometheus import MONITORING, needs, promtool


async def test_an_application_adds_a_metric(gate: RunningGateway) -> None:
    """Beside the gateway's."""
    exec(example("jobs metric"), {"service": gate.service})  # noqa: S102 - a program of the page
    async with http(gate) as api:
        assert 'gateway_jobs_total{result="done"} 0.0' in (await api.get("/metrics")).text


@needs("promtool")
def test_the_configuration_is_valid(tmp_path: Path) -> None:
    """By Prometheus' own check; the file with the token is there."""
    (tmp_path / "token").write_text("a token")
    config = example("prometheus.yml").replace("/etc/prometheus/gateway-token", str(tmp_path / "token"))
    (tmp_path / "prometheus.yml").write_text(config)
    shutil.copy(MONITORING / "alerts.yml", tmp_path)
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml", cwd=tmp_path)
