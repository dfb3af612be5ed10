"""The `gateway` command, run to its end or for as long as a test wants, in a folder of its own."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path

from typer.testing import CliRunner, Result

from gateway.cli.main import app
from tests.support.process import Process
from tests.support.settings import environment


def run(
    *command: str, cwd: Path, env: Mapping[str, str] | None = None, module: str = "gateway"
) -> subprocess.CompletedProcess[str]:
    """Run `gateway …` to its end, for which the test's own limit is patience enough."""
    return subprocess.run(
        [sys.executable, "-m", module, *command],
        cwd=cwd,
        env=environment(env),
        capture_output=True,
        text=True,
    )


def invoke(*command: str, cwd: Path, env: Mapping[str, str] | None = None, input: str | None = None) -> Result:
    """Run `gateway …` to its end within this process: a tenth of a second where `run` takes one."""
    nothing = dict.fromkeys(name for name in os.environ if name.startswith("GATEWAY_"))
    with chdir(cwd):
        return CliRunner().invoke(app, command, input, {**nothing, **(env or {})})


@contextmanager
def processor_seconds(limit: float) -> Iterator[None]:
    """Fail if the processes that end within this took more of the processor; the clock says little when it is busy."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    yield
    assert spent() - before < limit


def started(*command: str, cwd: Path, env: Mapping[str, str] | None = None, module: str = "gateway") -> Process:
    """`gateway …`, to be entered; it runs until it is left."""
    return Process([sys.executable, "-m", module, *command], cwd, environment(env))
