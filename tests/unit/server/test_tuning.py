"""Garbage collector settings: the objects that one collection visits while the event loop waits."""

import gc
from collections.abc import Iterator

import pytest

from gateway.server import tune_gc


@pytest.fixture
def tuned() -> Iterator[None]:
    before = gc.get_threshold()
    tune_gc()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_a_collection_visits_few_objects_and_each_of_them_once(tuned: None) -> None:
    """20,000 took 5 ms, for all of which the event loop waited."""
    visited: list[int] = []
    generations: set[int] = set()

    def count(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            visited.append(len(gc.get_objects(0)))
            generations.add(info["generation"])

    gc.callbacks.append(count)
    try:
        kept = [[number] for number in range(100_000)]
    finally:
        gc.callbacks.remove(count)
    assert len(kept) / 4_500 < len(visited)
    assert max(visited) <= 4_500
    assert generations == {0}
