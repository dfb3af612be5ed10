"""`dev.py`: what it installs for which command, and when."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import dev

Installs = Callable[[str], list[str]]

TIMED = "pytest.mark." + "timing"


def pins(lock: Path) -> dict[str, str]:
    """Each requirement of a lock with its marker and its hashes."""
    found = re.findall(r"^([A-Za-z0-9_.\[\]-]+==[^ \n]+)(.*(?:\n    .*)*)", lock.read_text(), re.MULTILINE)
    return dict(found)


def test_run_lock_is_a_part_of_the_whole_lock() -> None:
    """The same releases with the same hashes; and nothing that only tests need."""
    running, everything = pins(dev.LOCKS["run"]), pins(dev.LOCKS["all"])
    assert running.keys() <= everything.keys()
    assert all(
        sorted(re.findall("sha256:.*", running[name])) == sorted(re.findall("sha256:.*", everything[name]))
        for name in running
    )
    names = {name.partition("==")[0].partition("[")[0] for name in running}
    assert {"fastapi", "slowapi", "uvicorn", "uvloop", "httptools", "redis", "hatchling"} <= names
    assert names.isdisjoint({"playwright", "mypy", "pytest", "hypothesis", "schemathesis", "ruff", "httpx"})


@pytest.fixture
def installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installs:
    """Set up a clone for a command; returns the locks that were installed by it, by a program that only notes them."""
    for name in ("pyproject.toml", "requirements.lock", "requirements-run.lock"):
        shutil.copy(dev.ROOT / name, tmp_path)
    noted = tmp_path / "noted"
    noted.touch()
    program = tmp_path / "install"
    program.write_text(f'#!/bin/sh\necho "$@" >> {noted}\n')
    program.chmod(0o755)
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr(dev, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(dev, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(dev, "STAMP", tmp_path / ".venv" / "dev.stamp")
    monkeypatch.setattr(dev, "LOCKS", {what: tmp_path / path.name for what, path in dev.LOCKS.items()})
    monkeypatch.setattr(dev, "installers", lambda: [[str(program)]])

    def setup(what: str) -> list[str]:
        noted.write_text("")
        dev.setup(what)
        return re.findall(r"-r \S*/(\S+)", noted.read_text())

    return setup


def test_each_command_installs_what_it_lacks(installs: Installs, tmp_path: Path) -> None:
    """`run` needs a part, `test` the rest; a complete installation runs both."""
    assert installs("run") == ["requirements-run.lock"]
    assert installs("run") == []
    assert installs("all") == ["requirements.lock"]
    assert installs("all") == installs("run") == []
    (tmp_path / "pyproject.toml").write_text("# changed")
    assert installs("run") == ["requirements-run.lock"]
    assert installs("all") == ["requirements.lock"]


def test_a_fresh_clone_is_set_up_for_the_tests_at_once(installs: Installs) -> None:
    """In one step."""
    assert installs("all") == ["requirements.lock"]
    assert installs("run") == []


def test_an_installation_that_failed_is_tried_again(
    installs: Installs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the one before was complete."""
    installs("run")
    with monkeypatch.context() as broken:
        broken.setattr(dev, "installers", lambda: [["false"]])
        with pytest.raises(SystemExit, match="could not install"):
            dev.setup("all")
    assert installs("run") == ["requirements-run.lock"]


@pytest.fixture
def javascript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone's folder of the JavaScript client, without its tools."""
    folder = tmp_path / "js"
    (folder / "node_modules").mkdir(parents=True)
    (folder / "package-lock.json").write_text("{}")
    monkeypatch.setattr(dev, "JAVASCRIPT", folder)
    return folder


def test_the_tools_of_the_javascript_client_are_installed_once(
    javascript: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `npm ci`; again when the lock has changed, or where it failed."""
    noted = tmp_path / "noted"
    npm = tmp_path / "npm"
    npm.write_text(f'#!/bin/sh\necho "$@" >> {noted}\ntest ! -e {tmp_path}/broken\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "broken").touch()
    dev.setup_javascript()
    (tmp_path / "broken").unlink()
    dev.setup_javascript()
    dev.setup_javascript()
    (javascript / "package-lock.json").write_text('{"changed": true}')
    dev.setup_javascript()
    assert noted.read_text().splitlines() == [f"ci --silent --ignore-scripts --prefix {javascript}"] * 3


def test_without_npm_there_is_a_plain_message(
    javascript: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Setting up goes on; the tests are skipped."""
    monkeypatch.setenv("PATH", str(tmp_path))
    dev.setup_javascript()
    assert "npm is not installed" in capsys.readouterr().out


def test_each_test_is_run_in_one_step_of_two() -> None:
    """Tests with a time limit run in a step of their own; a selection of the caller's is not divided."""
    parallel, timing = (command for name, command in dev.test_steps(["-k", "rooms"]).items() if "pytest" in name)
    assert parallel[-4:] == ["-m", "not timing and not chaos", "-k", "rooms"]
    assert timing == ["pytest", "-n", "2", "--dist", "worksteal", "-m", "timing and not chaos", "-k", "rooms"]
    *_, timing = dev.test_steps([]).values()
    marked = {
        str(path.relative_to(dev.ROOT)) for path in (dev.ROOT / "tests").rglob("*.py") if TIMED in path.read_text()
    }
    assert timing[:7] == ["pytest", "-n", "2", "--dist", "worksteal", "-m", "timing and not chaos"]
    assert set(timing[7:]) >= marked > set()
    assert "tests/unit/core/test_cursor.py" not in timing
    (chosen,) = (command for name, command in dev.test_steps(["-m", "chaos"]).items() if "pytest" in name)
    assert chosen[-2:] == ["-m", "chaos"]


@pytest.mark.parametrize(
    ("statuses", "ends_with"),
    [
        ([0, 0, 0, 0, 0], 0),
        ([0, 0, 0, 0, dev.NO_TESTS], 0),
        ([0, 0, 0, dev.NO_TESTS, dev.NO_TESTS], 1),
        ([0, 0, 0, 0, 1], 1),
        ([0, 0, 0, 1, 0], 1),
        ([0, 1, 0, 0, 0], 1),
    ],
)
def test_a_step_that_failed_once_has_failed(
    statuses: list[int], ends_with: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No step is run again, and each stands in the summary."""
    ran = []

    def step(name: str, command: list[str]) -> tuple[int, float]:
        ran.append(name)
        return statuses[len(ran) - 1], 1.0

    monkeypatch.setattr(dev, "step", step)
    monkeypatch.setattr(dev, "compile_tests", lambda: subprocess.Popen(["true"]))
    with pytest.raises(SystemExit) as ended:
        dev.test([])
    assert int(ended.value.code or 0) == ends_with
    assert len(ran) == len(statuses)
    summary = capsys.readouterr().out.partition("summary")[2]
    assert all(name in summary for name in ran)
