"""The Python client stands alone: nothing of the gateway, no dependency but websockets, and a core without I/O."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.core.version import VERSION
from gathering_client import __version__
from tests.support.settings import ROOT

PROJECT: Final = ROOT / "clients/python"
PACKAGE: Final = PROJECT / "gathering_client"

CORE: Final = {
    *(
        "actions",
        "backoff",
        "codes",
        "connector",
        "errors",
        "events",
        "freshness",
        "items",
        "position",
        "selection",
        "session",
        "stream",
    ),
    *("address", "version"),
}
"""Modules that both faces share and that know no loop, clock, chance, thread or socket."""

PURE: Final = {
    *(
        "__future__",
        "abc",
        "collections",
        "collections.abc",
        "dataclasses",
        "datetime",
        "enum",
        "json",
        "typing",
        "urllib.parse",
    ),
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, path
            yield node.module


def test_it_needs_nothing_but_websockets() -> None:
    """Neither for its code nor by its metadata. The module for OpenTelemetry is imported by no other."""
    paths = [path for path in PACKAGE.rglob("*.py") if path.name != "tracing.py"]
    assert "gathering_client.tracing" not in {name for path in paths for name in imports(path)}
    others = {name.partition(".")[0] for path in paths for name in imports(path)}
    assert others - set(sys.stdlib_module_names) == {"gathering_client", "websockets"}
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert [name.partition(">")[0] for name in project["dependencies"]] == ["websockets"]


def test_it_has_the_floors_of_the_gateway() -> None:
    """The minimum versions of websockets and of Python are the same in both distributions."""
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    theirs = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert set(theirs["dependencies"]) <= set(ours["dependencies"])
    assert theirs["requires-python"] == ours["requires-python"]
    assert __version__ == VERSION


def test_the_core_is_pure() -> None:
    """The core does no input or output; time is an argument."""
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    assert modules >= CORE
    for name in CORE:
        for other in imports(PACKAGE / f"{name}.py"):
            inner = other.partition("gathering_client.")[2]
            assert other in PURE or inner in CORE, f"{name} imports {other}"


def test_the_faces_do_not_know_of_one_another() -> None:
    for face, other in (("aio", "sync"), ("sync", "aio")):
        for path in (PACKAGE / face).glob("*.py"):
            assert not any(name.startswith(f"gathering_client.{other}") for name in imports(path)), path


def test_the_wheel_has_all_of_it(tmp_path: Path) -> None:
    """With the marker of a typed package, and nothing else."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("gathering_gateway_client-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert names == {str(path.relative_to(PROJECT)) for path in sources}
    assert "gathering_client/py.typed" in names


def test_both_faces_have_the_same_names() -> None:
    """The public names and their arguments are the same, but for the way to publish."""
    import inspect

    from gathering_client import aio, sync

    for name in ("Client", "Subscription", "ItemsSubscription"):
        one, other = getattr(aio, name), getattr(sync, name)
        public = {member for member in dir(one) if not member.startswith("_")}
        assert public == {member for member in dir(other) if not member.startswith("_")}
        for member in public:
            if callable(getattr(one, member)):
                parameters = [list(inspect.signature(getattr(face, member)).parameters) for face in (one, other)]
                assert parameters[0] == parameters[1], f"{name}.{member}"
    ours = set(inspect.signature(aio.connect).parameters)
    assert ours - {"publish_over"} == set(inspect.signature(sync.connect).parameters)
