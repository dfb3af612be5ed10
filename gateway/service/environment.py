"""Environment variables: Kubernetes service links, misspelled settings, and the worker count of the server."""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import PurePath
from typing import Final

PREFIX: Final = "GATEWAY_"
_CLIENT_VARIABLES: Final = ("URL", "TOKEN")
"""Variables of the client commands."""

_LINK: Final = re.compile(
    r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII
)
_LINK_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://", re.ASCII)

_WORKER_OPTIONS: Final = {
    "uvicorn": ("--workers",),
    "fastapi": ("--workers",),
    "gunicorn": ("--workers", "-w"),
    "hypercorn": ("--workers", "-w"),
    "granian": ("--workers",),
}
_WORKER_VARIABLES: Final = {
    "uvicorn": ("UVICORN_WORKERS", "WEB_CONCURRENCY"),
    "fastapi": ("WEB_CONCURRENCY",),
    "gunicorn": ("WEB_CONCURRENCY",),
    "granian": ("GRANIAN_WORKERS",),
}


def without_service_links(variables: Mapping[str, str | None]) -> dict[str, str | None]:
    """The variables without those of Kubernetes service links (`enableServiceLinks`).

    A Service called `gateway` sets GATEWAY_PORT=tcp://10.96.12.3:8000, GATEWAY_SERVICE_HOST and more in every container
    of its namespace, one called `gateway-redis` GATEWAY_REDIS_PORT. The container's own variables take precedence, so a
    link never replaces a value that was set on purpose.
    """
    return {name: value for name, value in variables.items() if not _is_service_link(name, value or "")}


def notices(variables: Mapping[str, str | None], settings: Collection[str]) -> Iterator[str]:
    """Warnings: a sentence for each variable with the gateway's prefix that is not a setting, with the nearest name,
    and for a port that is a service link. `settings` are upper-case, without the prefix."""
    known = {*settings, *_CLIENT_VARIABLES}
    for variable, value in variables.items():
        name = variable.upper().removeprefix(PREFIX)
        if name == variable.upper():
            continue
        if _is_service_link(variable, value or ""):
            if name == "PORT":
                yield (
                    f"{PREFIX}PORT: is ignored: it is a Kubernetes service link, to a Service called gateway; "
                    f"set enableServiceLinks: false in the pod's spec, or {PREFIX}PORT to a number"
                )
        elif name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f"did you mean {PREFIX}{nearest[0]}?" if nearest else "`.env.example` lists all of them"
            yield f"{PREFIX}{name}: there is no such setting; {hint}"


def _is_service_link(variable: str, value: str) -> bool:
    name = variable.upper().removeprefix(PREFIX)
    return _LINK.fullmatch(name) is not None or (name.endswith("PORT") and _LINK_ADDRESS.match(value) is not None)


def requested_processes(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """The number of worker processes in the server's command line; 1 where it is unknown.

    Servers keep their command line in each worker. Not visible: gunicorn's configuration file, a call of `uvicorn.run`.
    """
    if not arguments:
        return 1
    path = PurePath(arguments[0])
    server = path.parent.name if path.stem == "__main__" else path.stem
    options = _WORKER_OPTIONS.get(server, ())
    asked = _counts(arguments[1:], options)
    if server == "gunicorn" and not asked:
        asked = _counts(_words(variables.get("GUNICORN_CMD_ARGS", "")), options)
    asked = asked or [variables[name] for name in _WORKER_VARIABLES.get(server, ()) if name in variables][:1]
    return int(asked[-1]) if asked and asked[-1].isdecimal() else 1


def _counts(arguments: Sequence[str], options: Collection[str]) -> list[str]:
    """The values of `options`, written as `-w 4`, `-w4` or `--workers=4`."""
    found = []
    for argument, following in pairwise([*arguments, ""]):
        for option in options:
            if argument == option:
                found.append(following)
            elif argument.startswith(f"{option}=" if option.startswith("--") else option):
                found.append(argument.removeprefix(option).removeprefix("="))
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # unbalanced quotes, which the server will report
        return []
