"""Plain functions of the application that do not return."""

import asyncio
import logging
import threading

import pytest

from gateway import ClientRequest, SessionIdentity
from gateway.core.client_request import client_request
from gateway.core.errors import ApplicationFailed
from gateway.engine import access
from gateway.engine.access import Access
from gateway.engine.application_threads import THREADS
from gateway.telemetry import log_events
from gateway.telemetry.line_rate import LineLimiter
from tests.support.pauses import until

REQUEST = client_request({}, [], "127.0.0.1")


async def test_a_call_behind_hung_ones_is_refused_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, and not queued; a thread that returns after all takes calls again."""
    released, called = threading.Event(), list[int]()

    def hang(request: ClientRequest) -> SessionIdentity | None:
        called.append(threading.get_ident())
        released.wait(60)
        return None

    asking = Access(authenticate=hang)
    monkeypatch.setattr(access, "ANSWER_SECONDS", 0.2)
    caplog.set_level(logging.ERROR)
    try:
        hung = await asyncio.gather(*(asking.authenticate(REQUEST) for _ in range(THREADS)), return_exceptions=True)
        assert {type(error) for error in hung} == {ApplicationFailed}
        await until(lambda: len(set(called)) == THREADS)
        await asyncio.sleep(0.3)  # longer than their timeout
        monkeypatch.setattr(log_events, "limiter", LineLimiter())
        caplog.clear()
        for _ in range(100):
            with pytest.raises(ApplicationFailed):
                await asking.authenticate(REQUEST)
        assert len(called) == THREADS
        logged = {str(line.exc_info and line.exc_info[1]).partition(";")[0] for line in caplog.records}
        assert logged == {"all 16 threads are in calls that have not returned for 0.2 s"}
    finally:
        released.set()
    monkeypatch.setattr(access, "ANSWER_SECONDS", 20.0)
    assert await asking.authenticate(REQUEST) is None
