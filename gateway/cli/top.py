"""`gateway top`: what is going on, live, in a terminal."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.admin import Tenant, administrators_api, print_json
from gateway.cli.errors import ClientError, fail
from gateway.cli.options import Token, Url
from gateway.cli.top_reading import TopReader

if TYPE_CHECKING:
    from rich.console import Console

_TICK: Final = 0.2
"""Seconds between two looks at the keyboard, and at whether there is an answer."""

MIN_INTERVAL: Final = 0.5
"""Seconds between two readings within the default of GATEWAY_ADMIN_REQUESTS_PER_MINUTE."""

_SECONDS: Final = 5.0
"""The longest time that one request may take."""


def top(
    interval: Annotated[float, typer.Option(help="seconds between two readings, at least 0.5")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="print one reading, with its rates, and end")] = False,
    tenant: Tenant = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, one line for each reading")] = False,
    url: Url = "http://127.0.0.1:8000",
    token: Token = "",
) -> None:
    """Show what is going on, live: nodes, rates, refusals, the busiest tenants and rooms, slow consumers."""
    if interval < MIN_INTERVAL:
        fail(f"--interval: at least {MIN_INTERVAL} s: a gateway takes 120 readings a minute unless it is set otherwise")
    with administrators_api(url, token, seconds=_SECONDS) as api:
        reader = TopReader(api, tenant)
        try:
            if as_json:
                _print_lines(reader, interval, once)
                return
            console = _console()
            if once or not (console.is_terminal and not console.is_dumb_terminal):
                _print_once(reader, interval, console, url)
            else:
                _show(reader, interval, console, url)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def _console() -> "Console":
    try:
        from rich.console import Console
    except ImportError:
        fail("top: needs Rich, which is not installed: pip install 'rich>=14', or use --json")
    return Console(highlight=False)


def _second_reading(reader: TopReader, interval: float) -> dict[str, Any]:
    """A reading with rates."""
    reader.read()
    time.sleep(interval)
    return reader.read()


def _print_once(reader: TopReader, interval: float, console: "Console", url: str) -> None:
    from gateway.cli.top_screen import screen_of

    console.print(screen_of(_second_reading(reader, interval), url, console.width))


def _print_lines(reader: TopReader, interval: float, once: bool) -> None:
    if once:
        print_json([_second_reading(reader, interval)])
        return
    answered = time.time()
    while True:
        try:
            print_json([reader.read()])
            answered = time.time()
        except ClientError as error:
            if not error.temporary:
                raise
            print_json([{"no_answer_since": _clock(answered), "error": str(error)}])
        time.sleep(interval)


# ---- the live screen


@dataclass(slots=True)
class _State:
    """The latest reading, None while there is no answer; when it came; and the error since then, where there is one."""

    reading: dict[str, Any] | None = None
    answered: float = 0.0
    error: Exception | None = None


class _Poller:
    """Reads in a thread of its own: a gateway that hangs holds up neither the screen nor the keyboard."""

    def __init__(self, read: Callable[[], dict[str, Any]], interval: float) -> None:
        self._read = read
        self._interval = interval
        self._ended = threading.Event()
        self.state = _State(answered=time.time())
        threading.Thread(target=self._run, daemon=True, name="top").start()

    def stop(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.state = _State(self._read(), time.time())
            except Exception as error:  # raised by the screen, unless it may pass
                self.state = _State(None, self.state.answered, error)
            self._ended.wait(self._interval)


def _show(reader: TopReader, interval: float, console: "Console", url: str) -> None:
    """Show readings until a key ends it. Nothing is shown of one that is older than two intervals and a second."""
    from rich.live import Live

    from gateway.cli.top_screen import screen_of, silence_of

    poller = _Poller(reader.read, interval)
    try:
        with _keyboard() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
            while not pressed("q"):
                state = poller.state
                if state.error is not None and not (isinstance(state.error, ClientError) and state.error.temporary):
                    raise state.error
                silent = time.time() - state.answered
                if state.reading is not None and silent < 2 * interval + 1:
                    live.update(screen_of(state.reading, url, console.width, console.height), refresh=True)
                else:
                    reason = "" if state.error is None else str(state.error)
                    live.update(silence_of(url, _clock(state.answered), silent, reason), refresh=True)
    finally:
        poller.stop()


@contextmanager
def _keyboard() -> Iterator[Callable[[str], bool]]:
    """A function that waits for a moment, and returns whether a key was pressed. Without a terminal's keyboard it
    waits."""
    try:
        import select
        import termios
        import tty

        number = sys.stdin.fileno()
        before = termios.tcgetattr(number)
    except (ImportError, OSError, ValueError, termios.error):

        def wait(key: str) -> bool:
            time.sleep(_TICK)
            return False

        yield wait
        return

    def pressed(key: str) -> bool:
        readable, _, _ = select.select([number], [], [], _TICK)
        return bool(readable) and key in os.read(number, 64).decode(errors="replace")

    tty.setcbreak(number)
    try:
        yield pressed
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
