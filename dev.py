"""Sets the project up in .venv and runs it. Needs Python 3.11 and pip (or uv), and nothing else; with npm `test` checks
the JavaScript client too.

    python3 dev.py run [ARGS]     serve in development mode with demo traffic; ARGS go to `gateway serve`
    python3 dev.py test [ARGS]    every check and test; ARGS go to pytest
    python3 dev.py bench [ARGS]   the benchmarks; ARGS go to them
    python3 dev.py docs           write the generated parts of the documentation
    python3 dev.py lock [ARGS]    write both locks; `--upgrade` takes the newest releases
    python3 dev.py setup          only set up, for all of these; `run` alone installs less

The same with make: `make test ARGS="-k rooms"`; `make run PYTHON=python3.13` chooses the Python.
"""

# The syntax stays within Python 3.6, so that an old Python gets as far as the check at the end.

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "dev.stamp"
LOCK = ROOT / "requirements.lock"
LOCKS = {"run": ROOT / "requirements-run.lock", "all": LOCK}
"""The locks for `run` and for everything; the first is a part of the second."""
_SIZES = {"run": "20 MB", "all": "100 MB"}


def succeeds(*command: object, quiet: bool = False) -> bool:
    silent = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.call([str(part) for part in command], stdout=silent, stderr=silent) == 0
    except OSError:
        return False


def become(*command: object) -> NoReturn:
    sys.stdout.flush()
    os.execv(str(command[0]), [str(part) for part in command])


def setup(what: str) -> None:
    """Brings .venv in line with pyproject.toml and the lock of `LOCKS`; does nothing when it is, or has more."""
    interpreter = f"{sys.version} {sys.base_prefix} {ROOT}".replace("\n", " ")
    content = b"".join(path.read_bytes() for path in (ROOT / "pyproject.toml", *LOCKS.values()))
    stamp = f"{interpreter}\n{hashlib.sha256(content).hexdigest()}\n"
    with open(__file__) as guard:  # two at once: the second waits, then finds it done
        fcntl.flock(guard, fcntl.LOCK_EX)
        before = STAMP.read_text() if STAMP.is_file() and PYTHON.exists() else ""
        if before in (f"{stamp}{what}\n", f"{stamp}all\n"):
            return
        print(f"Setting up .venv; the first time downloads about {_SIZES[what]} ...", flush=True)
        if not before.startswith(f"{interpreter}\n"):
            # Without pip: Debian has no ensurepip, and elsewhere this saves seconds.
            venv.create(VENV, clear=True, symlinks=True, with_pip=False)
        STAMP.unlink(missing_ok=True)
        if not any(install(installer, LOCKS[what]) for installer in installers()):
            sys.exit("dev.py: could not install the requirements; the reason is above")
        STAMP.write_text(f"{stamp}{what}\n")


def working_uv() -> "str | None":
    uv = shutil.which("uv")
    return uv if uv and succeeds(uv, "--version", quiet=True) else None


def installers() -> "list[list[str]]":
    """The `install` commands to try, best first."""
    found = []
    uv = working_uv()
    if uv:
        found.append([uv, "pip", "install", "--quiet", "--python", str(PYTHON)])
    # pip 22.3 can install into an environment that has no pip; else ensurepip may put one there. Compiling ahead
    # would take longer than all the rest; -qq leaves the errors.
    options = ["install", "-qq", "--no-compile"]
    if succeeds(sys.executable, "-m", "pip", "--python", PYTHON, "--version", quiet=True):
        found.append([sys.executable, "-m", "pip", "--python", str(PYTHON), *options])
    elif not found and succeeds(PYTHON, "-m", "ensurepip", quiet=True):
        found.append([str(PYTHON), "-m", "pip", *options])
    if not found:
        sys.exit("dev.py: needs pip 22.3 or newer, or uv (Debian, Ubuntu: apt install python3-pip)")
    return found


def install(installer: "list[str]", lock: Path) -> bool:
    # The lock names every package, with hashes; a build without isolation fetches nothing that it does not name.
    locked = ["--no-deps", "--require-hashes", "-r", lock]
    project = ["--no-deps", "--no-build-isolation", "--editable", ROOT]
    return succeeds(*installer, *locked) and succeeds(*installer, *project)


JAVASCRIPT = ROOT / "clients" / "js"


def setup_javascript() -> None:
    """Installs what builds and checks the JavaScript client; where that is not possible, its tests say so."""
    lock = JAVASCRIPT / "package-lock.json"
    stamp = JAVASCRIPT / "node_modules" / "dev.stamp"
    content = hashlib.sha256(lock.read_bytes()).hexdigest()
    with open(lock) as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text() == content:
            return
        npm = shutil.which("npm")
        if not npm:
            print("npm is not installed, so the tests of clients/js are skipped. Install Node 20 with npm to run them.")
            return
        print("Setting up clients/js; the first time downloads about 20 MB ...", flush=True)
        if succeeds(npm, "ci", "--silent", "--ignore-scripts", "--prefix", JAVASCRIPT):
            stamp.write_text(content)
        else:
            print("npm could not install the tools of clients/js, so its tests are skipped; the reason is above.")


NO_TESTS = 5
"""pytest's exit status where none was selected."""


def test_steps(args: "list[str]") -> "dict[str, list[str]]":
    """The commands of `test`, by their names in the summary."""
    # The tests wait more than they work, so two cores have time for six of them at once.
    parallel = ["pytest", "-n", str(max(6, os.cpu_count() or 1)), "--dist", "worksteal"]
    steps = {"ruff check": ["ruff", "check", "."], "ruff format": ["ruff", "format", "--check", "."], "mypy": ["mypy"]}
    if "-m" in args:  # it says itself what to run
        return {**steps, "pytest": [*parallel, *args]}
    # What has a limit of less than about a second in time shares the machine with one other of its kind.
    timing = ["pytest", "-n", "2", "--dist", "worksteal", "-m", "timing and not chaos", *(args or timing_tests())]
    return {**steps, "pytest": [*parallel, "-m", "not timing and not chaos", *args], "pytest, timing": timing}


def timing_tests() -> "list[str]":
    """The files that have such tests: to collect all of them takes each worker seconds."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in files if "mark.timing" in path.read_text(encoding="utf-8")]


def compile_tests() -> "subprocess.Popen[bytes]":
    """Compiles all tests, or each worker would for itself: beside mypy, which leaves the other cores alone."""
    command = [str(PYTHON), "-m", "pytest", "--collect-only", "-qq"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test(args: "list[str]") -> None:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of some hundred processes would compile all that it imports
    compiling = compile_tests()
    report = {}
    for name, command in test_steps(args).items():
        if name.startswith("pytest"):
            compiling.wait()
        report[name] = step(name, command)
    print("\n=== summary")
    for name, (status, seconds) in report.items():
        print(f"{VERDICTS.get(status, 'FAILED'):<8}{name:<16}{seconds:6.1f} s")
    tests = [status for name, (status, _) in report.items() if name.startswith("pytest")]
    # Where a selection leaves one of the two without tests, the other has them.
    sys.exit(any(status not in VERDICTS for status, _ in report.values()) or set(tests) == {NO_TESTS})


VERDICTS = {0: "ok", NO_TESTS: "none"}


def step(name: str, command: "list[str]") -> "tuple[int, float]":
    """Runs a module of .venv; its exit status, and how long it took."""
    print(f"\n=== {name}", flush=True)
    start = time.monotonic()
    status = subprocess.call([str(PYTHON), "-m", *command])
    return status, time.monotonic() - start


def lock(args: "list[str]") -> None:
    """Pins every release and the hashes of all its files, for every platform and Python from 3.11 on."""
    with tempfile.TemporaryDirectory() as scratch:
        uv = working_uv()
        if not uv:
            uv = f"{scratch}/bin/uv"
            if not succeeds(sys.executable, "-m", "pip", "install", "-qq", "--target", scratch, "uv"):
                sys.exit("dev.py: could not install uv, which writes the lock; the reason is above")
        command = [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate"]
        command += ["--python", sys.executable, "--python-version", "3.11"]
        command += ["--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "python3 dev.py lock"]
        everything = [*command, *args, "--extra", "dev", "--output-file", LOCK.name, "pyproject.toml"]
        # The same releases; and what builds the project, which installing it needs.
        running = [*command, "--extra", "fast", "--extra", "redis", "--group", "build", "--constraint", LOCK.name]
        running += ["--output-file", LOCKS["run"].name, "pyproject.toml"]
        if not (succeeds(*everything) and succeeds(*running)):
            sys.exit("dev.py: could not resolve the requirements; the reason is above")
    for path in LOCKS.values():
        if "://" in path.read_text():
            sys.exit(f"dev.py: {path.name} names an address, which holds on this machine only; remove it")


def newer_python() -> "str | None":
    """The path of a Python that is new enough. Each is asked, for a pyenv shim may exist and not work."""
    for name in ("python3.13", "python3.12", "python3.11", "python3.14"):
        for folder in os.get_exec_path():
            path = os.path.join(folder, name)
            if succeeds(path, "-c", "import sys; sys.exit(sys.version_info < (3, 11))", quiet=True):
                return path
    return None


def main() -> None:
    if sys.version_info < (3, 11):
        python = newer_python()
        if not python:
            sys.exit(f"dev.py: needs Python 3.11 or newer, and this is {sys.version.split()[0]}; none is on the PATH")
        become(python, *sys.argv)
    if Path(sys.prefix).resolve() == VENV:  # which has no pip, and may be about to go
        become(os.path.realpath(sys.executable), *sys.argv)
    command, args = (sys.argv[1:2] or ["help"])[0], sys.argv[2:]
    os.chdir(ROOT)
    if command in ("run", "test", "bench", "docs", "setup"):
        setup("run" if command == "run" else "all")
    if command in ("test", "setup"):
        setup_javascript()
    if command == "run":
        become(VENV / "bin" / "gateway", "serve", "--dev", "--demo", *args)
    elif command == "test":
        test(args)
    elif command == "bench":
        become(PYTHON, "-m", "benchmarks", *args)
    elif command == "docs":
        become(PYTHON, "-m", "tests.documentation.generated")
    elif command == "lock":
        lock(args)
    elif command != "setup":
        print(__doc__)
        sys.exit(command not in ("help", "-h", "--help"))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
