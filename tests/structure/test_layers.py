"""The layers of docs/architecture.md, held against every module: imports point down only, and each driver is
imported in one place. That the gateway works without FastAPI is then a fact of structure."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.documentation.generated import refreshed
from tests.support.settings import SECRET

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schemas", "auth", "gateway")

LEVELS = {
    "schemas": 0,
    "auth": 1,
    "gateway.core": 2,
    "gateway.redis": 2,
    "gateway.telemetry": 2,
    "gateway.logs": 3,
    "gateway.cluster": 3,
    "gateway.transports": 3,
    "gateway.engine": 4,
    "gateway.embedding": 5,
    "gateway.service": 5,
    "gateway": 5,  # the package's own names: what works without a server
    "gateway.api": 6,
    "gateway.testing": 6,
    "gateway.app": 7,
    "gateway.server": 7,
    "gateway.cli": 8,
    "gateway.__main__": 8,
}
"""A package stands for what is in it; a module that nothing here names has to be given its place."""

DRIVERS = {
    "fastapi": ("gateway.api", "gateway.server"),
    "starlette": ("gateway.api",),
    "slowapi": ("gateway.api",),
    "limits": ("gateway.api",),
    "opentelemetry": ("gateway.telemetry.tracing",),
    "prometheus_client": ("gateway.api.metrics",),
    "h11": ("gateway.transports.uvicorn",),
    "httptools": ("gateway.transports.uvicorn",),
    "uvicorn": ("gateway.server", "gateway.transports.uvicorn"),
    "websockets": ("gateway.testing", "gateway.transports"),
    "gathering_client": ("gateway.cli",),
    "typer": ("gateway.cli",),
    "rich": ("gateway.cli.top", "gateway.cli.top_screen"),
    "redis": ("gateway.redis", "gateway.logs.redis", "gateway.cluster.redis"),
    "jwt": ("auth.tokens", "auth.jwk"),
    "cryptography": ("auth.keys", "auth.jwk", "gateway.core.cursor", "gateway.core.ticket_seal"),
    "jsonschema_rs": ("schemas.contract.json_schema",),
    "jsonpatch": ("gateway.embedding.agui",),
    "jsonpointer": ("gateway.embedding.agui",),
    "pydantic": ("schemas", "auth", "gateway.api", "gateway.service", "gateway.server.development"),
    "pydantic_core": ("schemas", "gateway.api", "gateway.embedding.broadcast_manager"),
    "pydantic_settings": ("gateway.service.config",),
}
"""The allowed imports of each folder; all others are forbidden."""

PURE = {
    "__future__",
    "abc",
    "base64",
    "binascii",
    "bisect",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "ipaddress",
    "itertools",
    "math",
    "operator",
    "re",
    "struct",
    "types",
    "typing",
    "urllib.parse",
    "zlib",
}
"""Modules of the standard library without clock, randomness, event loop, file or socket."""

IMPURE = {
    "asyncio",
    "http",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "select",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
}
"""Further modules for tokens and schemas, which may draw a `jti` and read JSON."""

ENGINES = {
    *("gateway.logs.memory", "gateway.logs.redis"),
    *("gateway.transports.asgi", "gateway.transports.uvicorn.protocol"),
}
"""The implementations of the two seams."""

MAX_LINES = 300
MAX_FAN_OUT = 25
MAX_PLACES = 20
MAX_EDGES = 60
MAX_DEPTH = 11


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the distribution by its name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(), str(path))
    return found


def imports(name: str) -> Iterator[tuple[str, int]]:
    """Each module that `name` imports, wherever in it, and the line."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: imports are absolute here"
            assert node.module is not None
            for alias in node.names:
                # `from package import module` imports the module.
                deeper = f"{node.module}.{alias.name}"
                yield deeper if deeper in modules() else node.module, node.lineno


def place(name: str) -> str:
    """The entry of `LEVELS` that `name` belongs to."""
    if name in LEVELS:
        return name
    parent = name.rpartition(".")[0]
    assert parent not in ("", "gateway"), f"{name} has no place in the table of layers"
    return place(parent)


def within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in allowed)


def internal(name: str) -> bool:
    return name.partition(".")[0] in PACKAGES


def standard(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def test_every_module_has_its_place_and_every_place_a_module() -> None:
    """The table names exactly the modules that exist."""
    assert {place(name) for name in modules()} == set(LEVELS)


def test_the_documents_draw_the_same_layers() -> None:
    """docs/architecture.md names every module of the table once, the outside first."""
    document = (ROOT / "docs/architecture.md").read_text()
    table = document.partition("## The layers")[2].partition("\n\n")[2].partition("\n\n")[2].partition("\n\n")[0]
    drawn = [name for row in table.splitlines() for name in re.findall(r"`([a-z_.]+)`", row.split("|")[2])]
    assert sorted(drawn) == sorted(LEVELS.keys() - {"gateway", "gateway.__main__"})
    levels = [LEVELS[name] for name in drawn]
    assert levels == sorted(levels, reverse=True)


@pytest.mark.parametrize("package", ["core", "engine"])
def test_the_reading_order_names_each_module_after_what_it_uses(package: str) -> None:
    """The tables of docs/architecture.md, so that each module can be read with what was read before."""
    document = (ROOT / "docs/architecture.md").read_text()
    table = document.partition(f"\n### {package}\n")[2].partition("\n#")[0]
    rows = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines() if row.startswith("|")]
    order = [f"gateway.{package}.{name}" for row in rows for name in row]
    assert sorted(order) == sorted(name for name in modules() if name.startswith(f"gateway.{package}."))
    for number, name in enumerate(order):
        assert {other for other, _ in imports(name)} & set(order[number + 1 :]) == set(), name


def test_the_documents_show_the_tree() -> None:
    """`python3 dev.py docs` writes it again."""
    page = ROOT / "docs/architecture.md"
    assert page.read_text() == refreshed(page), "run: python3 dev.py docs"


def test_arrows_point_down() -> None:
    """A module imports what is at its own level or below."""
    wrong = [
        f"{name}:{line} (level {LEVELS[place(name)]}) imports {other} (level {LEVELS[place(other)]})"
        for name in modules()
        for other, line in imports(name)
        if internal(other) and LEVELS[place(other)] > LEVELS[place(name)]
    ]
    assert wrong == []


def test_nothing_goes_round_in_a_circle() -> None:
    """Within a level there is an order too."""
    graph = {name: {other for other, _ in imports(name) if internal(other)} - {name} for name in modules()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_layers_are_few_and_loosely_coupled() -> None:
    """Entries of `LEVELS` but `__main__`, pairs of which one imports the other, and the longest chain of imports."""
    places = LEVELS.keys() - {"gateway.__main__"}
    edges = {(place(name), place(other)) for name in modules() for other, _ in imports(name) if internal(other)}
    graph: dict[str, set[str]] = {name: {used for user, used in edges if user == name} - {name} for name in places}
    depth: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        depth[name] = 1 + max((depth[used] for used in graph[name]), default=0)
    assert len(places) <= MAX_PLACES
    assert sum(map(len, graph.values())) <= MAX_EDGES
    assert max(depth.values()) <= MAX_DEPTH


def test_logs_and_transports_never_know_of_one_another() -> None:
    """Nor one engine of another, nor one transport of another; what else a transport is made of is its own matter."""
    seams = [name for name in modules() if name in ENGINES or place(name) in ("gateway.logs", "gateway.transports")]
    for name in seams:
        for other in reached(name):
            assert place(other) == place(name), (name, other)
            assert name not in ENGINES or other not in ENGINES - {name}, (name, other)


def reached(name: str) -> set[str]:
    """The modules of level 3 that `name` imports, and those that these import."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for other, _ in imports(waiting.pop()):
            if internal(other) and LEVELS[place(other)] == 3 and other not in found:
                found.add(other)
                waiting.append(other)
    return found


def test_each_driver_is_imported_where_it_belongs() -> None:
    """A third-party package without a place in the table is not imported at all."""
    wrong = []
    for name in modules():
        for other, line in imports(name):
            package = other.partition(".")[0]
            if not internal(other) and not standard(other) and not within(name, DRIVERS.get(package, ())):
                wrong.append(f"{name}:{line} imports {other}")
    assert wrong == []


def test_the_core_is_pure() -> None:
    """No asyncio, clock, chance, socket, file or log: time comes in as an argument. Of others, the cipher."""
    wrong = [
        f"{name}:{line} imports {other}"
        for name in modules()
        if within(name, ("gateway.core",))
        for other, line in imports(name)
        if not internal(other) and other.partition(".")[0] not in PURE | {"cryptography"} and other not in PURE
    ]
    assert wrong == []


def test_the_core_has_no_coroutines_and_opens_nothing() -> None:
    """The core is called, and answers. Only the protocol of the log has coroutine functions, implemented elsewhere."""
    for name, tree in modules().items():
        if within(name, ("gateway.core",)):
            for node in ast.walk(tree):
                assert not isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith), f"{name}:{node.lineno}"
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id not in ("open", "print", "input", "eval", "exec"), f"{name}:{node.lineno}"


def test_tokens_and_schemas_do_no_input_or_output() -> None:
    """Verification makes no request and reads no clock (`now` is an argument)."""
    wrong = [
        f"{name}:{line} imports {other}"
        for name in modules()
        if within(name, ("auth", "schemas"))
        for other, line in imports(name)
        if other in IMPURE or other.partition(".")[0] in IMPURE
    ]
    assert wrong == []


def test_one_module_reads_the_environment() -> None:
    """`gateway.service.config`; the command line names two variables to typer besides, for `--url` and `--token`."""
    readers, options = set(), set()
    for name, tree in modules().items():
        for node in ast.walk(tree):
            words = {ast.Attribute: "attr", ast.Name: "id", ast.alias: "name", ast.keyword: "arg"}
            word = getattr(node, words.get(type(node), ""), None) if type(node) in words else None
            if word in ("environ", "environb", "getenv", "getenvb", "BaseSettings"):
                readers.add(name)
            elif word == "envvar":
                options.add(name)
    assert readers == {"gateway.service.config"}
    assert options <= {"gateway.cli.options"}


def test_nothing_is_imported_behind_the_table() -> None:
    """By a name in a string, that is."""
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                function = node.func
                word = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                assert word not in ("import_module", "__import__"), f"{name}:{node.lineno}"


def test_modules_stay_readable() -> None:
    """At most 300 lines each, with a median of at most 150."""
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for package in (*PACKAGES, "clients/python/gathering_client")
        for path in (ROOT / package).rglob("*.py")
    }
    assert {name: size for name, size in sizes.items() if size > MAX_LINES} == {}
    real = sorted(size for name, size in sizes.items() if not name.endswith("__init__.py"))
    assert real[len(real) // 2] <= 150


def test_the_fan_out_loop_stays_small() -> None:
    """At most 25 lines of code: a feature is a new module, never one more branch here."""
    (function,) = (
        node
        for node in ast.walk(modules()["gateway.core.manager"])
        if isinstance(node, ast.FunctionDef) and node.name == "deliver"
    )
    body = function.body[1:] if ast.get_docstring(function) else function.body
    source = (ROOT / "gateway/core/manager.py").read_text().splitlines()
    lines = [line for line in source[body[0].lineno - 1 : body[-1].end_lineno] if line.strip()]
    code = [line for line in lines if not line.lstrip().startswith("#")]
    assert len(code) <= MAX_FAN_OUT


MAX_FACADE_LINES = 150
MAX_FACADE_METHODS = 14
MAX_CALLBACKS = 3
CALLBACKS = {"BatchWriter", "OnFailure", "Callable", "OnControl", "OnChanges"}


def class_of(module: str, name: str) -> ast.ClassDef:
    (found,) = (n for n in ast.walk(modules()[module]) if isinstance(n, ast.ClassDef) and n.name == name)
    return found


def test_the_gateway_is_a_facade() -> None:
    """A table of contents of the engine: what is to be done, its parts do."""
    assert len((ROOT / "gateway/engine/gateway.py").read_text().splitlines()) <= MAX_FACADE_LINES
    methods = [n for n in class_of("gateway.engine.gateway", "Gateway").body if isinstance(n, FUNCTIONS)]
    assert len([method for method in methods if method.name != "__init__"]) <= MAX_FACADE_METHODS


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_the_parts_of_the_engine_hand_few_callbacks_down() -> None:
    """Parts are built on finished parts, so that few need callbacks: constructor parameters that are called, and
    attributes that are set from outside. Clocks and random numbers do not count."""
    found = []
    for name, tree in modules().items():
        if within(name, ("gateway.engine",)):
            for node in ast.walk(tree):
                taken: list[tuple[str, ast.expr | None]] = []
                if isinstance(node, FUNCTIONS) and node.name == "__init__":
                    taken = [(a.arg, a.annotation) for a in (*node.args.args, *node.args.kwonlyargs)]
                elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
                    taken = [(node.target.attr, node.annotation)]
                found += [f"{name}: {word}" for word, annotation in taken if annotation and is_callback(annotation)]
    assert len(found) <= MAX_CALLBACKS, found


def is_callback(annotation: ast.expr) -> bool:
    text = ast.unparse(annotation)
    return text != "Callable[[], float]" and bool(CALLBACKS & set(re.findall(r"\w+", text)))


def test_the_http_side_reaches_into_no_part_of_the_engine() -> None:
    """The API calls the gateway, or one of its parts, and nothing behind them: no chain of more than two names has the
    gateway in it."""
    wrong = []
    for name, tree in modules().items():
        if within(name, ("gateway.api",)):
            for node in ast.walk(tree):
                if not isinstance(node, ast.Attribute):
                    continue
                chain = ast.unparse(node).split(".")
                if "gateway" in chain and len(chain) > 2 and all(part.isidentifier() for part in chain):
                    wrong.append(f"{name}:{node.lineno}: {'.'.join(chain)}")
    assert wrong == []


def test_every_draft_is_checked_against_the_contract() -> None:
    """A draft is made in one function, which checks the event; each caller passes the contract on. Only `Publishing`
    appends to the log."""
    makers, callers, appenders = [], [], []
    for name, tree in modules().items():
        for node in ast.walk(tree) if not within(name, ("gateway.testing", "gateway.logs")) else ():
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called == "draft_of":
                callers.append(name)
                assert "contract" in {keyword.arg for keyword in node.keywords}, f"{name}:{node.lineno}"
            elif called == "Draft" and name != "gateway.cli.main":  # the client's own
                makers.append(name)
            elif called.endswith("log.append"):
                appenders.append(name)
    assert makers == ["gateway.core.drafts"]
    assert set(callers) == set(appenders) == {"gateway.engine.publishing"}


def test_the_state_machine_is_in_one_file() -> None:
    """The states LIVE, BEHIND and REPLAYING follow from `offset` and `replay`: only the named transitions of
    `gateway.core.connection` set them, and its docstring has each."""
    state = "gateway.core.connection"
    wrong = [
        f"{name}:{node.lineno} sets {node.attr}"
        for name, tree in modules().items()
        if name != state
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("offset", "replay") and isinstance(node.ctx, ast.Store)
    ]
    assert wrong == []
    transitions = {
        method.name
        for method in class_of(state, "Connection").body
        if isinstance(method, FUNCTIONS) and method.name != "__init__"
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute) and node.attr in ("offset", "replay") and isinstance(node.ctx, ast.Store)
    }
    table = (ast.get_docstring(modules()[state]) or "").partition("transition")[2]
    assert transitions
    assert transitions <= set(re.findall(r"^ +(\w+) +\|", table, re.M))


def test_the_docstrings_say_what_a_module_is() -> None:
    """Each module, in its first line."""
    assert [name for name, tree in modules().items() if not ast.get_docstring(tree)] == []


WITHOUT = ["fastapi", "starlette", "uvicorn", "slowapi", "redis"]


@pytest.mark.parametrize(
    "code",
    [
        "import gateway; print(gateway.ConnectionManager().get_client_count())",
        "from gateway import *; print(EventBus() and setup_websocket_broadcasting() and 0)",
        "import gateway as g; print(g.create_service(g.Settings(_env_file=None, jwt_secret=SECRET)).gateway and 0)",
        "import gateway.cli.events; print(0)",
    ],
)
def test_the_gateway_works_without_a_server(code: str) -> None:
    """With FastAPI, Starlette, uvicorn, slowapi and Redis out of reach, as on a machine that has none of them."""
    block = f"import sys; sys.modules.update(dict.fromkeys({WITHOUT!r}))"
    code = code.replace("SECRET", repr(SECRET))
    done = subprocess.run([sys.executable, "-c", f"{block}\n{code}"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr
