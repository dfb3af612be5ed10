"""The image, the compose file and the manifests of the pages: what is built serves, and has time for its drain."""

import json
import re
import shlex
import shutil
import zipfile
from pathlib import Path
from typing import Final

import yaml

from gateway.api import create_app
from gateway.service.config import Settings
from gateway.service.factory import create_service
from tests.documentation.pages import ROOT, example
from tests.documentation.shell import PATIENCE, Shell, answers
from tests.support.inprocess import running
from tests.support.pauses import until
from tests.support.ports import ReservedPort
from tests.support.settings import SECRET, settings_for

DEFAULTS: Final = Settings(_env_file=None)
LONGEST_SHUTDOWN: Final = DEFAULTS.shutdown_delay_seconds + DEFAULTS.drain_seconds + 5


def test_compose_waits_for_the_drain() -> None:
    """Stop grace period and drain; and Redis does not evict."""
    services = yaml.safe_load(example("compose.yaml"))["services"]
    assert float(services["gateway"]["stop_grace_period"].removesuffix("s")) > LONGEST_SHUTDOWN
    assert "noeviction" in services["redis"]["command"]


def test_kubernetes_waits_for_the_drain() -> None:
    """The probes are routes, and names, labels and ports agree."""
    parts = {part["kind"]: part["spec"] for part in yaml.safe_load_all(example("kubernetes.yaml"))}
    deployment, service = parts["Deployment"], parts["Service"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] > LONGEST_SHUTDOWN
    assert pod["enableServiceLinks"] is False
    assert container["ports"] == [{"name": "http", "containerPort": DEFAULTS.port}]
    assert service["ports"][0]["targetPort"] == "http"
    routes = create_app(create_service(settings_for())).openapi()["paths"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in routes
        assert container[probe]["httpGet"]["port"] == "http"
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels == service["selector"]
    assert parts["PodDisruptionBudget"]["selector"]["matchLabels"] == labels


def copied(dockerfile: str, target: Path) -> None:
    """The files that the image copies from the clone, in a folder of their own."""
    for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE):
        *names, folder = line.split()
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, target / folder)


async def test_the_image_serves(tmp_path: Path) -> None:
    """The package is built from what is copied and has all of it; the command runs from there and is healthy."""
    dockerfile = example("Dockerfile")
    (command,) = re.findall(r"^CMD (.*)$", dockerfile, re.MULTILINE)
    (health,) = re.findall(r"^HEALTHCHECK .*CMD (.*)$", dockerfile, re.MULTILINE)
    (variables,) = re.findall(r"^ENV PATH=\S+ (.*)$", dockerfile, re.MULTILINE)
    source, installed, home = (tmp_path / name for name in ("src", "installed", "home"))
    source.mkdir()
    home.mkdir()
    copied(dockerfile, source)
    async with running() as gate:
        shell = Shell(gate, home)
        await shell.run(f"cd {source} && python -m hatchling build -t wheel")
        (wheel,) = (source / "dist").glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(installed)
        for package in ("auth", "gateway", "schemas", "clients/python/gathering_client"):
            parent = (source / package).parent
            files = {path.relative_to(parent) for path in (source / package).rglob("*") if path.is_file()}
            assert {path for path in files if not (installed / path).exists()} == set()
        with ReservedPort() as port:
            environment = dict(word.split("=") for word in variables.split())
            assert environment.pop("GATEWAY_HOST") == "0.0.0.0"  # noqa: S104 - in a container; here the loopback will do
            environment |= {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_PORT": str(port), "PYTHONPATH": str(installed)}
            async with shell.running(f"exec {shlex.join(json.loads(command))}", **environment) as server:
                await until(lambda: server.returncode is not None or answers(f"http://127.0.0.1:{port}"), PATIENCE)
                assert server.returncode is None
                await shell.run(shlex.join(json.loads(health)).replace(":8000/", f":{port}/"))
    assert '"Listening on' in shell.errors
