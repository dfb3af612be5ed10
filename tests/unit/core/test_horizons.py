"""Horizons: shared by rounds, renewed, released."""

from gateway.core.horizons import Horizons


def test_rounds_share_a_horizon_that_is_ahead() -> None:
    """A round takes the newest horizon that is in use after its own place, or else the head."""
    horizons = Horizons()
    assert horizons.newest == 0
    first = horizons.take(10, 100)
    assert first.end == 100
    second = horizons.take(50, 150)
    assert second is first
    third = horizons.take(100, 150)
    assert third.end == 150
    assert horizons.take(20, 170) is horizons.hold(150) is third
    first.end_round()
    assert horizons.first(90, 101) == 100
    second.end_round()
    assert horizons.first(90, 101) == 0
    assert horizons.first(90, 151) == horizons.first(150, 151) == 150
    assert horizons.first(151, 200) == horizons.first(120, 150) == 0
    for _ in range(3):
        assert horizons.newest == 150
        third.end_round()
    assert horizons.newest == len(horizons) == 0


def test_round_whose_horizon_was_released_takes_a_later_one() -> None:
    """The next that is in use, or else the head; in another window, too."""
    horizons = Horizons()
    ten, twenty, thirty = (horizons.hold(offset) for offset in (10, 20, 30))
    assert horizons.renew(twenty, 99) is twenty
    horizons.release_from(5, 15)
    assert horizons.renew(ten, 99) is twenty
    horizons.release_from(25, 35)
    assert horizons.newest == 20
    late = horizons.renew(thirty, 99)
    assert late.end == horizons.newest == 99
    for horizon in (twenty, twenty, late, ten, thirty):
        horizon.end_round()
    assert len(horizons) == 0
    other = Horizons()
    assert other.renew(late, 120).end == 120
    assert other.renew(ten, 120) is other.renew(twenty, 130)
